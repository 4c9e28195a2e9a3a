"""What only a WebUI loads: script callbacks, API, page."""
