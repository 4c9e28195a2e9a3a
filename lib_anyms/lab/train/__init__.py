"""Train the small SDXL on the flat world: encoders first, then UNet and IP-Adapters, in stages that can resume."""
