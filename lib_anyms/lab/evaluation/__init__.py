"""Measure how well layouts hold in the small world: suites, scenes, images, scores, intervals and bars."""
