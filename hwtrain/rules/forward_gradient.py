"""Forward gradient: the slope of the loss along a random direction of all activities.

Every layer's sum z_l gets a tangent: what the layer below passes on, and noise of its own, v_l ~ N(0, 1):

    z'_l = W_l a'_{l-1} + v_l        a'_l = phi'(z_l) z'_l        d_l = (e . z'_L) v_l

Only forward reads are needed. The tangent through physics is the difference of two measurements.
"""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor

from hwtrain.errors import IncompatibleRule
from hwtrain.layers.base import Layer
from hwtrain.layers.dense import Dense
from hwtrain.layers.flatten import Flatten
from hwtrain.layers.physical import Physical
from hwtrain.layers.relu import Relu
from hwtrain.layers.sigmoid import Sigmoid
from hwtrain.layers.tanh import Tanh
from hwtrain.net import Net
from hwtrain.rules._blocks import draws, flat, normal, step_of, write
from hwtrain.rules.base import Bound, Rule

_SMALL = 1e-2
"""Length of the tangent by which physics is measured again, as a share of the input's."""


class ForwardGradient(Rule):
    """Dense layers, pointwise activations, physics."""

    floats_only = True

    def needs(self, net: Net) -> dict[str, frozenset[str]]:
        """read of all, write of all but physics."""
        for path, layer in flat(net, "forward-gradient"):
            if not isinstance(layer, Dense | Flatten | Physical | Relu | Sigmoid | Tanh):
                raise IncompatibleRule(
                    f"layer {path}: forward-gradient has no tangent of a {type(layer).__name__}: choose "
                    "node-perturbation"
                )
        return {
            path: frozenset({"read"} if path.endswith(".medium") else {"read", "write"})
            for path, _ in net.arrays()
            if not path.startswith("rule.")
        }

    def work(self, net: Net) -> ForwardGradientBound:
        """Signals and tangents together."""
        return ForwardGradientBound(net)


class ForwardGradientBound(Bound):
    """One pass of signals, and one of tangents behind it."""

    def __init__(self, net: Net) -> None:
        super().__init__(net)
        self.layers = flat(net, "forward-gradient")

    def step(
        self, x: Float[Tensor, "batch *features"], labels: Int[Tensor, "batch"], lr: float
    ) -> Float[Tensor, "batch"]:
        """Every layer goes along its own noise by the slope of the loss."""
        step, tangent, h = step_of(self.net), None, x
        learned = []
        for place, (_, layer) in enumerate(self.layers):
            y, _, tape = layer.fw(h)
            if tangent is not None:
                tangent = _pushed(layer, h, y, tape, tangent)
            if isinstance(layer, Dense):
                noise = normal(draws(self.net, 0), step, y, place)
                tangent = noise if tangent is None else tangent + noise
                learned.append((layer, noise, tape))
            h = y
        loss, at_end = self.net.loss.fw(h, labels)
        assert tangent is not None
        slope = (self.net.loss.igrad(at_end) * tangent).sum(1, keepdim=True)
        for layer, noise, tape in learned:
            write(layer, layer.wgrad(slope * noise, tape), -lr / len(x))
        return loss


def _pushed(layer: Layer, x: Tensor, y: Tensor, tape: Tensor, tangent: Tensor) -> Tensor:
    """The tangent behind a layer; a pointwise one's slope is the same both ways."""
    if isinstance(layer, Dense):
        weight = layer.arrays["weight"]
        return weight.end(weight.read(tangent[:, None]))[:, 0]
    if isinstance(layer, Flatten):
        return tangent.flatten(1)
    if isinstance(layer, Physical):
        size = _SMALL * x.norm(dim=1, keepdim=True).clamp(min=1e-6)
        length = tangent.norm(dim=1, keepdim=True).clamp(min=1e-12)
        moved: Tensor = layer.fw(x + tangent * (size / length))[0]
        return (moved - y) * (length / size)
    found: Tensor = layer.igrad(tangent, tape)
    return found
