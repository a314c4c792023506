"""Kernels, one file a family: the arithmetic that layers, substrates, losses and rules are made of.

Every kernel is a pure function of tensors with an explicit formula, forward and backward; what it
changes in place it names. None uses autograd, which is what judges them in the tests.
"""
