LABELS: list = []
