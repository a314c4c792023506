"""Node perturbation: noise on the sums of all layers, and the loss says whether it did good.

    d_l = (L(noisy) - L) xi_l / sigma^2        xi_l ~ N(0, sigma^2), each sample its own

One number a sample is sent to all layers. The variance grows with the number of units, not of weights.
"""

from __future__ import annotations

from typing import Any

from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from hwtrain.net import Net
from hwtrain.rules._blocks import draws, flat, normal, step_of, write
from hwtrain.rules.base import Bound, Rule
from hwtrain.strict_toml import Strict


class NodePerturbation(Rule):
    """Two passes a step, one of them with noise of standard deviation sigma."""

    floats_only = True

    class Options(Strict):
        """Standard deviation of the noise."""

        sigma: float = Field(0.1, gt=0)

    def needs(self, net: Net) -> dict[str, frozenset[str]]:
        """read of all, write of all but physics."""
        flat(net, "node-perturbation")
        return {
            path: frozenset({"read"} if path.endswith(".medium") else {"read", "write"})
            for path, _ in net.arrays()
            if not path.startswith("rule.")
        }

    def work(self, net: Net) -> NodePerturbationBound:
        """Noise at the output of every layer with weights."""
        return NodePerturbationBound(net, self.options.sigma)


class NodePerturbationBound(Bound):
    """A quiet and a noisy pass."""

    def __init__(self, net: Net, sigma: float) -> None:
        super().__init__(net)
        self.sigma = sigma
        self.layers = flat(net, "node-perturbation")
        self.trained = set(net.trained())

    def step(
        self, x: Float[Tensor, "batch *features"], labels: Int[Tensor, "batch"], lr: float
    ) -> Float[Tensor, "batch"]:
        """Every layer goes along its own noise as far as that helped."""
        step = step_of(self.net)
        quiet, _, tapes = self.net.fw(x)
        noises: dict[str, Tensor] = {}
        h: Any = x
        for place, (path, layer) in enumerate(self.layers):
            h = layer.fw(h)[0]
            if path in self.trained:
                noises[path] = self.sigma * normal(draws(self.net, 0), step, h, place)
                h = h + noises[path]
        loss = self.net.loss.fw(quiet, labels)[0]
        gain = (self.net.loss.fw(h, labels)[0] - loss) / self.sigma**2
        for path, layer in self.layers:
            if path in self.trained:
                noise = noises[path]
                d = gain.view(-1, *[1] * (noise.ndim - 1)) * noise
                write(layer, layer.wgrad(d, tapes[path]), -lr / len(x))
        return loss
