"""Measures where a visuomotor policy's information bottleneck is."""
