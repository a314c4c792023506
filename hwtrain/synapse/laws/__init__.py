"""Conductance laws, one file each: how far identical pulses move a conductance."""
