"""Boxes, subjects and form fields. Uses neither torch nor a host."""
