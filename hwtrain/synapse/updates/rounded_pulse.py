"""The wanted change rounded to whole pulses, written row by row: NeuroSim's online training.

    n = sign(change) floor(|change| / step + 1/2),

with the mean step, (w_max - w_min) / levels (Chen, Peng and Yu, IEEE TCAD 37(12):3067, 2018; the rounding
is that of MLP+NeuroSim V3.0). A change below half a step is lost: nothing is drawn.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from hwtrain.synapse.updates.base import Pulses, Update, Write, counted


class RoundedPulse(Update):
    """n = round(change / write.step), half away from 0."""

    unit = "mean"
    kernel = "rounded-pulse"

    def outer(self, x: Float[Tensor, "in_"], d: Float[Tensor, "out"], scale: float, write: Write) -> Pulses:
        """Of the rank-one change."""
        return _rounded(torch.outer(d * (scale / write.step), x))

    def dense(self, change: Float[Tensor, "out in_"], write: Write) -> Pulses:
        """Weight by weight."""
        return _rounded(change / write.step)


def _rounded(steps: Float[Tensor, "out in_"]) -> Pulses:
    return counted(((steps.abs() + 0.5).floor() * steps.sign()).long())
