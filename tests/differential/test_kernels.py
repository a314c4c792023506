"""Kernels against torch.autograd in float64, and converters against a scalar loop."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from hwtrain.kernels import convert, dense, heaviside, im2col, mse, pool, relu, sigmoid, softmax_ce, tanh

TIGHT = {"atol": 1e-10, "rtol": 1e-10}
SEEDS = range(12)


def sizes(seed: int, *bounds: tuple[int, int]) -> list[int]:
    rng = np.random.default_rng(seed)
    return [int(rng.integers(low, high + 1)) for low, high in bounds]


def normal(seed: int, *shape: int) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=rng, dtype=torch.float64)


def gradient(function: Callable[[Tensor], Tensor], x: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
    """function(x) and autograd's J^T d."""
    leaf = x.clone().requires_grad_()
    y = function(leaf)
    (back,) = torch.autograd.grad(y, leaf, d)
    return y.detach(), back


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("kernel", "oracle"),
    [(relu, functional.relu), (tanh, torch.tanh), (sigmoid, torch.special.expit)],
    ids=["relu", "tanh", "sigmoid"],
)
def test_activation_is_that_of_autograd(
    kernel: ModuleType, oracle: Callable[[Tensor], Tensor], seed: int
) -> None:
    shape = sizes(seed, *[(1, 6)] * (1 + seed % 4))
    x, d = 3 * normal(seed, *shape), normal(seed + 100, *shape)
    y, back = gradient(oracle, x, d)
    torch.testing.assert_close(kernel.forward(x), y, **TIGHT)
    torch.testing.assert_close(kernel.input_gradient(d, kernel.forward(x)), back, **TIGHT)


def test_a_unit_of_one_bit_is_on_at_zero() -> None:
    x = torch.tensor([-1e-30, -0.0, 0.0, 1e-30])
    assert heaviside.forward(x).tolist() == [0, 1, 1, 1]
    assert heaviside.forward.meaning(x.numpy()).tolist() == [0, 1, 1, 1]


def test_rectifier_passes_nothing_at_zero() -> None:
    x = torch.tensor([0.0, -0.0, 1e-30])
    assert relu.input_gradient(torch.ones(3), relu.forward(x.double())).tolist() == [0, 0, 1]


@pytest.mark.parametrize("seed", SEEDS)
def test_matrix_products_are_those_of_autograd(seed: int) -> None:
    batch, groups, out, in_ = sizes(seed, (1, 5), (1, 3), (1, 6), (1, 7))
    w, x = normal(seed, groups, out, in_), normal(seed + 1, batch, groups, in_)
    d = normal(seed + 2, batch, groups, out)
    y, back = gradient(lambda x: (w @ x[..., None])[..., 0], x, d)
    _, by_weight = gradient(lambda w: (w @ x[..., None])[..., 0], w, d)
    torch.testing.assert_close(dense.read(w, x), y, **TIGHT)
    torch.testing.assert_close(dense.read_t(w, d), back, **TIGHT)
    moved = w.clone()
    dense.add_outer(moved, x, d, -0.3)
    torch.testing.assert_close(moved, w - 0.3 * by_weight, **TIGHT)


