"""Layers, one file each: geometry over arrays, or a pointwise or pooling step."""
