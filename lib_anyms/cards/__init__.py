"""Subject cards: a subject as one small file, with its image tokens for one or several adapters.

docs/cards.md describes the format.
"""
