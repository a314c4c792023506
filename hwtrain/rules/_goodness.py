"""Rules of goodness: every block learns to tell a right input from a wrong one, by itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hwtrain.net import Net
from hwtrain.rules._blocks import Block, blocks, draws, labelled, local_needs, step_of, wrong
from hwtrain.rules.base import Bound, Rule


class GoodnessRule(Rule, ABC):
    """Trains all blocks but the last, of which the width alone counts: it says how many labels there are.

    Class attribute ``labels_in``: whether labels are written over the inputs.
    """

    floats_only = True
    labels_in: ClassVar[bool] = True

    def needs(self, net: Net) -> dict[str, frozenset[str]]:
        """read and write of the blocks' weights, read of the physics before them."""
        found = blocks(net, self.name)
        return local_needs(net, found[:-1] or found)

    def parts(self, net: Net) -> tuple[list[Block], int]:
        """The blocks that learn, and the number of labels. A net of one block learns in that one."""
        found = blocks(net, self.name)
        return found[:-1] or found, found[-1].width


class GoodnessBound(Bound, ABC):
    """Right and wrong inputs go through the blocks together; no signal comes back.

    ``inner`` updates are made on each measurement of the physics.
    """

    inner = 1

    def __init__(self, net: Net, learning: list[Block], classes: int) -> None:
        super().__init__(net)
        self.blocks, self.classes = learning, classes
        self._wrong = draws(net, 0)

    def step(
        self, x: Float[Tensor, "batch *features"], labels: Int[Tensor, "batch"], lr: float
    ) -> Float[Tensor, "batch"]:
        """One batch of right and as many wrong inputs; the loss of the first block."""
        h, n = torch.cat(self.contrasted(x, labels)), len(x)
        found: Tensor | None = None
        for place, block in enumerate(self.blocks):
            a = block.prepare(h)
            for turn in range(self.inner):
                z, tapes = block.fw(a)
                loss, d = self.local(z[:n], z[n:], place)
                if found is None and turn == 0:
                    found = loss
                block.learn(d, tapes, -lr / n)
            h = self.passed(z)
        assert found is not None
        return found

    def predict(self, x: Float[Tensor, "batch *features"]) -> Float[Tensor, "batch classes"]:
        """The sum of all blocks' goodness under every label: as many passes as there are labels."""
        found = []
        for label in range(self.classes):
            h = labelled(x, torch.full((len(x),), label), self.classes)
            total = torch.zeros(len(x), dtype=x.dtype)
            for place, block in enumerate(self.blocks):
                z = block.fw(block.prepare(h))[0]
                total = total + self.goodness(z, place)
                h = self.passed(z)
            found.append(total)
        return torch.stack(found, 1)

    def contrasted(self, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The right and the wrong inputs: with the right label, and with another one."""
        other = wrong(labels, self.classes, self._wrong, step_of(self.net))
        return labelled(x, labels, self.classes), labelled(x, other, self.classes)

    def passed(self, z: Tensor) -> Tensor:
        """What the next block gets."""
        return z

    @abstractmethod
    def goodness(self, z: Float[Tensor, "batch out"], place: int) -> Float[Tensor, "batch"]:
        """How right the outputs of the block at ``place`` look."""

    @abstractmethod
    def local(
        self, right: Float[Tensor, "batch out"], wrong: Float[Tensor, "batch out"], place: int
    ) -> tuple[Float[Tensor, "batch"], Float[Tensor, "pairs out"]]:
        """The block's loss of each pair, and its gradient by the right outputs, then the wrong ones."""
