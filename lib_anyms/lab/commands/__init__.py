"""Subcommands: train, evaluate, bench."""
