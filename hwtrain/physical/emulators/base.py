"""What an emulator is: a piece of physics that answers a drive, and that disturbances change.

A card is read without torch, so an emulator's module imports torch where it computes, not at its top.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from hwtrain.errors import ConfigError, nearest
from hwtrain.strict_toml import Strict

if TYPE_CHECKING:
    import torch
    from jaxtyping import Float
    from torch import Tensor

Normal = Callable[..., "Tensor"]
"""Standard normal numbers of a shape, ``normal(3, 4)``; every call gives new ones."""


class Emulator(ABC):
    """Physics with ``in_`` inputs and ``out`` outputs: y = respond(x, controls), the same every time.

    Class attributes:
        Params: the card's keys below ``physics``.
        disturbances: what can happen to it, by name; the method of that name says what a strength of 1 is.
        held: the attributes that a disturbance changes; a checkpoint keeps them.
        reciprocal: whether it can be driven from its outputs (``respond_t``).
        limits: smallest and largest value of a control.
    """

    Params: ClassVar[type[Strict]]
    disturbances: ClassVar[tuple[str, ...]] = ()
    held: ClassVar[tuple[str, ...]] = ()
    reciprocal: ClassVar[bool] = False
    limits: ClassVar[tuple[float, float]] = (float("-inf"), float("inf"))

    def __init__(self, params: Any, in_: int, out: int, normal: Normal, dtype: torch.dtype) -> None:
        import torch

        self.params, self.in_, self.out, self.dtype = params, in_, out, dtype
        self.controls = torch.zeros(0, dtype=dtype)
        self.build(normal)

    @abstractmethod
    def build(self, normal: Normal) -> None:
        """Make this specimen; ValueError says which sizes it cannot have."""

    @abstractmethod
    def respond(
        self, x: Float[Tensor, "batch in_"], controls: Float[Tensor, "controls"]
    ) -> Float[Tensor, "batch out"]:
        """The response without noise; each sample by itself. ``self.controls`` are the first controls."""

    def respond_t(
        self, d: Float[Tensor, "batch out"], controls: Float[Tensor, "controls"]
    ) -> Float[Tensor, "batch in_"]:
        """J^T d by driving it from its outputs; for reciprocal ones of which the response is linear."""
        raise NotImplementedError

    def disturb(self, kind: str, strength: float, normal: Normal) -> None:
        """Let something happen to it, ``strength`` from 0 (nothing) to 1."""
        if kind not in self.disturbances:
            raise ConfigError(f"disturb: {kind!r}: {nearest(kind, self.disturbances)}")
        if not 0 <= strength <= 1:
            raise ConfigError(f"disturb: strength = {strength}: between 0 and 1")
        getattr(self, f"_{kind.replace('-', '_')}")(strength, normal)

    def hidden(self) -> dict[str, Tensor]:
        """What disturbances have made of it, for a checkpoint."""
        import torch

        found = {name: getattr(self, name) for name in self.held}
        return {
            name: (torch.view_as_real(value) if value.is_complex() else value).clone()
            for name, value in found.items()
        }

    def restore(self, hidden: dict[str, Tensor]) -> None:
        """Undo of ``hidden``."""
        import torch

        for name in self.held:
            mine, value = getattr(self, name), hidden[name]
            value = torch.view_as_complex(value.contiguous()) if mine.is_complex() else value
            setattr(self, name, value.to(mine, copy=True))


def complex_normal(normal: Normal, *shape: int) -> Tensor:
    """Circular complex normal numbers of variance 1."""
    import torch

    return torch.complex(normal(*shape), normal(*shape)) / 2**0.5


def decorrelated(value: Tensor, fresh: Tensor, strength: float) -> Tensor:
    """c value + sqrt(1 - c^2) fresh with c = 1 - strength: still the same distribution."""
    kept = 1 - strength
    return kept * value + (1 - kept**2) ** 0.5 * fresh


def detected(field: Tensor, how: str) -> Tensor:
    """What a detector makes of a complex field: "intensity", "modulus", or "homodyne" (its real part)."""
    if how == "homodyne":
        return field.real
    intensity = field.real**2 + field.imag**2
    return intensity if how == "intensity" else (intensity + 1e-30).sqrt()
