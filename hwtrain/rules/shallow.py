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
    """Backpropagation that stops at the last layer with weights; all others keep their first values.

    With ``last`` = n > 1 the last n children of the net that have weights learn, a block being one child, and
    a normalisation part of what it follows.
    """

    class Options(Strict):
        """How much learns, and whether normalisations keep their statistics or take the batch's."""

        last: int = Field(1, ge=1)
        still: bool = False

    def first(self, net: Net) -> str:
        """Path of the first layer that learns."""
        last, layers = self.options.last, dict(net.layers())
        if last == 1:
            return net.trained()[-1]
        firsts: dict[str, str] = {}
        for path in net.trained():
            if not isinstance(layers[path], BatchNorm2d):
                firsts.setdefault(path.partition(".")[0], path)
        if last > len(firsts):
            raise ConfigError(
                f"rule_options: last = {last}: only {len(firsts)} layers or blocks of the net have weights: "
                "ask for fewer, or take rule backprop"
            )
        return list(firsts.values())[-last]

    def work(self, net: Net) -> Bound:
        """Backpropagation from the loss to the first layer that learns."""
        if self.options.still:
            for _, layer in net.layers():
                if isinstance(layer, BatchNorm2d):
                    layer.frozen = True
        return super().work(net)
