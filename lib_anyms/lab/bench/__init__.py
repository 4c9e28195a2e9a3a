"""Measure what AnyMS costs, side by side in one process: ratios with intervals, never seconds alone."""
