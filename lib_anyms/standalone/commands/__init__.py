"""The subcommands of `python -m lib_anyms`."""
