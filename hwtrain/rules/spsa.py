"""Simultaneous perturbation: two looks at the loss tell how far to go along a random direction.

    c = (L(w + eps z) - L(w - eps z)) / 2 eps        w <- w - lr c z

z is made again from its seed, so nothing but the two losses is kept. Weights and controls of physics alike.
"""

from __future__ import annotations

from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from hwtrain.direction import Seeded
from hwtrain.net import Net
from hwtrain.rules._blocks import step_of
from hwtrain.rules.base import Bound, Rule
from hwtrain.strict_toml import Strict
from hwtrain.substrates.base import Array


class Spsa(Rule):
    """Perturbs every array that learns, and the controls of physics that has some."""

    floats_only = True

    class Options(Strict):
        """How far to either side the loss is looked at."""

        eps: float = Field(0.01, gt=0)

    def needs(self, net: Net) -> dict[str, frozenset[str]]:
        """read of all; perturb and write of weights, biases and controls."""
        ports = {}
        for path, array in net.arrays():
            fixed = path.endswith(".medium") and "perturb" not in array.ports
            ports[path] = frozenset({"read"} if fixed else {"read", "perturb", "write"})
        return ports

    def work(self, net: Net) -> SpsaBound:
        """SPSA with one direction a step."""
        moved = [array for path, array in net.arrays() if "perturb" in self.needs(net)[path]]
        return SpsaBound(net, moved, self.options.eps)


class SpsaBound(Bound):
    """Two passes a step."""

    def __init__(self, net: Net, moved: list[Array], eps: float) -> None:
        super().__init__(net)
        self.moved, self.eps = moved, eps

    def step(
        self, x: Float[Tensor, "batch *features"], labels: Int[Tensor, "batch"], lr: float
    ) -> Float[Tensor, "batch"]:
        """Look on both sides, then go; the loss is the mean of both looks."""
        seed = step_of(self.net)
        looks = []
        for eps in (self.eps, -self.eps):
            for array in self.moved:
                array.perturb(seed, eps)
            looks.append(self.net.loss.fw(self.net.fw(x)[0], labels)[0])
        c = float((looks[0] - looks[1]).mean()) / (2 * self.eps)
        for array in self.moved:
            array.perturb(seed, 0.0)
            array.write(Seeded(seed, -lr * c))
        return (looks[0] + looks[1]) / 2
