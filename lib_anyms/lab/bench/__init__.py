"""What AnyMS costs, measured side by side in one process: ratios with intervals, never seconds alone."""
