"""Stand-in for Forge's package."""
