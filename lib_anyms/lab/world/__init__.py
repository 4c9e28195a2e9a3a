"""The flat world: figures of eight shapes in two colours on flat backgrounds, drawn exactly, so the truth is known."""
