"""What a loss is: the last step of a net."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor


class Loss(ABC):
    """Outputs and labels to a loss of each sample; the tape belongs to the caller."""

    @abstractmethod
    def fw(
        self, z: Float[Tensor, "batch classes"], labels: Int[Tensor, "batch"]
    ) -> tuple[Float[Tensor, "batch"], Any]:
        """Loss of each sample, and the tape."""

    @abstractmethod
    def igrad(self, tape: Any) -> Float[Tensor, "batch classes"]:
        """Gradient of each sample's own loss by its outputs (not divided by the batch)."""
