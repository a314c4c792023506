"""Coupled learning: a network of resistors compares its free state with one nudged to the target.

Outputs V free, then held at V + eta (T - V); every resistor sees its own two voltages and changes by

    dG = lr / eta (F(v_free) - F(v_held))        F(v) = v^2/2 in a linear network, else its co-content

Nothing is computed anywhere else. T is ``high`` volts for the right class, 0 for the others.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from hwtrain.direction import Controls
from hwtrain.errors import IncompatibleRule
from hwtrain.layers.physical import Physical
from hwtrain.net import Net
from hwtrain.rules._blocks import flat
from hwtrain.rules.base import Bound, Rule
from hwtrain.strict_toml import Strict


class CoupledLearning(Rule):
    """Trains one network of resistors, of which the outputs are the classes."""

    floats_only = True

    class Options(Strict):
        """Strength of the nudge; volts at the output of the right class."""

        eta: float = Field(0.1, gt=0, le=1)
        high: float = Field(0.5, gt=0)

    def needs(self, net: Net) -> dict[str, frozenset[str]]:
        """read, clamp and write of the network."""
        layers = flat(net, "coupled-learning")
        path, layer = layers[-1]
        if not isinstance(layer, Physical):
            raise IncompatibleRule(
                f"layer {path}: coupled-learning needs port clamp, which its substrate lacks: make a network "
                "of resistors the last layer"
            )
        return {f"{path}.medium": frozenset({"read", "clamp", "write"})}

    def work(self, net: Net) -> CoupledLearningBound:
        """Coupled learning in the last layer."""
        return CoupledLearningBound(net, self.options.eta, self.options.high)


class CoupledLearningBound(Bound):
    """Two relaxations a sample."""

    def __init__(self, net: Net, eta: float, high: float) -> None:
        super().__init__(net)
        self.eta, self.high = eta, high
        self.layers = flat(net, "coupled-learning")

    def step(
        self, x: Float[Tensor, "batch *features"], labels: Int[Tensor, "batch"], lr: float
    ) -> Float[Tensor, "batch"]:
        """Free and held; the loss is the net's own, of the free outputs."""
        for _, layer in self.layers[:-1]:
            x = layer.fw(x)[0]
        medium = self.layers[-1][1].arrays["medium"]
        target = torch.zeros(len(x), 1, medium.geometry.out, dtype=x.dtype)
        target[torch.arange(len(x)), 0, labels] = self.high
        y, free, held = medium.clamp(x[:, None], target, self.eta)  # type: ignore[attr-defined]
        medium.write(Controls((free - held).mean(0) * (lr / self.eta)))
        return self.net.loss.fw(y[:, 0], labels)[0]
