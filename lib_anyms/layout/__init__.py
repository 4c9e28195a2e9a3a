"""Boxes, subjects and form fields. No torch, no host."""
