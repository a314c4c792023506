"""Mode ``lookahead``: the first layer reads a sample ahead, and what it missed is added."""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Int, Real
from torch import Tensor

from hwtrain.errors import IncompatibleRule
from hwtrain.kernels import bias, dense, fixed, vector
from hwtrain.kernels.base import sections
from hwtrain.net import Net
from hwtrain.rules._chain import ChainBound


class LookaheadBound(ChainBound):
    """The first layer writes update(i - 2) and reads sample i, while the others do all of sample i - 1.

    A step returns the loss of the sample before, and 0 at first. ``z`` is W x + b of the first layer.
    """

    batch: ClassVar[int | None] = 1

    def __init__(self, net: Net, rule: str) -> None:
        super().__init__(net, rule)
        for path, array in self.arrays.items():
            if array.transforms:
                raise IncompatibleRule(
                    f"layer {path}: lookahead takes no momentum, clip or summed: leave them out"
                )
        for path in (f"{self.stages[0].path}.{name}" for name in self.stages[0].dense.arrays):
            if not self.arrays[path].linear:
                raise IncompatibleRule(
                    f"layer {path}: lookahead corrects what was read for a write that comes later, and "
                    "needs plain weights: use --device float32, fixed8 or fixed16, or another mode"
                )
        inputs, first = self.widths[:2]
        self.x = self.keep("x1", 1, inputs)
        self.z = self.keep("z1", 1, first)
        self.label = self.keep("label1", 1, dtype=torch.int32)
        self.pending = self.keep("pending", 1, dtype=torch.int32)
        self.x2, self.d2 = self.keep("x2", 1, inputs), self.keep("d2", 1, first)

    def step(
        self, x: Real[Tensor, "batch *features"], labels: Int[Tensor, "batch"], lr: float
    ) -> Real[Tensor, "batch"]:
        """Read one sample, learn from the one before."""
        raw = loss = d = x

        def ahead() -> None:
            nonlocal raw
            with self.late(2):
                self.write(self.stages[0], self.x2, self.d2, lr)
            raw = self._raw(x)

        def rest() -> None:
            nonlocal loss, d
            loss, d = self._rest(lr)

        def join() -> None:
            z = self._corrected(raw, x, d, lr)
            vector.copy(self.x2, self.x)
            vector.copy(self.d2, d)
            vector.copy(self.x, x)
            vector.copy(self.z, z)
            vector.copy_labels(self.label, labels)
            vector.mark(self.pending, 1)

        sections([ahead, rest], join)
        return loss

    def flush(self, lr: float) -> Real[Tensor, "n"]:
        """Learn from the last sample; its loss."""
        loss, d = self._rest(lr)
        with self.late(2):
            self.write(self.stages[0], self.x2, self.d2, lr)
        with self.late(1):
            self.write(self.stages[0], self.x, d, lr)
        vector.clear(self.d2)
        vector.mark(self.pending, 0)
        return loss

    def _raw(self, x: Tensor) -> Real[Tensor, "1 1 out"]:
        arrays = self.stages[0].dense.arrays
        weight, offset = arrays["weight"], arrays.get("bias")
        y = weight.read(x[:, None])
        return y if offset is None else bias.add(y, offset.read(offset.ones(x)), offset.frac - weight.frac)

    def _rest(self, lr: float) -> tuple[Tensor, Tensor]:
        """Loss of the sample before, and its error by z; the later layers have learnt from it."""
        signals = [self.x, self.stages[0].bend(self.z)]
        for stage in self.stages[1:]:
            signals.append(stage.fw(signals[-1]))
        loss, d = self.judge(signals[-1], self.label)
        errors = self.back(vector.gate(d, self.pending), signals)
        with self.late(1):
            for stage, signal, error in zip(self.stages[1:], signals[1:], errors[1:], strict=False):
                self.write(stage, signal, error, lr)
        return vector.gate_loss(loss, self.pending), errors[0]

    def _corrected(self, raw: Tensor, x: Tensor, d: Tensor, lr: float) -> Real[Tensor, "1 out"]:
        """W x + b as it will be once the error d of the sample before has been written."""
        weight = self.stages[0].dense.arrays["weight"]
        numbers, has_bias = weight.numbers, "bias" in self.stages[0].dense.arrays
        given = raw, x[:, None], self.x[:, None], d[:, None], -lr
        if numbers is None:
            return dense.correct(*given, float(has_bias))[:, 0]
        y = fixed.correct(*given, numbers.update_shift, numbers.one * has_bias)
        return weight.end(y)[:, 0]
