"""Ridge readout: hidden layers stay as they are, the last one is solved for in closed form.

    W = (A^T A + lambda tr(A^T A) / n 1)^-1 A^T Y, on centred features A (samples, n) and one-hot targets Y

What every piece of physics can be used with: measurements, and a digital solve. ``lr``, as it is in the first
step, is the penalty lambda.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hwtrain.net import Net
from hwtrain.rules._blocks import Block, blocks, local_needs
from hwtrain.rules.base import Bound, Rule


class Ridge(Rule):
    """Sums up products of features step by step; solves after an epoch, or for a prediction before."""

    floats_only = True

    def needs(self, net: Net) -> dict[str, frozenset[str]]:
        """read of all before the last layer; load and read of that."""
        found = blocks(net, "ridge")
        ports = {path: its - {"write"} for path, its in local_needs(net, found).items()}
        return ports | {f"{found[-1].path}.weight": frozenset({"read", "load"})}

    def work(self, net: Net) -> RidgeBound:
        """A readout of the last layer's inputs."""
        return RidgeBound(net, blocks(net, "ridge"))


class RidgeBound(Bound):
    """Second moments of features and targets, in double precision."""

    def __init__(self, net: Net, found: list[Block]) -> None:
        super().__init__(net)
        self.blocks = found
        n, classes = found[-1].trained.in_, found[-1].width
        self.sums = torch.zeros(n + 1, n + 1 + classes, dtype=torch.float64)
        self.penalty = torch.zeros(1, dtype=torch.float64)
        self.stale = torch.zeros(1, dtype=torch.int64)

    def step(
        self, x: Float[Tensor, "batch *features"], labels: Int[Tensor, "batch"], lr: float
    ) -> Float[Tensor, "batch"]:
        """Add the batch's products; the loss is that of the readout as it is."""
        a = self._features(x)
        one = torch.ones(len(a), 1, dtype=torch.float64)
        y = torch.nn.functional.one_hot(labels, self.blocks[-1].width).double()
        columns = torch.cat([a.double(), one, y], 1)
        self.sums = self.sums + columns[:, : a.shape[1] + 1].T @ columns
        if not self.penalty:
            self.penalty = torch.full_like(self.penalty, float(lr))
        self.stale = torch.ones_like(self.stale)
        return self.net.loss.fw(self.blocks[-1].fw(a)[0], labels)[0]

    def flush(self, lr: float) -> None:
        """Solve, so that what it takes to write the readout counts as training."""
        if bool(self.stale):
            self._solve()

    def predict(self, x: Float[Tensor, "batch *features"]) -> Float[Tensor, "batch classes"]:
        """Solve if there is something new, then read."""
        if bool(self.stale):
            self._solve()
        return self.blocks[-1].fw(self._features(x))[0]

    def state(self) -> dict[str, Tensor]:
        """The sums, and whether the readout lags behind them."""
        return {"sums": self.sums, "penalty": self.penalty, "stale": self.stale}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Undo of ``state``."""
        self.sums, self.penalty, self.stale = (state[name].clone() for name in ("sums", "penalty", "stale"))

    def _features(self, x: Tensor) -> Tensor:
        for block in self.blocks[:-1]:
            x = block.fw(block.prepare(x))[0]
        return self.blocks[-1].prepare(x)

    def _solve(self) -> None:
        n = len(self.sums) - 1
        count = self.sums[n, n]
        mean, share = self.sums[n, :n] / count, self.sums[n, n + 1 :] / count
        gram = self.sums[:n, :n] - count * torch.outer(mean, mean)
        gram.diagonal().add_(float(self.penalty) * gram.diagonal().mean() + 1e-9)
        found = torch.linalg.solve(gram, self.sums[:n, n + 1 :] - count * torch.outer(mean, share))
        last = self.blocks[-1].trained.arrays
        last["weight"].load(found.T[None])
        if "bias" in last:
            last["bias"].load((share - mean @ found)[None, :, None])
        self.stale = torch.zeros_like(self.stale)
