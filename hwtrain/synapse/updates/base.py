"""What an update is: it turns a wanted weight change into pulses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

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


class Update(ABC):
    """An update; ``step`` below is the change of the weight by one pulse (typical, mid-range)."""

    @abstractmethod
    def outer(
        self,
        x: Float[Tensor, "in_"],
        d: Float[Tensor, "out"],
        scale: float,
        step: float,
        draws: Stream,
        when: tuple[int, int],
    ) -> Pulses:
        """Pulses for the rank-one change ``scale * d x^T``; weights are numbered row by row.

        ``when`` is the (step, sample) of the random address.
        """

    @abstractmethod
    def dense(
        self,
        change: Float[Tensor, "out in_"],
        step: float,
        draws: Stream,
        when: tuple[int, int],
    ) -> Pulses:
        """Pulses for a change that is given weight by weight."""
