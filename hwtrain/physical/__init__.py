"""Layers that are pieces of physics: emulators, what stands around them, and models of them."""
