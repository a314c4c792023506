"""Physical local learning without labels, as described: blocks tell real samples from mixtures of two.

That PhyLL trains without supervision is in the abstract (Momeni et al., Science 2023); its equations were not
at hand. Open points, and what stands here: wrong inputs are a first part of one sample with the rest of
another, cut at a random place (after the hybrids of Hinton, 2022); goodness and loss are those of
``phyll``; the last block reads the features |z| of the others, trained by the net's loss on real samples.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hwtrain.net import Net
from hwtrain.rules._blocks import blocks, draws, local_needs, step_of
from hwtrain.rules.phyll import Phyll, PhyllBound


class PhyllUnsupervised(Phyll):
    """Labels reach the last layer alone."""

    labels_in = False

    def needs(self, net: Net) -> dict[str, frozenset[str]]:
        """read and write of every block's weights, read of the physics before them."""
        return local_needs(net, blocks(net, "phyll-unsupervised"))

    def work(self, net: Net) -> PhyllUnsupervisedBound:
        """PhyLL against mixtures, and a readout."""
        return PhyllUnsupervisedBound(net, *self.parts(net), self.options.theta, self.options.inner)


class PhyllUnsupervisedBound(PhyllBound):
    """The blocks of PhyLL with other wrong inputs, then a readout."""

    batch_min = 2  # a sample mixed with itself is no wrong input

    def contrasted(self, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Real samples, and mixtures of each with the next one of the batch."""
        values = x.flatten(1)
        uniform = draws(self.net, 2).at(step_of(self.net)).uniform(len(x))
        width = values.shape[1]
        cut = (width * (0.25 + 0.5 * torch.from_numpy(uniform)))[:, None]
        mixed = torch.where(torch.arange(width) < cut, values, values.roll(1, 0))
        return x, mixed.view_as(x)

    def step(
        self, x: Float[Tensor, "batch *features"], labels: Int[Tensor, "batch"], lr: float
    ) -> Float[Tensor, "batch"]:
        """The blocks without labels, then the readout; the loss is the readout's."""
        super().step(x, labels, lr)
        last = blocks(self.net, "phyll-unsupervised")[-1]
        z, tapes = last.fw(last.prepare(self._features(x)))
        loss, tape = self.net.loss.fw(z, labels)
        last.learn(self.net.loss.igrad(tape), tapes, -lr / len(x))
        return loss

    def predict(self, x: Float[Tensor, "batch *features"]) -> Float[Tensor, "batch classes"]:
        """One pass."""
        last = blocks(self.net, "phyll-unsupervised")[-1]
        return last.fw(last.prepare(self._features(x)))[0]

    def _features(self, h: Tensor) -> Tensor:
        last = blocks(self.net, "phyll-unsupervised")[-1]
        for block in self.blocks:
            if block.path != last.path:
                h = block.fw(block.prepare(h))[0].abs()
        return h
