"""Speculative backpropagation by hand: NumPy, one sample a step, nothing of hwtrain.

A net is a list of (W, b), W as [out][in_], with relu between. ``Oracle.step`` follows the definition of a
mode line by line; nothing is overlapped, fused or shared. The scalar functions are those of scalar_step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.differential import scalar_step

F, U = np.float32, np.uint32
Vector = NDArray[Any]
Net = list[tuple[Vector, Vector]]
Gradient = tuple[list[Vector], list[Vector]]
"""Inputs and errors of every layer."""
Pairs = list[tuple[Vector, Vector]]
"""The input and the error of a layer, sample by sample."""


def lanes(terms: Vector) -> Vector:
    """Row sums: term i into lane i mod 16, then lane l takes l + 8, l + 4, l + 2, l + 1."""
    total = np.zeros((len(terms), 16), F)
    for start in range(0, terms.shape[1], 16):
        part = terms[:, start : start + 16]
        total[:, : part.shape[1]] += part
    for half in (8, 4, 2, 1):
        total[:, :half] += total[:, half : 2 * half]
    return total[:, 0]


def words(key: tuple[int, int], n: int) -> tuple[Vector, Vector]:
    """The Threefry words of elements 0 .. n - 1 under a key."""
    keys = [U(key[0]), U(key[1]), U(key[0] ^ key[1] ^ 0x1BD11BDA)]
    with np.errstate(over="ignore"):
        a, b = np.arange(n, dtype=np.uint32) + keys[0], np.full(n, keys[1])
        for number in range(20):
            turn = (13, 15, 26, 6, 17, 29, 16, 24)[number % 8]
            a = a + b
            b = (b << U(turn) | b >> U(32 - turn)) ^ a
            if number % 4 == 3:
                s = number // 4 + 1
                a, b = a + keys[s % 3], b + keys[(s + 1) % 3] + U(s)
    return a, b


class Floats:
    """float32 in the specified order."""

    def forward(self, net: Net, place: int, x: Vector) -> Vector:
        w, b = net[place]
        return lanes(w * x) + (F(0) + b)

    def minus(self, a: Vector, b: Vector) -> Vector:
        return a - b

    def back(self, net: Net, place: int, d: Vector) -> Vector:
        total = np.zeros(net[place][0].shape[1], F)
        for row, error in zip(net[place][0], d, strict=True):
            total = total + row * error
        return total

    def update(self, net: Net, place: int, pairs: Pairs, lr: float, step: int) -> None:
        w, b = net[place]
        for x, d in pairs:
            factor = F(-lr) * d
            w += factor[:, None] * x[None, :]
            b += factor

    def apart(self, a: Vector, b: Vector) -> Any:
        return lanes(abs(a - b)[None, :])[0]

    def threshold(self, tau: float, share: float) -> tuple[Any, Any, Any]:
        """A threshold that moves: where it begins, its way up and its way down."""
        return F(tau), F(share / 64), F((1 - share) / 64)

    def missing(self, net: Net, x: Vector, before: Vector, d: Vector, lr: float) -> Vector:
        overlap = lanes((x * before)[None, :])[0] + F(1)
        return (F(-lr) * d) * overlap

    def ended(self, z: Vector) -> Vector:
        return z

    def loss(self, z: Vector, label: int) -> tuple[Any, Vector]:
        loss, d = scalar_step.Float32().loss("softmax-ce", list(z), label)
        return loss, np.array(d, F)

    def gap(self, kept: Vector, d: Vector, label: int, distance: str) -> Any:
        total = F(0)
        for k, (own, new) in enumerate(zip(kept, d, strict=True)):
            if distance == "l1":
                total = total + abs(own - new)
            else:
                p, q = own + F(k == label), new + F(k == label)
                total = total + -p * scalar_step.log(max(q, F(1e-30)))
        return total

    def near(self, gap: Any, tau: float) -> bool:
        return bool(gap < F(tau))


@dataclass
class Codes:
    """Fixed point: signal (bits, frac, error_frac), weight (bits, frac)."""

    signal: tuple[int, int, int]
    weight: tuple[int, int]
    seed: int = 0

    def forward(self, net: Net, place: int, x: Vector) -> Vector:
        """An accumulator, its point that of signal and weight together."""
        w, b = net[place]
        return w @ x + b * self.one

    @property
    def one(self) -> int:
        return min(1 << self.signal[1], (1 << (self.signal[0] - 1)) - 1)

    def ended(self, z: Vector) -> Vector:
        return self.cut(z, self.weight[1], self.signal[0])

    def minus(self, a: Vector, b: Vector) -> Vector:
        return self.cut(a - b, 0, self.signal[0])

    def back(self, net: Net, place: int, d: Vector) -> Vector:
        return self.ended(net[place][0].T @ d)

    def cut(self, values: Vector, shift: int, bits: int) -> Vector:
        """Rounded half up, saturated."""
        half = 1 << (shift - 1) if shift > 0 else 0
        kept = (values + half) >> shift if shift > 0 else values << -shift
        return np.clip(kept, -(1 << (bits - 1)), (1 << (bits - 1)) - 1)

    def rate(self, lr: float) -> int:
        return self.signal[1] + self.signal[2] - self.weight[1] + math.floor(-math.log2(lr) + 0.5)

    def update(self, net: Net, place: int, pairs: Pairs, lr: float, step: int) -> None:
        seed = self.seed % 2**32, self.seed // 2**32
        for number, array in enumerate(net[place]):
            change = np.zeros(array.shape, np.int64)
            for x, d in pairs:
                given = np.array([self.one]) if number else x
                change -= (d[:, None] * given[None, :]).reshape(array.shape)
            stream = scalar_step.threefry(seed, (7, 2 * place + number + 1))
            point = scalar_step.threefry(stream, (step % 2**32, 0))
            first, second = words(point, array.size)
            noise = first.astype(np.uint64) | second.astype(np.uint64) << np.uint64(32)
            shift = self.rate(lr)
            if shift > 0:
                low = (noise & np.uint64((1 << shift) - 1)).astype(np.int64)
                change = (change + low.reshape(array.shape)) >> shift
            limit = 1 << (self.weight[0] - 1)
            array[...] = np.clip(array + change * 2 ** max(-shift, 0), -limit, limit - 1)

    def missing(self, net: Net, x: Vector, before: Vector, d: Vector, lr: float) -> Vector:
        return self.cut(-d * (int(x @ before) + self.one**2), self.rate(lr), 31)

    def loss(self, z: Vector, label: int) -> tuple[Any, Vector]:
        judge = scalar_step.Fixed(self.signal, self.weight, "half-up", "stochastic")
        loss, d = judge.loss("softmax2", z.tolist(), label)
        return loss, np.array(d, np.int64)

    def gap(self, kept: Vector, d: Vector, label: int, distance: str) -> Any:
        """In units of 2^-20."""
        assert distance == "l1"
        return int(abs(kept - d).sum()) << (20 - self.signal[2])

    def near(self, gap: Any, tau: float) -> bool:
        return bool(gap < tau * 2.0**20)

    def apart(self, a: Vector, b: Vector) -> Any:
        return int(abs(a - b).sum())

    def threshold(self, tau: float, share: float) -> tuple[Any, Any, Any]:
        return round(tau * 2**20), round(share * 2**14), round((1 - share) * 2**14)


@dataclass
class Oracle:
    """A net and what its mode remembers; ``counts`` by label: hits, misses, cold, right hits."""

    mode: str
    net: Net
    numbers: Floats | Codes
    tau: float = 0.25
    distance: str = "l1"
    sticky: bool = False
    correct: bool = False
    warm_up: int = 0
    hit_share: float = 0.0
    prototypes: int = 1
    moving: Any = None
    kept: dict[int, Any] = field(default_factory=dict)
    counts: Vector = field(default_factory=lambda: np.zeros(0))
    pending: list[Any] = field(default_factory=list)
    trace: list[int] = field(default_factory=list)
    """1 for a hit, 0 for anything else, by step."""

    def __post_init__(self) -> None:
        self.counts = np.zeros((self.classes, 4), np.int64)

    @property
    def classes(self) -> int:
        return len(self.net[-1][1])

    def look(self, x: Vector, first: Vector | None = None) -> list[Vector]:
        """x, every hidden signal, z; ``first``: W x + b of the first layer, if known."""
        signals = [x]
        for place in range(len(self.net)):
            acc = self.numbers.forward(self.net, place, signals[-1]) if place or first is None else None
            z = first if acc is None else self.numbers.ended(acc)
            assert z is not None
            signals.append(np.where(z > 0, z, np.zeros_like(z)) if place + 1 < len(self.net) else z)
        return signals

    def back(self, signals: list[Vector], d: Vector) -> list[Vector]:
        errors = [d]
        for place in range(len(self.net) - 1, 0, -1):
            below = self.numbers.back(self.net, place, errors[0])
            errors.insert(0, np.where(signals[place] > 0, below, np.zeros_like(below)))
        return errors

    def write(self, gradient: Gradient, lr: float, step: int, places: range | None = None) -> None:
        for place in places or range(len(self.net)):
            self.numbers.update(self.net, place, [(gradient[0][place], gradient[1][place])], lr, step)

    def slot(self, label: int, x: Vector) -> int:
        """The one of the label's slots that a sample is held to, before it is known what comes out."""
        own = [label + self.classes * k for k in range(self.prototypes)]
        empty = [slot for slot in own if slot not in self.kept]
        if empty or self.prototypes == 1:
            return (empty or own)[0]
        return min(own, key=lambda slot: self.numbers.apart(self.kept[slot]["x"], x))

    def speculate(self, label: int, slot: int, d: Vector, z: Vector) -> bool:
        """Whether what is kept in the slot is near; counts it."""
        known, hit = slot in self.kept, False
        if known:
            gap = self.numbers.gap(self.kept[slot]["d"], d, label, self.distance)
            if not self.hit_share:
                hit = self.numbers.near(gap, self.tau)
            else:
                first, up, down = self.numbers.threshold(self.tau, self.hit_share)
                now = first if self.moving is None else self.moving
                hit = bool(gap < now)
                self.moving = max(now - down if hit else now + up, 0)
        hit = hit and len(self.trace) >= self.warm_up
        self.counts[label, 0 if hit else 1 if known else 2] += 1
        self.counts[label, 3] += hit and int(np.argmax(z)) == label
        self.trace.append(int(hit))
        return hit

    def step(self, x: Vector, label: int, lr: float, step: int) -> Any:
        """Learn from one sample as the mode says; the loss."""
        if self.mode == "lookahead":
            return self._lookahead(x, label, lr, step)
        if self.mode == "speculative":
            return self.batch([x], [label], lr, step)[0]
        signals = self.look(x)
        loss, d = self.numbers.loss(signals[-1], label)
        match self.mode:
            case "sequential":
                self.write((signals, self.back(signals, d)), lr, step)
            case "delayed" | "delayed-reuse":
                gradient = self._late()
                if gradient is not None:
                    self.write(gradient, lr, step - 1)
                self.pending = [signals, d, label]
        return loss

    def batch(self, xs: list[Vector], labels: list[int], lr: float, step: int) -> list[Any]:
        """Speculate on samples that are all held to what was kept before them; their losses."""
        losses, gradients, guesses, missed, kept = [], [], [], [], {}
        for x, label in zip(xs, labels, strict=True):
            slot, signals = self.slot(label, x), self.look(x)
            loss, d = self.numbers.loss(signals[-1], label)
            hit = self.speculate(label, slot, d, signals[-1])
            none = {"d": np.zeros_like(d), "h": [np.zeros_like(h) for h in signals[1:-1]]}
            own = self.kept.get(slot, none)
            used = [x, *own["h"]]
            exact, guess = (signals, self.back(signals, d)), (used, self.back(used, own["d"]))
            missed += [] if hit else [(exact, guess)]
            losses.append(loss)
            guesses.append(guess)
            gradients.append(guess if hit else exact)
            if not (self.sticky and hit):
                kept[slot] = {"d": d, "h": signals[1:-1], "x": x}
        rate = lr / len(xs)
        for place in range(len(self.net)):
            pairs = [(g[0][place], g[1][place]) for g in (guesses if self.correct else gradients)]
            self.numbers.update(self.net, place, pairs, rate, step)
        for exact, guess in missed if self.correct else ():  # the first layer in one change, others in two
            first = self.numbers.minus(exact[1][0], guess[1][0])
            self.write((exact[0], [first]), rate, step, range(1))
            self.write(exact, rate, step, range(1, len(self.net)))
            self.write((guess[0], [-error for error in guess[1]]), rate, step, range(1, len(self.net)))
        self.kept |= kept
        return losses

    def _late(self) -> Gradient | None:
        """What is to be written for the sample before, by the weights as they are."""
        if not self.pending:
            return None
        signals, d, label = self.pending
        if self.mode == "delayed":
            return signals, self.back(signals, d)
        slot = self.slot(label, signals[0])
        if not self.speculate(label, slot, d, signals[-1]):
            gradient = signals, self.back(signals, d)
            self.kept[slot] = {"d": d, "gradient": gradient, "x": signals[0]}
        return self.kept[slot]["gradient"]

    def _lookahead(self, x: Vector | None, label: int, lr: float, step: int) -> Any:
        """Sample i comes in; i - 1 is done but for its first layer, which i - 2 writes now."""
        older, newer = self.pending or (None, None)
        z = None
        if older is not None:
            self.numbers.update(self.net, 0, [older], lr, step - 2)
        if x is not None:
            z = self.numbers.forward(self.net, 0, x)
        loss: Any = 0
        found = None
        if newer is not None:
            before, first, of = newer
            signals = self.look(before, first)
            loss, d = self.numbers.loss(signals[-1], of)
            errors = self.back(signals, d)
            self.write((signals, errors), lr, step - 1, range(1, len(self.net)))
            found = before, errors[0]
            if z is not None and x is not None:
                z = z + self.numbers.missing(self.net, x, before, errors[0], lr)
        self.pending = [found, None if z is None else (x, self.numbers.ended(z), label)]
        return loss

    def flush(self, lr: float, step: int) -> Any:
        """Learn what was put off; a loss still owed."""
        loss: Any = 0
        if self.mode == "lookahead":
            loss = self._lookahead(None, 0, lr, step)
            if self.pending[0] is not None:
                self.numbers.update(self.net, 0, [self.pending[0]], lr, step - 1)
        elif self.mode.startswith("delayed"):
            gradient = self._late()
            if gradient is not None:
                self.write(gradient, lr, step - 1)
        self.pending = []
        return loss
