"""Speculative backpropagation: the backward pass does not wait for the forward pass to end.

After Park and Suh, IEEE Access 8:215365, 2020, and Centeno et al., arXiv 2511.11640: outputs of samples with
the same label are alike, so the error of the last one is taken for that of the next. Only their abstracts
were read; the modes are our own definitions of what these describe. d are errors by W x + b, c is the label.

    sequential     forward, backward, update
    speculative    d_L and h of the last sample of label c stand for this sample's, if its own d_L comes out
                   within the threshold of the kept one (a hit); else the exact step (a miss)
    delayed        forward(i) beside backward(i - 1), then update(i - 1); no weights are stashed, so
                   backward(i - 1) reads the weights that forward(i) reads
    delayed-reuse  delayed; within the threshold the whole gradient kept for the label is written again
    fused-sweep    update(i - 1) of a layer in one sweep with forward(i); the bits of sequential
    neuron         fused-sweep, the rows of a matrix going to the native engine's threads; the same bits
    lookahead      update(i - 2) and forward(i) of the first layer beside all else of i - 1; what
                   update(i - 1) would have added is a rank-one correction: sequential in real numbers

The distance is that of the errors d_L, which is that of the outputs, for both lack the same target.
Updates that are put off (``flush``) are made at the end of an epoch.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from jaxtyping import Int, Real
from pydantic import Field
from torch import Tensor

from hwtrain.errors import ConfigError, IncompatibleRule
from hwtrain.kernels import bias, dense, fixed, slots, vector
from hwtrain.kernels.base import sections, when
from hwtrain.net import Net
from hwtrain.rules._chain import ChainBound
from hwtrain.rules.backprop import Backprop
from hwtrain.rules.base import Bound
from hwtrain.strict_toml import Strict


class Speculative(Backprop):
    """Backpropagation by one of the schedules above."""

    class Options(Strict):
        """``shadow``: write what is speculated into a second copy of the weights, beside the forward pass.

        It changes when things are done, not what comes out. ``sticky``: a hit does not renew what is kept.
        ``miss``: with a shadow, what a miss does: the exact step on the weights (``redo``), or what the exact
        step adds to the speculated one on the shadow (``correct``), the same but for rounding.
        ``warm_up``: so many samples at first are learnt exactly, and counted as misses.
        """

        mode: Literal[
            "sequential", "speculative", "delayed", "delayed-reuse", "fused-sweep", "neuron", "lookahead"
        ] = "speculative"
        threshold: float = 0.25
        distance: Literal["l1", "cross-entropy"] = "l1"
        store: Literal["fresh", "sticky"] = "fresh"
        shadow: bool = False
        miss: Literal["redo", "correct"] = "redo"
        warm_up: int = Field(0, ge=0, lt=1 << 31)

    def needs(self, net: Net) -> dict[str, frozenset[str]]:
        """Those of backpropagation; with a shadow, propose."""
        ports = super().needs(net)
        return {path: found | {"propose"} for path, found in ports.items()} if self._shadow else ports

    @property
    def _shadow(self) -> bool:
        return bool(self.options.shadow and self.options.mode == "speculative")

    def work(self, net: Net) -> Bound:
        """The schedule that was asked for, on a net of dense layers."""
        options = self.options
        if options.miss == "correct" and not self._shadow:
            raise ConfigError(
                "rule_options: miss = correct corrects a shadow: add mode=speculative,shadow=true"
            )
        if options.warm_up and options.mode not in ("speculative", "delayed-reuse"):
            raise ConfigError(f"rule_options: warm_up: mode {options.mode} does not speculate: leave it out")
        if options.distance == "cross-entropy" and net.loss.numbers is not None:
            raise ConfigError("rule_options: distance = cross-entropy takes floats: use l1 on this device")
        match options.mode:
            case "sequential":
                return super().work(net)
            case "speculative":
                return (ShadowBound if options.shadow else SpeculativeBound)(net, self.name, options)
            case "delayed":
                return DelayedBound(net, self.name)
            case "delayed-reuse":
                return ReuseBound(net, self.name, options)
            case "lookahead":
                return LookaheadBound(net, self.name)
        return SweepBound(net, self.name, parallel=options.mode == "neuron")


class LabelBound(ChainBound):
    """Keeps by label what it has seen, and counts by label: hits, misses, cold, right hits."""

    def __init__(self, net: Net, rule: str, options: Speculative.Options) -> None:
        super().__init__(net, rule)
        self.options = options
        numbers = net.loss.numbers
        self.limit = options.threshold * (1.0 if numbers is None else 2.0**numbers.error_frac)
        self.errors = self.keep("errors", self.classes, self.classes)
        self.known = self.keep("known", self.classes, dtype=torch.int32)
        self.counts = self.keep("counts", self.classes, len(slots.OUTCOMES), dtype=torch.int32)
        if options.warm_up:
            self.left = self.keep("left", 1, dtype=torch.int32).fill_(options.warm_up)

    def near(self, labels: Int[Tensor, "batch"], d: Real[Tensor, "batch classes"]) -> Int[Tensor, "batch"]:
        """Which samples are hits."""
        hits = slots.near(self.errors, self.known, labels, d, self.limit, self.options.distance)
        return slots.warm(self.left, hits) if self.options.warm_up else hits

    def put(self, table: Tensor, labels: Tensor, hits: Tensor, rows: Tensor) -> None:
        """Keep what was seen."""
        slots.put(table, labels, hits, rows, int(self.options.store == "sticky"))


class SpeculativeBound(LabelBound):
    """One pass forward, then one pass back: by what was kept where that was near, else by what is.

    The way of a single engine, which does not begin before it knows. Of a batch, every sample is held to
    what was kept before it.
    """

    def __init__(self, net: Net, rule: str, options: Speculative.Options) -> None:
        super().__init__(net, rule, options)
        widths = self.widths[1:-1]
        self.hidden = [
            self.keep(f"hidden{n}", self.classes, width) for n, width in enumerate(widths, start=1)
        ]

    def step(
        self, x: Real[Tensor, "batch *features"], labels: Int[Tensor, "batch"], lr: float
    ) -> Real[Tensor, "batch"]:
        """Learn from one batch."""
        signals = self.look(x)
        loss, d = self.judge(signals[-1], labels)
        hits = self.near(labels, d)
        pairs = zip(self.hidden, signals[1:-1], strict=True)
        used = [x, *(slots.choose(table, labels, hits, rows) for table, rows in pairs)]
        self.learn(used, self.back(slots.choose(self.errors, labels, hits, d), used), lr)
        self.remember(signals, d, labels, hits)
        return loss

    def remember(self, signals: list[Tensor], d: Tensor, labels: Tensor, hits: Tensor) -> None:
        """Count, and keep this sample for the next of its label."""
        slots.tally(self.counts, self.known, labels, hits, signals[-1])
        self.put(self.errors, labels, hits, d)
        for table, rows in zip(self.hidden, signals[1:-1], strict=True):
            self.put(table, labels, hits, rows)


class ShadowBound(SpeculativeBound):
    """The way of two engines: one goes forward, the other already back, into a shadow of the weights.

    On a hit shadow and weights change places. On a miss the exact step follows, with the same bits as without
    a shadow; or the two change places all the same, and what the shadow lacks is added.
    """

    batch: ClassVar[int | None] = 1

    def __init__(self, net: Net, rule: str, options: Speculative.Options) -> None:
        super().__init__(net, rule, options)
        self.turn = self.keep("turn", 1, dtype=torch.int32)
        for array in self.arrays.values():
            array.shadow(self.turn)

    def step(
        self, x: Real[Tensor, "batch *features"], labels: Int[Tensor, "batch"], lr: float
    ) -> Real[Tensor, "batch"]:
        """Learn from one sample."""
        signals: list[Tensor] = []
        loss = d = x

        def forward() -> None:
            nonlocal signals, loss, d
            signals = self.look(x)
            loss, d = self.judge(signals[-1], labels)

        kept: list[Tensor] = []
        guessed: list[Tensor] = []

        def backward() -> None:
            nonlocal kept, guessed
            kept = [x, *(slots.take(table, labels) for table in self.hidden)]
            guessed = self.back(slots.take(self.errors, labels), kept)
            for stage, before, error in zip(self.stages, kept, guessed, strict=True):
                for name, direction in stage.dense.wgrad(error, before).items():
                    stage.dense.arrays[name].propose(direction.scaled(-lr))

        def redo() -> None:
            self.learn(signals, self.back(d, signals), lr)

        def correct() -> None:
            errors = self.back(d, signals)  # by the weights as they were
            slots.flip(self.turn)
            self.write(self.stages[0], x, vector.subtract(errors[0], guessed[0]), lr)
            for given, found, rate in ((signals, errors, lr), (kept, guessed, -lr)):
                for stage, before, error in list(zip(self.stages, given, found, strict=False))[1:]:
                    self.write(stage, before, error, rate)

        def join() -> None:
            hits = self.near(labels, d)
            missed = correct if self.options.miss == "correct" else redo
            when(hits, lambda: slots.flip(self.turn), missed)
            self.remember(signals, d, labels, hits)

        sections([forward, backward], join)
        return loss


class DelayedBound(ChainBound):
    """forward(i) beside backward(i - 1); update(i - 1) after both."""

    batch: ClassVar[int | None] = 1

    def __init__(self, net: Net, rule: str) -> None:
        super().__init__(net, rule)
        self.before = [self.keep(f"signal{n}", 1, width) for n, width in enumerate(self.widths[:-1])]
        self.error = self.keep("error", 1, self.classes)

    def step(
        self, x: Real[Tensor, "batch *features"], labels: Int[Tensor, "batch"], lr: float
    ) -> Real[Tensor, "batch"]:
        """Look at one sample, learn from the one before."""
        signals: list[Tensor] = []
        errors: list[Tensor] = []
        loss = d = x

        def forward() -> None:
            nonlocal signals, loss, d
            signals = self.look(x)
            loss, d = self.judge(signals[-1], labels)

        def backward() -> None:
            nonlocal errors
            errors = self.back(self.error, self.before)

        def join() -> None:
            with self.late(1):
                self.learn(self.before, errors, lr)
            vector.copy(self.error, d)
            for kept, signal in zip(self.before, signals, strict=False):
                vector.copy(kept, signal)

        sections([forward, backward], join)
        return loss

    def flush(self, lr: float) -> None:
        """Learn from the last sample."""
        with self.late(1):
            self.learn(self.before, self.back(self.error, self.before), lr)
        vector.clear(self.error)


class ReuseBound(LabelBound):
    """forward(i) beside backward(i - 1), which writes the gradient kept for its label again if it is near.

    The gradient is kept as its factors, [x, h_1, ..] and [d_1, ..]; ``used`` are those of this step's update.
    """

    batch: ClassVar[int | None] = 1

    def __init__(self, net: Net, rule: str, options: Speculative.Options) -> None:
        super().__init__(net, rule, options)
        widths, rows = self.widths, self.classes
        last = len(self.stages) - 1
        self.before = [self.keep(f"signal{n}", 1, width) for n, width in enumerate(widths)]
        self.error = self.keep("error", 1, rows)
        self.label = self.keep("label", 1, dtype=torch.int32)
        self.pending = self.keep("pending", 1, dtype=torch.int32)
        self.used = [self.keep(f"used{n}", 1, width) for n, width in enumerate(widths[:-1])]
        self.used_errors = [self.keep(f"used_error{n}", 1, width) for n, width in enumerate(widths[1:])]
        self.kept = [self.keep(f"kept{n}", rows, width) for n, width in enumerate(widths[:-1])]
        self.kept_errors = [
            self.keep(f"kept_error{n}", rows, width) for n, width in enumerate(widths[1 : last + 1])
        ]
        self.kept_errors.append(self.errors)

    def step(
        self, x: Real[Tensor, "batch *features"], labels: Int[Tensor, "batch"], lr: float
    ) -> Real[Tensor, "batch"]:
        """Look at one sample, learn from the one before or from one like it."""
        signals: list[Tensor] = []
        loss = d = x

        def forward() -> None:
            nonlocal signals, loss, d
            signals = self.look(x)
            loss, d = self.judge(signals[-1], labels)

        def join() -> None:
            with self.late(1):
                self.learn(self.used, self.used_errors, lr)
            vector.copy(self.error, d)
            vector.copy_labels(self.label, labels)
            vector.mark(self.pending, 1)
            for kept, signal in zip(self.before, signals, strict=True):
                vector.copy(kept, signal)

        sections([forward, lambda: when(self.pending, self._backward)], join)
        return loss

    def _backward(self) -> None:
        hits = self.near(self.label, self.error)
        tables = [
            *zip(self.used, self.kept, strict=True),
            *zip(self.used_errors, self.kept_errors, strict=True),
        ]

        def reuse() -> None:
            for used, table in tables:
                vector.copy(used, slots.take(table, self.label))

        def exact() -> None:
            found = [*self.before[:-1], *self.back(self.error, self.before)]
            for (used, table), rows in zip(tables, found, strict=True):
                vector.copy(used, rows)
                slots.put(table, self.label, hits, rows, 0)

        when(hits, reuse, exact)
        slots.tally(self.counts, self.known, self.label, hits, self.before[-1])

    def flush(self, lr: float) -> None:
        """Learn from the last sample."""
        when(self.pending, self._backward)
        with self.late(1):
            self.learn(self.used, self.used_errors, lr)
        vector.mark(self.pending, 0)
        for used in self.used_errors:
            vector.clear(used)


class SweepBound(ChainBound):
    """Every layer takes the update of the sample before in the moment that it reads the next one."""

    batch: ClassVar[int | None] = 1

    def __init__(self, net: Net, rule: str, *, parallel: bool) -> None:
        super().__init__(net, rule)
        self.parallel = parallel
        self.before = [self.keep(f"signal{n}", 1, width) for n, width in enumerate(self.widths[:-1])]
        self.errors = [self.keep(f"error{n}", 1, width) for n, width in enumerate(self.widths[1:])]

    def step(
        self, x: Real[Tensor, "batch *features"], labels: Int[Tensor, "batch"], lr: float
    ) -> Real[Tensor, "batch"]:
        """Sweep through every layer, then back; what was found is written by the next sweep."""
        signals = [x]
        for stage, before, error in zip(self.stages, self.before, self.errors, strict=True):
            with self.late(1):
                self.write(stage, before, error, lr)
            signals.append(stage.fw(signals[-1]))
        loss, d = self.judge(signals[-1], labels)
        errors = self.back(d, signals)
        for kept, found in zip([*self.before, *self.errors], [*signals[:-1], *errors], strict=True):
            vector.copy(kept, found)
        return loss

    def flush(self, lr: float) -> None:
        """Write what the last sample taught."""
        with self.late(1):
            self.learn(self.before, self.errors, lr)
        for error in self.errors:
            vector.clear(error)


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
