"""The torch engine: runs a rule over a chunk of samples, step by step, on one thread."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Int, Real
from torch import Tensor

from hwtrain.kernels.base import Rate
from hwtrain.ledger import Ledger
from hwtrain.rules.base import Bound

EVAL_BATCH = 1000


@dataclass(frozen=True)
class Metrics:
    """Sums over the samples of a chunk."""

    samples: int
    loss: float
    correct: int = 0


class TorchEngine:
    """``run`` trains on a chunk, ``evaluate`` looks and changes nothing but the ledger."""

    def __init__(self, bound: Bound, ledger: Ledger, batch: int) -> None:
        self.bound, self.ledger, self.batch = bound, ledger, batch

    def run(
        self, x: Real[Tensor, "n *features"], labels: Int[Tensor, "n"], first_step: int, lr: float
    ) -> Metrics:
        """Train on the samples in order, in batches; ``first_step`` is the number of the first step."""
        clock = self.ledger.clock
        clock.phase = "train"
        x = self.bound.net.encode(x)
        losses = []
        for offset, start in enumerate(range(0, x.shape[0], self.batch)):
            clock.step, clock.sample = first_step + offset, 0
            part = slice(start, start + self.batch)
            losses.append(self.bound.step(x[part], labels[part], Rate(lr)))
        total = float(torch.cat(losses).double().sum())
        return Metrics(x.shape[0], total * self.bound.net.loss.unit)

    def evaluate(self, x: Real[Tensor, "n *features"], labels: Int[Tensor, "n"], step: int) -> Metrics:
        """Loss and hits on samples that are not trained on."""
        clock = self.ledger.clock
        clock.phase, clock.step = "eval", step
        for _, array in self.bound.net.arrays():
            array.rewind()
        x = self.bound.net.encode(x)
        loss, correct = 0.0, 0
        for start in range(0, x.shape[0], EVAL_BATCH):
            part = slice(start, start + EVAL_BATCH)
            clock.sample, clock.samples = start, len(labels[part])
            z = self.bound.predict(x[part])
            correct += int((z.argmax(1) == labels[part]).sum())
            found = self.bound.net.loss.fw(z, labels[part])[0]
            loss += float(found.double().sum()) * self.bound.net.loss.unit
        clock.phase, clock.sample = "train", 0
        return Metrics(x.shape[0], loss, correct)
