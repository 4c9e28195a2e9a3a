from __future__ import annotations

models_path = data_path = ""
