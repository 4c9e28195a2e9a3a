"""Stand-in for the package of reForge and Forge classic."""
