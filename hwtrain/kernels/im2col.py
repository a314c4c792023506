"""Patches of an image as the inputs of a dense array, and back."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


def im2col(
    x: Float[Tensor, "batch channels height width"],
    kernel: int,
    stride: int,
    padding: int,
    groups: int,
) -> Float[Tensor, "batch_positions groups in_"]:
    """One row a position (row by row); inside it (channel, kernel_h, kernel_w) in C order."""
    columns = functional.unfold(x, kernel, padding=padding, stride=stride)
    batch, rows, positions = columns.shape
    return columns.transpose(1, 2).reshape(batch * positions, groups, rows // groups)


def col2im(
    columns: Float[Tensor, "batch_positions groups in_"],
    shape: tuple[int, int, int, int],
    kernel: int,
    stride: int,
    padding: int,
) -> Float[Tensor, "batch channels height width"]:
    """The adjoint of ``im2col``: what overlaps is added."""
    batch, _, height, width = shape
    rows = columns.reshape(batch, -1, columns.shape[1] * columns.shape[2]).transpose(1, 2)
    return functional.fold(rows, (height, width), kernel, padding=padding, stride=stride)
