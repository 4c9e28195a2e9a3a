"""AnyMS without a WebUI: `python -m lib_anyms`. Nothing here is imported inside one."""
