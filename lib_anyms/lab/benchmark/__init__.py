"""Measure with real weights: scenes of public benchmarks, the field's detectors and encoders, a report."""
