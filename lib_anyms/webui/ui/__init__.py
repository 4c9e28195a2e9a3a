"""What the WebUI's page shows. With hosts/ the only place that imports the WebUI or gradio."""
