"""Saturable absorber: a medium that light bleaches, on each channel by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hwtrain.cards import key
from hwtrain.physical.emulators.base import Emulator, Normal, decorrelated
from hwtrain.strict_toml import Strict

if TYPE_CHECKING:
    from torch import Tensor


class SaturableAbsorberParams(Strict):
    """How much it absorbs, and what bleaches it."""

    depth: float = key("absorption a0 of weak light that can be bleached", "weak transmission", gt=0, lt=1)
    unsaturable: float = key(
        "absorption that no light bleaches", "transmission of strong light", default=0.0, ge=0, lt=1
    )
    saturation: float = key(
        "intensity at which half of a0 is bleached, in squared units of an input", "transmission curve", gt=0
    )
    spread: float = key(
        "sd of the saturation from channel to channel, as a share",
        "curves of many channels",
        default=0.0,
        ge=0,
    )


class SaturableAbsorber(Emulator):
    """y = x sqrt(T(x^2)), T(I) = 1 - a0 / (1 + I/I_sat) - a_ns: odd in the field and growing with it."""

    Params = SaturableAbsorberParams
    disturbances = ("drift",)
    held = ("scatter",)

    def build(self, normal: Normal) -> None:
        """Draw the channels' saturations."""
        if self.in_ != self.out:
            raise ValueError(
                f"an absorber works on each channel: {self.in_} inputs make no {self.out} outputs"
            )
        if self.params.depth + self.params.unsaturable >= 1:
            raise ValueError("depth + unsaturable is not below 1: no weak light passes")
        self.scatter = normal(self.out)

    def respond(self, x: Tensor, controls: Tensor) -> Tensor:
        """Each channel by itself."""
        saturation = self.params.saturation * (self.params.spread * self.scatter).exp()
        absorbed = self.params.depth / (1 + x**2 / saturation) + self.params.unsaturable
        return x * (1 - absorbed).sqrt()

    def _drift(self, strength: float, normal: Normal) -> None:
        """At 1 nothing of the channels' own saturations is left."""
        self.scatter = decorrelated(self.scatter, normal(self.out), strength)
