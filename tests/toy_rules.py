"""Rules with control flow, small enough to read: one that settles, one that speculates."""

from __future__ import annotations

import torch
from torch import Tensor

from hwtrain.direction import Outer
from hwtrain.kernels import vector
from hwtrain.kernels.base import repeat, sections, when
from hwtrain.kernels.fixed import DTYPES
from hwtrain.layers.base import Layer
from hwtrain.layers.relu import Relu
from hwtrain.layers.tanh import Tanh
from hwtrain.net import Net
from hwtrain.rules.base import Bound, Rule


class Toy(Rule):
    """A rule whose bound is given."""

    def __init__(self, bound: type[Bound]) -> None:
        self.bound = bound

    def needs(self, net: Net) -> dict[str, frozenset[str]]:
        """Every port of both weights."""
        return {f"{layer}.weight": frozenset({"read", "read_t", "write"}) for layer in net.trained()}

    def work(self, net: Net) -> Bound:
        """It."""
        return self.bound(net)


class ToyBound(Bound):
    """Dense layers ``fc1`` and ``fc2`` with an activation between; states of one batch of two."""

    batch = 2

    def __init__(self, net: Net) -> None:
        super().__init__(net)
        arrays = dict(net.arrays())
        self.first, self.second = arrays["fc1.weight"], arrays["fc2.weight"]
        self.activation: Layer = Tanh() if self.first.numbers is None else Relu()
        self._state: dict[str, Tensor] = {}

    def keep(self, name: str, *shape: int) -> Tensor:
        """A state of zeros in the format of the signals."""
        numbers = self.first.numbers
        kind = torch.float32 if numbers is None else DTYPES[numbers.signal_bits]
        self._state[name] = torch.zeros(shape, dtype=kind)
        return self._state[name]

    def live(self) -> dict[str, Tensor]:
        """The states."""
        return self._state


class SettlingBound(ToyBound):
    """Equilibrium-like: hidden units settle freely, then nudged by the error, and learn the difference."""

    def __init__(self, net: Net) -> None:
        super().__init__(net)
        hidden, out = self.first.geometry.out, self.second.geometry.out
        self.hidden = self.keep("hidden", self.batch, 1, hidden)
        self.free = self.keep("free", self.batch, 1, hidden)
        self.out = self.keep("out", self.batch, 1, out)
        self.error = self.keep("error", self.batch, 1, out)

    def step(self, x: Tensor, labels: Tensor, lr: float) -> Tensor:
        """Settle, nudge, write."""
        drive = self.first.end(self.first.read(x[:, None]))

        def settle() -> None:
            force = vector.subtract(self.out, self.error)
            back = self.second.end(self.second.read_t(force))
            vector.copy(self.hidden, self.activation.fw(vector.add(drive, back))[0])
            vector.copy(self.out, self.second.end(self.second.read(self.hidden)))

        vector.copy(self.error, vector.subtract(self.error, self.error))
        repeat(5, settle)
        vector.copy(self.free, self.hidden)
        loss, tape = self.net.loss.fw(self.out[:, 0], labels)
        vector.copy(self.error, self.net.loss.igrad(tape)[:, None])
        repeat(3, settle)
        lesson = vector.subtract(self.free, self.hidden)
        self.first.write(Outer(x[:, None], lesson).scaled(-lr / x.shape[0]))
        self.second.write(Outer(self.free, self.error).scaled(-lr / x.shape[0]))
        return loss


class SpeculatingBound(ToyBound):
    """While a sample goes through ``fc1``, ``fc2`` learns from the one before; if the output is nearly
    that of the last miss, its error is used again, and the step counts as a hit.
    """

    limit = 3.0

    def __init__(self, net: Net) -> None:
        super().__init__(net)
        hidden, out = self.first.geometry.out, self.second.geometry.out
        self.before = self.keep("before", self.batch, 1, hidden)
        self.error = self.keep("error", self.batch, 1, out)
        self.known = self.keep("known", self.batch, 1, out)
        self.hits = self.keep("hits", 1)
        self.one = self.keep("one", 1)
        self.one += 1

    def step(self, x: Tensor, labels: Tensor, lr: float) -> Tensor:
        """Two sections, then what needs both."""
        scale = -lr / x.shape[0]
        hidden = loss = x

        def look() -> None:
            nonlocal hidden
            hidden = self.activation.fw(self.first.end(self.first.read(x[:, None])))[0]

        def learn() -> None:
            self.second.write(Outer(self.before, self.error).scaled(scale))

        def join() -> None:
            nonlocal loss
            y = self.second.end(self.second.read(hidden))
            loss, tape = self.net.loss.fw(y[:, 0], labels)
            limit = self.limit * (1 if self.first.numbers is None else 2**self.first.numbers.signal_frac)

            def hit() -> None:
                vector.copy(self.hits, vector.add(self.hits, self.one))

            def miss() -> None:
                vector.copy(self.error, self.net.loss.igrad(tape)[:, None])
                vector.copy(self.known, y)

            when(vector.within(y.flatten(), self.known.flatten(), limit), hit, miss)
            vector.copy(self.before, hidden)
            d = self.second.end(self.second.read_t(self.error))
            self.first.write(Outer(x[:, None], self.activation.igrad(d, hidden)).scaled(scale))

        sections([look, learn], join)
        return loss
