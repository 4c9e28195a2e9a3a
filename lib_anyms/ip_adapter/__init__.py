"""IP-Adapter for SDXL (arXiv 2308.06721): its files, its image tokens and their keys and values per layer."""
