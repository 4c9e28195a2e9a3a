"""Subject cards: a subject as one small file, with its image tokens for one adapter or several.

docs/cards.md is the format.
"""
