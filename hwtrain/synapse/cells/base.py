"""What a cell is: how conductances make a signed weight, and which of them a weight pulse goes to.

A weight is held in units of its largest value: -1 to 1. Branch 0 adds to it, branch 1 (of a pair)
subtracts from it. The conductances of a branch lie one after another.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, Literal

from jaxtyping import Float, Int
from torch import Tensor

from hwtrain.arith.threefry import Point
from hwtrain.synapse.conductances import Conductances, Landed

Refresh = Literal["threshold", "periodic", "full-init", "none"]


class Cell(ABC):
    """One way to make a weight of conductances.

    Class attributes:
        branches: conductances that a weight has, where ``count`` says nothing else.
        slope: change of the weight with one conductance (as a share of the range).
        polarities: the pulses that it uses.
        gain: change of the weight by one pulse, in steps of one conductance (of a range of 1).
        refreshes: whether its conductances only ever move one way and must be rewritten.
        from_zero: whether conductance is counted from 0 S to g_max instead of from g_min.
    """

    branches: int
    slope: float
    polarities: ClassVar[tuple[Literal["up", "down"], ...]] = ("up", "down")
    gain: float
    refreshes: ClassVar[bool] = False
    from_zero: ClassVar[bool] = False

    def __init__(self, cells: Conductances, refresh: Refresh, refresh_every: int) -> None:
        self.cells = cells
        self.weights = cells.g.numel() // self.branches
        self.refresh = refresh
        self.refresh_every = refresh_every

    @classmethod
    def count(cls, conductances: int) -> int:
        """Conductances of a weight where the settings ask for so many; most cells have their own number."""
        return cls.branches

    @abstractmethod
    def weight(self, g: Float[Tensor, "branches *weights"]) -> Float[Tensor, "*weights"]:
        """The weight that these conductances make."""

    @abstractmethod
    def place(self, weight: Float[Tensor, "*weights"]) -> Float[Tensor, "branches *weights"]:
        """Conductances that make this weight; the inverse of ``weight``."""

    @abstractmethod
    def spread(
        self, index: Int[Tensor, "weights"], n: Int[Tensor, "weights"]
    ) -> tuple[Int[Tensor, "cells"], Int[Tensor, "cells"]]:
        """The conductances that n weight pulses (n != 0) go to, and their pulses (> 0: LTP)."""

    def land(
        self,
        index: Int[Tensor, "weights"],
        n: Int[Tensor, "weights"],
        draw: Callable[[], Point],
    ) -> Landed:
        """Land n weight pulses (never 0) on the weights ``index``; ``draw`` gives fresh scatter."""
        return self.cells.pulse(*self.spread(index, n), draw())

    def step(self, unit: Literal["middle", "mean"] = "middle") -> float:
        """Change of the weight by one pulse on a typical device, at mid-range or mean from end to end."""
        size = self.cells.middle_step if unit == "middle" else self.cells.mean_step
        steps = [size(direction) for direction in self.polarities]
        return self.gain * sum(steps) / len(steps)

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint must keep besides the conductances."""
        return {}

    def restore(self, state: dict[str, Tensor]) -> None:  # noqa: B027 - most keep nothing
        """Undo of ``state``."""
