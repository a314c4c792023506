"""What a conductance law is.

A law is written once, for both directions, in the coordinate of **travel**: the way from the end
where a branch starts (g_min for LTP, g_max for LTD) as a share of the cell's range, 0 at the start
and 1 at the far end. Clipping, scatter between cells and physical units are not its business.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from hwtrain.strict_toml import Strict

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor


@dataclass(frozen=True)
class Branch:
    """Parameters of one direction for some cells; scalars (shape ()) or one value a cell.

    ``step``: travel of the first pulse from the start of the branch; ``bend``: the law's own shape
    parameter (the curvature of the affine law; unused by the linear one).
    """

    step: Tensor
    bend: Tensor


class Law(ABC):
    """A conductance law with its parameters."""

    Params: ClassVar[type[Strict]]

    @abstractmethod
    def nominal(self, direction: Literal["up", "down"]) -> tuple[float, float]:
        """(step, bend) of the typical device."""

    @property
    def labelled(self) -> bool:
        """Whether ``bends`` can shift a nonlinearity label."""
        return False

    def bends(self, direction: Literal["up", "down"], label_shift: Tensor) -> tuple[Tensor, Tensor]:
        """(step, bend) of cells whose label is off by ``label_shift``; for labelled laws."""
        raise TypeError(f"the law {type(self).__name__} has no label")

    @abstractmethod
    def advance(
        self, travel: Float[Tensor, "cells"], n: Int[Tensor, "cells"], branch: Branch
    ) -> Float[Tensor, "cells"]:
        """Travel after n >= 1 pulses without scatter, not clipped."""

    @abstractmethod
    def step_variance(
        self,
        travel: Float[Tensor, "cells"],
        n: Int[Tensor, "cells"],
        branch: Branch,
        sigma: float,
        kind: Literal["add", "mult"],
    ) -> Float[Tensor, "cells"]:
        """Variance of the travel after n pulses whose steps each scatter by ``sigma``.

        ``add``: by ``sigma`` times the mid-range step; ``mult``: by ``sigma`` times the step taken.
        """

    @abstractmethod
    def middle_step(self, branch: Branch) -> Tensor:
        """The step at mid-range, the unit in which sizes of steps are compared."""
