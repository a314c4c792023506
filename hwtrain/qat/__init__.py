"""Quantisation-aware training in plain torch, for hardware that shifts; what is trained becomes a program."""
