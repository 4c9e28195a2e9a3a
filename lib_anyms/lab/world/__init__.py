"""The flat world: figures of eight shapes in two colours on flat grounds, drawn exactly, so that every question has an
answer.
"""
