"""The training of the small SDXL on the flat world: encoders first, then UNet and IP-Adapters, by stages that can be
resumed.
"""
