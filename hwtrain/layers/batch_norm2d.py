"""Normalisation of every channel of an image, then a scale and an offset that learn."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Real
from torch import Tensor

from hwtrain.arith.threefry import Stream
from hwtrain.direction import Direction, Outer
from hwtrain.kernels import bias as bias_kernels
from hwtrain.kernels import layout, norm
from hwtrain.layers.base import Layer, MakeArray, Shape, State
from hwtrain.substrates.base import Array

Images = Real[Tensor, "batch _ _ _"]


class BatchNorm2d(Layer):
    """y = scale (x - mean) / sqrt(variance + eps) + bias in every channel; torch's meaning of every argument.

    Training takes mean and variance from the batch and moves the running ones, evaluation takes the
    running ones (Ioffe and Szegedy, ICML 2015). ``frozen`` takes the running ones always, which is what
    learning from single samples needs. Scale and offset are digital.
    """

    def __init__(
        self,
        channels: int,
        *,
        eps: float = 1e-5,
        momentum: float = 0.1,
        frozen: bool = False,
        scales: Real[Tensor, "channels"] | None = None,
        offsets: Real[Tensor, "channels"] | None = None,
        mean: Real[Tensor, "channels"] | None = None,
        variance: Real[Tensor, "channels"] | None = None,
    ) -> None:
        self.channels, self.eps, self.momentum, self.frozen = channels, eps, momentum, frozen
        self._first = {
            "scale": torch.ones(channels) if scales is None else scales,
            "bias": torch.zeros(channels) if offsets is None else offsets,
            "mean": torch.zeros(channels) if mean is None else mean,
            "variance": torch.ones(channels) if variance is None else variance,
        }
        self._arrays: dict[str, Array] = {}
        self._running: dict[str, Tensor] = {}

    @property
    def arrays(self) -> Mapping[str, Array]:
        """``scale`` (channels, 1, 1) and ``bias`` (1, channels, 1)."""
        return self._arrays

    @property
    def running(self) -> Mapping[str, Tensor]:
        """``mean`` and ``variance``."""
        return self._running

    def out_shape(self, shape: Shape) -> Shape:
        """The input's."""
        if len(shape) != 3 or shape[0] != self.channels:
            raise ValueError(f"a normalisation of {self.channels} channels gets {shape}")
        return shape

    def refuses_codes(self) -> str | None:
        """A variance of codes is no code."""
        return "batch normalisation needs floating-point numbers: leave it out on integer devices"

    def place(self, make: MakeArray) -> None:
        """One array for the scales, one for the offsets."""
        self._arrays = {
            "scale": make("scale", self.channels, 1, 1, 1.0),
            "bias": make("bias", 1, self.channels, 1, 1.0),
        }

    def initialise(self, stream: Stream) -> None:
        """Load what was given: by default 1 and 0, and running statistics of the same."""
        for name, array in self._arrays.items():
            array.load(self._first[name].reshape(array.geometry.shape))
        trial = self._arrays["scale"].trial
        for name in ("mean", "variance"):
            self._running[name] = self._first[name].to(
                dtype=trial.dtype, device=trial.torch_device, copy=True
            )

    def fw(self, x: Images, state: State = None) -> tuple[Images, State, tuple[Tensor, Tensor, bool]]:
        """The normalised channels, scaled and moved; the tape is those and the inverse deviations."""
        mean, variance = self._running["mean"], self._running["variance"]
        learns = self._arrays["scale"].trial.ledger.clock.phase == "train" and not self.frozen
        if learns:
            y, inverse = norm.batch_forward(x.flatten(2), mean, variance, self.momentum, self.eps)
        else:
            y, inverse = norm.frozen_forward(x.flatten(2), mean, variance, self.eps)
        rows = self._arrays["scale"].read(self._by_position(y)).reshape(y.shape[0], -1, self.channels)
        bias = self._arrays["bias"]
        rows = bias_kernels.add(rows, bias.read(bias.ones(x)), 0)
        return layout.channels_first(rows).reshape(x.shape), state, (y, inverse, learns)

    def igrad(self, d: Images, tape: tuple[Tensor, Tensor, bool]) -> Images:
        """Through the scale and the normalisation, the batch's statistics included where they were used."""
        y, inverse, learns = tape
        rows = self._arrays["scale"].read_t(self._by_position(d.flatten(2)))
        inner = layout.channels_first(rows.reshape(y.shape[0], -1, self.channels))
        if learns:
            return norm.batch_input_gradient(inner, y, inverse).reshape(d.shape)
        return norm.frozen_input_gradient(inner, inverse).reshape(d.shape)

    def wgrad(self, d: Images, tape: tuple[Tensor, Tensor, bool]) -> dict[str, Direction]:
        """d y and d at every position of every sample, in order."""
        rows, bias = self._by_position(d.flatten(2)), self._arrays["bias"]
        return {
            "scale": Outer(self._by_position(tape[0]), rows),
            "bias": Outer(bias.ones(rows), rows.reshape(-1, 1, self.channels)),
        }

    def _by_position(self, y: Real[Tensor, "batch channels positions"]) -> Real[Tensor, "pairs channels 1"]:
        return layout.channels_last(y).reshape(-1, self.channels, 1)
