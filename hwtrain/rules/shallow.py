"""The control that every result prints: hidden layers frozen, the last layer trained. Or some of the last."""

from __future__ import annotations

from pydantic import Field

from hwtrain.errors import ConfigError
from hwtrain.layers.batch_norm2d import BatchNorm2d
from hwtrain.net import Net
from hwtrain.rules.backprop import Backprop
from hwtrain.rules.base import Bound
from hwtrain.strict_toml import Strict


class Shallow(Backprop):
    """Backpropagation that stops at the last child of the net with weights; those before it keep theirs.

    With ``last`` = n the last n such children learn, a block being one child, and a normalisation part of
    what it follows.
    """

    class Options(Strict):
        """How much learns, and whether normalisations keep their statistics or take the batch's."""

        last: int = Field(1, ge=1)
        still: bool = False

    def first(self, net: Net) -> str:
        """Path of the first layer that learns."""
        layers = dict(net.layers())
        firsts: dict[str, str] = {}
        for path in net.trained():
            if not isinstance(layers[path], BatchNorm2d):
                firsts.setdefault(path.partition(".")[0], path)
        last = self.options.last
        if last > len(firsts):
            raise ConfigError(
                f"rule_options: last = {last}: only {len(firsts)} layers or blocks of the net have weights: "
                "ask for fewer, or take rule backprop"
            )
        return list(firsts.values())[-last]

    def work(self, net: Net) -> Bound:
        """Backpropagation from the loss to the first layer that learns."""
        if self.options.still:
            norms = [layer for _, layer in net.layers() if isinstance(layer, BatchNorm2d)]
            if not norms:
                raise ConfigError("rule_options: still = true: the net has no normalisation: leave it out")
            for norm in norms:
                norm.frozen = True
        return super().work(net)
