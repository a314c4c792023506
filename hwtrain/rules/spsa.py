"""Simultaneous perturbation: two looks at the loss tell how far to go along a random direction.

    c = (L(w + eps z) - L(w - eps z)) / 2 eps        w <- w - lr c z

z is made again from its seed, so nothing but the two losses is kept. Weights and controls of physics alike.
Of n weights one direction shows a share 1 / n of the gradient, so it takes many of them: ``directions`` are
looked along one after another on each batch, two passes a sample each.
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
        """How far to either side the loss is looked at, and along how many directions a batch."""

        eps: float = Field(0.01, gt=0)
        directions: int = Field(1, ge=1)

    def needs(self, net: Net) -> dict[str, frozenset[str]]:
        """read of all; perturb and write of weights, biases and controls."""
        ports = {}
        for path, array in net.arrays():
            fixed = path.endswith(".medium") and "perturb" not in array.ports
            ports[path] = frozenset({"read"} if fixed else {"read", "perturb", "write"})
        return ports

    def work(self, net: Net) -> SpsaBound:
        """SPSA of all that can be moved."""
        moved = [array for path, array in net.arrays() if "perturb" in self.needs(net)[path]]
        return SpsaBound(net, moved, self.options.eps, self.options.directions)


class SpsaBound(Bound):
    """Two passes a step and direction."""

    def __init__(self, net: Net, moved: list[Array], eps: float, directions: int) -> None:
        super().__init__(net)
        self.moved, self.eps, self.directions = moved, eps, directions

    def step(
        self, x: Float[Tensor, "batch *features"], labels: Int[Tensor, "batch"], lr: float
    ) -> Float[Tensor, "batch"]:
        """Along each direction look on both sides, then go; the loss is the mean of the first two looks."""
        first = step_of(self.net) * self.directions
        losses = [self._along(seed, x, labels, lr) for seed in range(first, first + self.directions)]
        return losses[0]

    def _along(self, seed: int, x: Tensor, labels: Tensor, lr: float) -> Tensor:
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