@pytest.mark.parametrize("seed", SEEDS)
def test_patches_are_the_pixels_under_the_filter_and_go_back_as_autograd_says(seed: int) -> None:
    batch, channels, height, width, kernel, stride, padding = sizes(
        seed, (1, 3), (1, 4), (4, 8), (4, 8), (1, 4), (1, 3), (0, 2)
    )
    groups = channels if seed % 2 else 1
    x = normal(seed, batch, channels, height, width)

    def patches(x: Tensor) -> Tensor:
        padded = functional.pad(x, (padding,) * 4)
        windows = padded.unfold(2, kernel, stride).unfold(3, kernel, stride)
        return windows.permute(0, 2, 3, 1, 4, 5).reshape(-1, groups, channels * kernel**2 // groups)

    d = normal(seed + 1, *patches(x).shape)
    y, back = gradient(patches, x, d)
    assert torch.equal(im2col.im2col(x, kernel, stride, padding, groups), y)
    ours = im2col.col2im(d, batch, channels, height, width, kernel, stride, padding)
    torch.testing.assert_close(ours, back, **TIGHT)


@pytest.mark.parametrize("seed", SEEDS)
def test_overlapping_patches_add_up_position_by_position(seed: int) -> None:
    batch, channels, height, width, kernel, stride, padding = sizes(
        seed, (1, 3), (1, 3), (4, 8), (4, 8), (2, 4), (1, 2), (0, 2)
    )
    d = np.random.default_rng(seed).normal(size=(batch, 121, channels, kernel, kernel)).astype(np.float32)
    places = [
        (top, left)
        for top in range(0, height + 2 * padding - kernel + 1, stride)
        for left in range(0, width + 2 * padding - kernel + 1, stride)
    ]
    d = d[:, : len(places)]
    sums = np.zeros((batch, channels, height + 2 * padding, width + 2 * padding), np.float32)
    for number, (top, left) in enumerate(places):
        for row in range(kernel):
            for column in range(kernel):
                sums[:, :, top + row, left + column] += d[:, number, :, row, column]
    rows = d.reshape(batch * len(places), channels, kernel**2)
    assert im2col.col2im.meaning is not None
    found = im2col.col2im.meaning(rows, batch, channels, height, width, kernel, stride, padding)
    assert (found == sums[:, :, padding : padding + height, padding : padding + width]).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_pooling_is_that_of_autograd(seed: int) -> None:
    batch, channels, size = sizes(seed, (1, 3), (1, 3), (1, 4))
    height, width = sizes(seed + 50, (size, 9), (size, 9))
    x = normal(seed, batch, channels, height, width)
    d = normal(seed + 1, batch, channels, height // size, width // size)
    y, back = gradient(lambda x: functional.max_pool2d(x, size), x, d)
    ours, where = pool.max_forward(x, size)
    assert torch.equal(ours, y)
    torch.testing.assert_close(pool.max_input_gradient(d, where, *x.shape[2:]), back, **TIGHT)
    y, back = gradient(lambda x: functional.avg_pool2d(x, size), x, d)
    torch.testing.assert_close(pool.average_forward(x, size), y, **TIGHT)
    found = pool.average_input_gradient(d, size, *x.shape[2:])
    torch.testing.assert_close(found, back, **TIGHT)


def test_first_of_equal_maxima_takes_the_gradient() -> None:
    _, where = pool.max_forward(torch.ones(1, 1, 2, 4), 2)
    back = pool.max_input_gradient(torch.ones(1, 1, 1, 2), where, 2, 4)
    assert back.flatten().tolist() == [1, 0, 1, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kernel", [softmax_ce, mse], ids=["softmax-ce", "mse"])
def test_loss_is_that_of_autograd(kernel: ModuleType, seed: int) -> None:
    batch, classes = sizes(seed, (1, 6), (2, 12))
    z = (1 + seed) * normal(seed, batch, classes)
    labels = torch.tensor(sizes(seed, *[(0, classes - 1)] * batch))

    def oracle(z: Tensor) -> Tensor:
        if kernel is softmax_ce:
            return functional.cross_entropy(z, labels, reduction="none")
        return ((z - torch.eye(classes, dtype=z.dtype)[labels]) ** 2).mean(1)

    expected, back = gradient(oracle, z, torch.ones(batch, dtype=z.dtype))
    loss, kept = kernel.forward(z, labels)
    torch.testing.assert_close(loss, expected, **TIGHT)
    found = kernel.input_gradient(kept, labels) if kernel is softmax_ce else kernel.input_gradient(kept)
    torch.testing.assert_close(found, back, **TIGHT)


@pytest.mark.parametrize("large", [1e3, 1e30])
def test_cross_entropy_of_huge_outputs_is_finite(large: float) -> None:
    z = torch.tensor([[large, 0.0, -large]])
    loss, p = softmax_ce.forward(z, torch.tensor([2]))
    assert loss.tolist() == [pytest.approx(2 * large)]
    assert p.tolist() == [[1, 0, 0]]


@pytest.mark.parametrize("bits", [2, 3, 7, 9, 16])
@pytest.mark.parametrize("full", [1.0, 0.37, 12.0])
def test_converter_is_a_scalar_staircase(full: float, bits: int) -> None:
    codes = 2 ** (bits - 1) - 1
    step = 2 * full / (2**bits - 2)  # aihwkit: 1/(2^bits - 2) of the span, both ends a code
    x = [*np.linspace(-1.4 * full, 1.4 * full, 301).tolist(), 0.0, full, -full]
    x += [step * (k + 0.49) for k in range(-codes, codes, max(1, codes // 9))]
    expected = [min(max(round(value / step), -codes), codes) * step for value in x]
    ours = convert.quantize(torch.tensor(x, dtype=torch.float64), full, bits)
    np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-12, atol=1e-15)
    assert len(set(ours.tolist())) <= 2 * codes + 1


def test_converter_rounds_ties_to_even() -> None:
    x = torch.tensor([0.5, 1.5, 2.5, -0.5, -1.5, -2.5], dtype=torch.float64)
    assert convert.quantize(x, 3.0, 3).tolist() == [0, 2, 2, 0, -2, -2]
