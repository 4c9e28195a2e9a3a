"""Stand-ins for what AnyMS imports of a WebUI; tests/support/webui_job.py fills them in."""
