"""What a loss is: the last step of a net."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from jaxtyping import Int, Real
from torch import Tensor

from hwtrain.arith.fixed import Numbers
from hwtrain.kernels import half


class Loss(ABC):
    """Outputs and labels to a loss of each sample; the tape belongs to the caller.

    Attributes:
        whole_numbers: whether it takes codes as well as floating-point numbers.
        numbers: the formats of the net's signals, told when the net is placed; None for floating point.
        scaling: how gradients are scaled where signals are halves, told likewise (kernels/half.py).
    """

    whole_numbers: ClassVar[bool] = False
    numbers: Numbers | None = None
    scaling: Tensor | None = None

    @property
    def fracs(self) -> tuple[int, int]:
        """Bits after the point of a signal and of an error; 0 where there are none."""
        return (0, 0) if self.numbers is None else (self.numbers.signal_frac, self.numbers.error_frac)

    @property
    def unit(self) -> float:
        """What a loss of 1, as ``fw`` returns it, stands for."""
        return 2.0 ** -self.fracs[0]

    def scaled(self, d: Real[Tensor, "batch classes"]) -> Real[Tensor, "batch classes"]:
        """The gradient as the net's signals take it: scaled to halves where they are such."""
        return d if self.scaling is None else half.scaled(d, self.scaling)

    @abstractmethod
    def fw(
        self, z: Real[Tensor, "batch classes"], labels: Int[Tensor, "batch"]
    ) -> tuple[Real[Tensor, "batch"], Any]:
        """Loss of each sample, and the tape."""

    @abstractmethod
    def igrad(self, tape: Any) -> Real[Tensor, "batch classes"]:
        """Gradient of each sample's own loss by its outputs (not divided by the batch), ``scaled``."""
