"""Programs: what leaves Python. A rule's step as a list of kernels over static buffers."""
