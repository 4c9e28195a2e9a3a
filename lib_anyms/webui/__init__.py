"""What only a WebUI loads: script callbacks, API, pages."""
