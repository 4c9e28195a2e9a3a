"""AnyMS: several reference subjects in one SDXL picture, each in its own box, without training (arXiv 2512.23537)."""

__version__ = "0.1.0"
