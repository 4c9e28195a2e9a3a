"""The maths: cross-attention with an image stream, cropped by layout."""
