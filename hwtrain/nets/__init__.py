"""Nets by name: one module each, whose ``make(shape, classes, activation)`` is found by the file's name."""
