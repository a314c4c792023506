"""Chains: dense layers one after another, which a rule walks layer by layer instead of as one net."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Real
from torch import Tensor

from hwtrain.errors import IncompatibleRule
from hwtrain.kernels.fixed import DTYPES
from hwtrain.layers.base import Layer
from hwtrain.layers.dense import Dense
from hwtrain.layers.relu import Relu
from hwtrain.layers.sigmoid import Sigmoid
from hwtrain.layers.tanh import Tanh
from hwtrain.net import Net
from hwtrain.rules.base import Bound

POINTWISE = (Relu, Sigmoid, Tanh)


@dataclass
class Stage:
    """A dense layer and the activation behind it."""

    path: str
    dense: Dense
    activation: Layer | None = None

    def fw(self, x: Real[Tensor, "batch in_"]) -> Real[Tensor, "batch out"]:
        """phi(W x + b)."""
        return self.bend(self.dense.fw(x)[0])

    def bend(self, z: Real[Tensor, "batch out"]) -> Real[Tensor, "batch out"]:
        """phi(z)."""
        return z if self.activation is None else self.activation.fw(z)[0]


def stages_of(net: Net, rule: str) -> list[Stage]:
    """The net as stages; IncompatibleRule names the layer that is none."""
    found: list[Stage] = []
    for path, layer in net.layers():
        if isinstance(layer, Dense):
            found.append(Stage(path, layer))
        elif isinstance(layer, POINTWISE) and found and found[-1].activation is None:
            found[-1].activation = layer
        else:
            raise IncompatibleRule(
                f"layer {path}: rule {rule} takes dense layers with one activation between two: "
                "use --rule backprop, or mode=sequential"
            )
    if not net.is_chain:
        raise IncompatibleRule(f"net: rule {rule} takes no skips: use --rule backprop, or mode=sequential")
    return found


class ChainBound(Bound):
    """A rule on a chain.

    The signals of a sample are [x, h_1, .., z], its errors [d_1, .., d_L] by W x + b of each stage.
    """

    def __init__(self, net: Net, rule: str) -> None:
        super().__init__(net)
        self.stages = stages_of(net, rule)
        self.arrays = dict(net.arrays())
        self._first = self.stages[0].dense.arrays["weight"]
        self._live: dict[str, Tensor] = {}

    @property
    def widths(self) -> list[int]:
        """Values of x, of every hidden signal, and of z."""
        return [self.stages[0].dense.in_, *(stage.dense.out for stage in self.stages)]

    @property
    def classes(self) -> int:
        """Values of z."""
        return self.widths[-1]

    def keep(self, name: str, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
        """A state of zeros, in the format of the signals if no other is named."""
        numbers, trial = self._first.numbers, self._first.trial
        signal = trial.dtype if numbers is None else DTYPES[numbers.signal_bits]
        self._live[name] = torch.zeros(shape, dtype=dtype or signal, device=trial.torch_device)
        return self._live[name]

    def live(self) -> dict[str, Tensor]:
        """What was kept."""
        return self._live

    def look(self, x: Real[Tensor, "batch *features"]) -> list[Tensor]:
        """Every signal of a forward pass."""
        signals = [x]
        for stage in self.stages:
            signals.append(stage.fw(signals[-1]))
        return signals

    def judge(self, z: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Loss of each sample, and its error by z."""
        loss, tape = self.net.loss.fw(z, labels)
        return loss, self.net.loss.igrad(tape)

    def back(self, d: Real[Tensor, "batch out"], signals: list[Tensor], last: int = 0) -> list[Tensor]:
        """The errors of the stages from ``last`` on, d being that of the final one."""
        errors = [d]
        for place in range(len(self.stages) - 1, last, -1):
            errors.insert(0, self.stages[place].dense.igrad(errors[0], signals[place]))
            bend = self.stages[place - 1].activation
            if bend is not None:
                errors[0] = bend.igrad(errors[0], signals[place])
        return errors

    def learn(self, signals: list[Tensor], errors: list[Tensor], lr: float) -> None:
        """Write what one batch taught, stage by stage."""
        for stage, x, d in zip(self.stages, signals, errors, strict=False):
            self.write(stage, x, d, lr)

    def write(self, stage: Stage, x: Tensor, d: Tensor, lr: float) -> None:
        """Descend the mean loss by lr, in one stage."""
        for name, direction in stage.dense.wgrad(d, x).items():
            stage.dense.arrays[name].write(direction.scaled(-lr / x.shape[0]))

    @contextmanager
    def late(self, steps: int) -> Iterator[None]:
        """Write as of so many steps ago: random numbers are drawn at the place of that step."""
        clock = self._first.trial.ledger.clock
        now, clock.step = clock.step, clock.step - steps
        try:
            yield
        finally:
            clock.step = now
