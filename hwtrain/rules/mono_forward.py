"""Mono-forward: every block classifies by itself through a head of its own (Gong, Li, Abdulla, 2025).

    g_l = M_l a_l,  e_l = softmax(g_l) - y,  dM_l = e_l a_l^T,  d_l = M_l^T e_l

Nothing crosses a block; the last block makes the classes itself. Of one hidden block whose head begins as the
last layer (without a bias) it is backpropagation.
"""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor

from hwtrain.direction import Outer
from hwtrain.net import Net
from hwtrain.rules._blocks import Block, blocks, draws, local_needs, normal
from hwtrain.rules.base import Bound, Rule


class MonoForward(Rule):
    """One pass, local losses."""

    floats_only = True

    def needs(self, net: Net) -> dict[str, frozenset[str]]:
        """read and write of every block's weights, read of the physics before them."""
        return local_needs(net, blocks(net, "mono-forward"))

    def work(self, net: Net) -> MonoForwardBound:
        """A head for every block but the last."""
        return MonoForwardBound(net, blocks(net, "mono-forward"))


class MonoForwardBound(Bound):
    """Blocks with heads."""

    def __init__(self, net: Net, learning: list[Block]) -> None:
        super().__init__(net)
        self.blocks = learning
        classes = learning[-1].width
        self.heads = []
        for place, block in enumerate(learning[:-1]):
            std = (2 / (block.width + classes)) ** 0.5
            head = net.array(f"head{place + 1}", classes, block.width, std)
            head.load(std * normal(draws(net, 0), place, head.peek()))
            self.heads.append(head)

    def step(
        self, x: Float[Tensor, "batch *features"], labels: Int[Tensor, "batch"], lr: float
    ) -> Float[Tensor, "batch"]:
        """Each block by its own loss; that of the last is returned."""
        scale = -lr / len(x)
        for block, head in zip(self.blocks[:-1], self.heads, strict=True):
            a, tapes = block.fw(block.prepare(x))
            _, tape = self.net.loss.fw(head.read(a[:, None])[:, 0], labels)
            e = self.net.loss.igrad(tape)[:, None]
            d = head.read_t(e)[:, 0]
            head.write(Outer(a[:, None], e).scaled(scale))
            block.learn(d, tapes, scale)
            x = a
        last = self.blocks[-1]
        z, tapes = last.fw(last.prepare(x))
        loss, tape = self.net.loss.fw(z, labels)
        last.learn(self.net.loss.igrad(tape), tapes, scale)
        return loss
