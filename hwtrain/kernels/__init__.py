"""Kernels, one file a family: the arithmetic that layers and substrates are made of.

Every kernel is a pure function of tensors with an explicit formula, forward and backward. None of
them uses autograd, which is what judges them in the tests.
"""
