"""The laboratory: a small drawn world, the training of a small SDXL on it, and the evaluation.

The extension never imports it.
"""
