"""Direct feedback alignment: fixed random weights bring the error to every layer (Nøkland, 2016).

    d_l = (B_l e) phi'(z_l)

One vector as long as there are classes is sent to all layers, and no weight is read from behind. Physics
between the layers is not differentiated at all.
"""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor

from hwtrain.net import Net
from hwtrain.rules._blocks import Block, blocks, draws, local_needs, normal
from hwtrain.rules.base import Bound, Rule


class Dfa(Rule):
    """Feedback B_l, normal with variance 1 / classes."""

    floats_only = True

    def needs(self, net: Net) -> dict[str, frozenset[str]]:
        """read and write of every block's weights, read of the physics before them."""
        return local_needs(net, blocks(net, "dfa"))

    def work(self, net: Net) -> DfaBound:
        """A feedback array for every block but the last."""
        return DfaBound(net, blocks(net, "dfa"))


class DfaBound(Bound):
    """One pass forward, one error for all."""

    def __init__(self, net: Net, learning: list[Block]) -> None:
        super().__init__(net)
        self.blocks = learning
        classes = learning[-1].width
        self.feedback = []
        for place, block in enumerate(learning[:-1]):
            array = net.array(f"feedback{place + 1}", block.width, classes, classes**-0.5)
            array.load(classes**-0.5 * normal(draws(net, 0), place, array.peek()))
            self.feedback.append(array)

    def step(
        self, x: Float[Tensor, "batch *features"], labels: Int[Tensor, "batch"], lr: float
    ) -> Float[Tensor, "batch"]:
        """Forward, then every block learns from the same error."""
        tapes = []
        for block in self.blocks:
            x, tape = block.fw(block.prepare(x))
            tapes.append(tape)
        loss, at_end = self.net.loss.fw(x, labels)
        e = self.net.loss.igrad(at_end)
        signals = [array.read(e[:, None])[:, 0] for array in self.feedback]
        for block, tape, d in zip(self.blocks, tapes, [*signals, e], strict=True):
            block.learn(d, tape, -lr / len(x))
        return loss
