"""AnyMS without a WebUI: `python -m lib_anyms`. A WebUI never imports this package."""
