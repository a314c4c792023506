"""What time does to the conductances of an array while a net learns: they leak, and they drift.

    leak    g -> rest + (g - rest) (1 - 1/lifetime)^steps      (aihwkit's lifetime, of one mini-batch a step)
    drift   G -> G ((t + t_0) / (s + t_0))^-nu, s and t the times since the last pulse before and after,
            nu = |mean(G / g_max) + sd(G / g_max) xi| of [retention], xi a standard normal of each cell

Only the step of the last pulse is kept of each cell; factors of time multiply, so that many steps at once
are the same as one after another, but for the change of nu with G.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from hwtrain.arith.threefry import Purpose, Streams
from hwtrain.cards import SynapseCard


class Clockwork:
    """The age of ``size`` cells."""

    def __init__(self, card: SynapseCard, size: int, streams: Streams, layer: int, like: Tensor) -> None:
        assert card.ageing is not None
        self.card, self.says = card, card.ageing
        self.now = 0
        self.touched = torch.zeros(size, dtype=torch.int64, device=like.device)
        draws = streams.stream(Purpose.AGEING, layer)

        def normal(factor: int) -> Tensor:
            return torch.from_numpy(draws.at(0, 0, factor).normal(size)).to(like)

        life = self.says.lifetime_steps
        self.keep: Tensor | None = None
        if life is not None:
            spread = (
                1 + self.says.lifetime_dtod * normal(0)
                if self.says.lifetime_dtod > 0
                else torch.ones_like(like)
            )
            self.keep = 1 - 1 / (life * spread).clamp(min=2)
        self.xi = normal(1) if self.says.step_s is not None else like

    def touch(self, index: Int[Tensor, "cells"] | slice) -> None:
        """These cells have just been pulsed."""
        self.touched[index] = self.now

    def aged(self, g: Float[Tensor, "size"], steps: int, floor: float, width: float) -> Float[Tensor, "size"]:
        """What becomes of g, which lies from ``floor`` to ``floor + width``, in so many steps."""
        before, self.now = self.now, self.now + steps
        if self.keep is not None:
            rest = floor + self.says.rest * width
            g = rest + (g - rest) * self.keep**steps
        if self.says.step_s is None:
            return g
        kept, span = self.card.retention, self.card.range
        assert kept is not None
        siemens = span.g_min_S + (g - floor) / width * (span.g_max_S - span.g_min_S)
        mean, sd = kept.exponents((siemens / span.g_max_S).clamp(min=1e-7).cpu().numpy().astype(np.float64))
        nu = abs(torch.from_numpy(mean).to(g) + torch.from_numpy(sd).to(g) * self.xi)
        age = (before - self.touched) * self.says.step_s + kept.t0_s
        factor = ((age + steps * self.says.step_s) / age).to(g) ** -nu
        return floor + (siemens * factor - span.g_min_S) / (span.g_max_S - span.g_min_S) * width

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint must keep."""
        return {"touched": self.touched.clone(), "now": torch.tensor([self.now])}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Undo of ``state``."""
        self.touched = state["touched"].to(self.touched.device, copy=True)
        self.now = int(state["now"])
