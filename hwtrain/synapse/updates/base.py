"""What an update is: it turns a wanted weight change into pulses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hwtrain.arith.threefry import Stream


@dataclass(frozen=True)
class Pulses:
    """n weight pulses (never 0) for the weights ``index``, and what it took to send them.

    ``slots``: pulse times on the lines, all cells of an array in parallel where the update allows
    it; ``randoms``: random words drawn.
    """

    index: Int[Tensor, "weights"]
    n: Int[Tensor, "weights"]
    slots: int
    randoms: int


RankOne = tuple[Float[Tensor, "in_"], Float[Tensor, "out"], float]
"""x, d and a scale: the change ``scale * d x^T``."""


@runtime_checkable
class Tile(Protocol):
    """An array as an update sees it: its reads and writes are counted like any others."""

    def read(self, x: Float[Tensor, "batch groups in_"]) -> Float[Tensor, "batch groups out"]:
        """W x by columns."""

    def outer(
        self,
        x: Float[Tensor, "in_"],
        d: Float[Tensor, "out"],
        scale: float,
        group: int,
        when: tuple[int, int],
    ) -> None:
        """Write ``scale * d x^T`` to one group."""

    def dense(self, change: Float[Tensor, "out in_"], group: int, when: tuple[int, int]) -> None:
        """Write a change that is given weight by weight to one group."""


@dataclass(frozen=True)
class Write:
    """One write to a group of an array.

    ``step``: change of the weight by one pulse of a typical device; ``when``: the (step, sample) of the
    random address in ``draws``.
    """

    step: float
    draws: Stream
    when: tuple[int, int]
    group: int = 0


@dataclass(frozen=True)
class Site:
    """Where an update works.

    ``own``: the array that its pulses land on; ``another(name, shifted)``: one more array of the same
    device and shape, written by stochastic-pulse, at 0, ``shifted`` to its symmetry points or not;
    ``like``: a number of the arrays' type and device.
    """

    shape: tuple[int, int, int]
    own: Tile
    another: Callable[[str, bool], Tile]
    like: Tensor


class Update(ABC):
    """An update.

    Class attributes:
        unit: which step that is, the one at mid-range or the mean one from end to end.
        shifts: whether weights are counted from the symmetry points of their cells.
        kernel: how C calls the update whose pulses land; None where it knows none.
    """

    unit: ClassVar[Literal["middle", "mean"]] = "middle"
    shifts: ClassVar[bool] = False
    kernel: str | None = None

    def place(self, site: Site) -> None:  # noqa: B027 - most updates need nothing but the change
        """Ask for further arrays, allot digital memory; called once, before the first weights."""

    def through(
        self, x: Float[Tensor, "in_"], d: Float[Tensor, "out"], scale: float, write: Write
    ) -> RankOne:
        """Of the rank-one change that is wanted, what the weights' own pulses are for; by kernels alone."""
        return x, d, scale

    def outer(self, x: Float[Tensor, "in_"], d: Float[Tensor, "out"], scale: float, write: Write) -> Pulses:
        """Pulses for a rank-one change that has come through; weights are numbered row by row."""
        return self.dense(torch.outer(d * scale, x), write)

    @abstractmethod
    def dense(self, change: Float[Tensor, "out in_"], write: Write) -> Pulses:
        """Pulses for a change that is given weight by weight."""

    def again(self, write: Write) -> Pulses | None:
        """Pulses to send after those just landed; None when the write is over."""
        return None

    def live(self) -> dict[str, Tensor]:
        """Digital memory, on which kernels work."""
        return {}

    def state(self) -> dict[str, Tensor]:
        """The same, for a checkpoint to keep."""
        return {name: value.clone() for name, value in self.live().items()}

    def restore(self, state: dict[str, Tensor]) -> None:  # noqa: B027 - most keep nothing
        """Undo of ``state``."""


def counted(n: Int[Tensor, "out in_"], randoms: int = 0) -> Pulses:
    """Pulses of these counts, written row by row: a row takes as many slots as its longest trains."""
    up, down = n.clamp(min=0).amax(1), (-n).clamp(min=0).amax(1)
    flat = n.flatten()
    index = flat.nonzero()[:, 0]
    return Pulses(index, flat[index], int((up + down).sum()), randoms)
