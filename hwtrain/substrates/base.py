"""What a substrate is, and the ports of the arrays that live on it.

Ports speak weight units; whatever a substrate holds inside (conductances, codes) never leaves it.
A public port counts in the ledger and hands over to the private method that a substrate writes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Int, Real
from torch import Tensor

from hwtrain.arith.fixed import Numbers
from hwtrain.arith.threefry import Streams
from hwtrain.cards import Card, SynapseCard
from hwtrain.direction import Dense, Direction, Outer, Transform
from hwtrain.errors import ConfigError, IncompatibleRule
from hwtrain.kernels import bias
from hwtrain.ledger import Ledger
from hwtrain.registry import lookup

PORTS = ("read", "read_t", "write", "propose", "perturb", "load", "peek", "model", "taps", "clamp")


@dataclass(frozen=True)
class Options:
    """How synapses are used; the same for every array of a net.

    ``weight_range``: largest weight in units of the array's ``std``. ``None`` for cell and refresh
    takes what the card advises.
    """

    update: str = "sign-pulse"
    cell: str | None = None
    refresh: str | None = None
    refresh_every: int = 1000
    weight_range: float = 6.0
    conductances: int = 4


@dataclass(frozen=True)
class Trial:
    """What all arrays of one trial share."""

    streams: Streams
    ledger: Ledger = field(default_factory=Ledger)
    dtype: torch.dtype = torch.float32
    torch_device: torch.device = field(default_factory=lambda: torch.device("cpu"))


@dataclass(frozen=True)
class Geometry:
    """Shape of an array: ``in_`` in C order of (channel, kernel_h, kernel_w).

    ``std`` is the usual standard deviation of its weights; a substrate with a limited range lays
    the range about it. ``number`` is the array's place in the net, which addresses its randomness.
    """

    path: str
    number: int
    groups: int
    out: int
    in_: int
    std: float

    @property
    def shape(self) -> tuple[int, int, int]:
        """(groups, out, in_)."""
        return self.groups, self.out, self.in_


class Array(ABC):
    """Weights on a substrate.

    Class attributes:
        ports: the ports that it has (of physics each specimen has its own).
        takes: the kinds of direction that ``write`` takes.
    """

    ports: frozenset[str]
    takes: ClassVar[tuple[type, ...]] = (Outer, Dense)
    synapse: SynapseCard | None = None
    """The card of the synapses that the array is made of, where it is."""
    branches: int = 1
    """Conductances that a weight of it has."""
    numbers: Numbers | None = None
    """The number formats of its signals; None where they are floating-point numbers."""
    linear: ClassVar[bool] = False
    """Whether a write adds to what is read the product of its own direction, but for rounding."""
    turn: Tensor | None = None
    """Which of two copies of the weights is current, where ``shadow`` has made a second one."""
    scaling: Tensor | None = None
    """Where signals are halves: how their gradients are scaled, one tensor for all arrays of a net."""
    frac: int = 0
    """How many bits after the point what is read has more than a signal."""

    def __init__(self, geometry: Geometry, trial: Trial) -> None:
        self.geometry = geometry
        self.trial = trial
        self.transforms: list[Transform] = []

    def read(self, x: Real[Tensor, "batch groups in_"]) -> Real[Tensor, "batch groups out"]:
        """W x by columns."""
        self._count_macs("read", x.shape[0])
        return self._read(x)

    def read_t(
        self, d: Real[Tensor, "batch groups out"], at: Real[Tensor, "batch groups in_"] | None = None
    ) -> Real[Tensor, "batch groups in_"]:
        """W^T d by rows; of physics J^T d, ``at`` the inputs that it saw."""
        self._need("read_t")
        self._count_macs("read_t", d.shape[0])
        return self._read_t(d)

    def write(self, direction: Direction) -> None:
        """Pass the direction through the transforms and add it to the weights."""
        self._need("write")
        for transform in self.transforms:
            if not isinstance(direction, Outer | Dense):
                raise IncompatibleRule(
                    f"layer {self.geometry.path}: momentum and clip take no "
                    f"{type(direction).__name__} direction: leave them out"
                )
            direction = transform(direction)
        if not isinstance(direction, self.takes):
            raise IncompatibleRule(
                f"layer {self.geometry.path}: port write takes no {type(direction).__name__} "
                f"direction: use a rule that makes {' or '.join(t.__name__ for t in self.takes)}"
            )
        self.trial.ledger.add(self.geometry.path, "write", writes=1)
        self._write(direction)

    def shadow(self, turn: Int[Tensor, "1"]) -> None:
        """Keep two copies of the weights from now on; the caller flips ``turn`` to change their places."""
        self._need("propose")
        self.turn = turn
        self._shadow()

    def propose(self, direction: Direction) -> None:
        """Make the other copy what ``write`` would make of the current one, which stays as it is."""
        assert self.turn is not None
        self.trial.ledger.add(self.geometry.path, "propose", writes=1)
        self._propose(direction)

    def perturb(self, seed: int, eps: float) -> None:
        """Read ``W + eps z(seed)`` from now on, z standard normal; ``eps = 0`` undoes it exactly."""
        self._need("perturb")
        self.trial.ledger.add(self.geometry.path, "perturb", perturbs=1)
        self._perturb(seed, eps)

    def end(self, acc: Real[Tensor, "*shape"]) -> Real[Tensor, "*shape"]:
        """The signal that something read stands for: the end of an accumulator."""
        return acc

    def ones(self, like: Real[Tensor, "n *rest"]) -> Real[Tensor, "n 1 1"]:
        """The input of a bias for as many samples as ``like`` has."""
        return bias.ones(like, 1.0 if self.numbers is None else self.numbers.one)

    def load(self, weights: Real[Tensor, "groups out in_"]) -> None:
        """Write these weights as well as the substrate can, and count what it took."""
        self._need("load")
        self.trial.ledger.add(self.geometry.path, "load", loads=1)
        self._load(weights.to(dtype=self.trial.dtype, device=self.trial.torch_device))

    @abstractmethod
    def peek(self) -> Real[Tensor, "groups out in_"]:
        """The weights as they are, for diagnostics only: no hardware can do this for free."""

    def parts(self) -> dict[str, Array]:
        """Further arrays that this one brings along, by name; counted and saved like any other."""
        return {}

    def siemens(self) -> Real[Tensor, "cells"] | None:
        """The conductances, for diagnostics only; None where there are none."""
        return None

    def wear(self) -> int | None:
        """Pulses that the most used cell has taken; None where nobody knows."""
        return 0

    def rewind(self) -> None:  # noqa: B027 - most substrates draw nothing as they read
        """Begin a new look: noise of evaluation depends on step and sample, not on earlier looks."""

    def live(self) -> dict[str, Tensor]:
        """The tensors that kernels work on, by name; what a program has as buffers."""
        raise IncompatibleRule(
            f"layer {self.geometry.path}: {type(self).__name__} has no kernels in C yet: use --engine torch, "
            "or a device of kind ideal, fixed or shift"
        )

    def settle(self) -> dict[str, dict[str, int]]:
        """Take over what a program left in ``live``; counts by port that only it knows."""
        return {}

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """What a checkpoint must keep, without the transforms."""

    @abstractmethod
    def restore(self, state: dict[str, Tensor]) -> None:
        """Undo of ``state``."""

    @abstractmethod
    def _read(self, x: Real[Tensor, "batch groups in_"]) -> Real[Tensor, "batch groups out"]: ...

    @abstractmethod
    def _load(self, weights: Real[Tensor, "groups out in_"]) -> None: ...

    def _read_t(self, d: Real[Tensor, "batch groups out"]) -> Real[Tensor, "batch groups in_"]:
        raise NotImplementedError

    def _write(self, direction: Direction) -> None:
        raise NotImplementedError

    def _shadow(self) -> None:
        raise NotImplementedError

    def _propose(self, direction: Direction) -> None:
        raise NotImplementedError

    def _perturb(self, seed: int, eps: float) -> None:
        raise NotImplementedError

    def _need(self, port: str) -> None:
        if port not in self.ports:
            raise missing_port(self, port, type(self).__name__)

    def _count_macs(self, port: str, batch: int) -> None:
        shape = self.geometry
        macs = batch * shape.groups * shape.out * shape.in_
        self.trial.ledger.add(shape.path, port, reads=batch, macs=macs)


class Substrate(ABC):
    """Makes arrays that live on one device card."""

    def __init__(self, card: Card, options: Options) -> None:
        self.card = card
        self.options = options
        self.digital: Substrate | None = None
        """Where the biases beside it live; None for plain numbers."""

    @abstractmethod
    def array(self, geometry: Geometry, trial: Trial) -> Array:
        """An array of this shape, its weights not yet loaded."""


def missing_port(array: Array, port: str, asker: str) -> IncompatibleRule:
    """The error for a port that an array lacks."""
    have = ", ".join(name for name in PORTS if name in array.ports)
    return IncompatibleRule(
        f"layer {array.geometry.path}: {asker} needs port {port}, which its substrate lacks "
        f"(it has {have}): choose another rule, or another --device for this layer"
    )


def substrate_of(card: Card, options: Options) -> Substrate:
    """The substrate that a card is for.

    Raises:
        ConfigError: the card is of a whole microcontroller or FPGA, on which nothing is trained here.
    """
    if card.kind == "mcu":
        raise ConfigError(
            f"{card.device.title}: a microcontroller is planned for, not trained on: use --device fp16, "
            "and hwtrain mcu plan --target"
        )
    if card.kind == "fpga":
        raise ConfigError(
            f"{card.device.title}: an FPGA is planned for, not trained on: use --device shift4, and hwtrain "
            "fpga plan --target"
        )
    made: Substrate = lookup("substrates", {"synapse": "crossbar"}.get(card.kind, card.kind))(card, options)
    return made
