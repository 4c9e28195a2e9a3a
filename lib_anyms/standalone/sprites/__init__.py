"""Sprites: a small drawn world, and an SDXL trained on it, so that layout, identity and text can be measured."""
