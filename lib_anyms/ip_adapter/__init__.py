"""IP-Adapter for SDXL (arXiv 2308.06721): files, image tokens, and their keys and values per layer."""
