"""Pooling over square windows without overlap or padding."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

Images = Float[Tensor, "batch channels _ _"]


def max_forward(x: Images, size: int) -> tuple[Images, Int[Tensor, "batch channels _ _"]]:
    """The largest value of each window and where it stood (the first one among equals)."""
    y, where = functional.max_pool2d(x, size, return_indices=True)
    return y, where


def max_input_gradient(d: Images, where: Int[Tensor, "batch channels _ _"], shape: tuple[int, ...]) -> Images:
    """d at the place of each largest value, 0 elsewhere."""
    back = d.new_zeros(shape[0], shape[1], shape[2] * shape[3])
    back.scatter_(2, where.flatten(2), d.flatten(2))
    return back.view(shape)


def average_forward(x: Images, size: int) -> Images:
    """The mean of each window."""
    return functional.avg_pool2d(x, size)


def average_input_gradient(d: Images, size: int, shape: tuple[int, ...]) -> Images:
    """d / size^2 all over each window; 0 on a rim that no window covers."""
    back = d.new_zeros(shape)
    spread = d.repeat_interleave(size, 2).repeat_interleave(size, 3) / size**2
    back[:, :, : spread.shape[2], : spread.shape[3]] = spread
    return back
