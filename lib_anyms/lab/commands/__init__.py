"""Subcommands that train, evaluate and measure."""
