"""Stand-ins for the modules that AnyMS imports from a WebUI; tests/support/webui_job.py fills them in."""
