"""Model files: which exist, which fit, and how to download missing ones."""
