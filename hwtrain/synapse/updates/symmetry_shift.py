"""Symmetry-point shifting: stochastic pulses on weights that are counted from their symmetry points.

Before the first weights are loaded every weight gets pairs of one pulse up and one down, which bring it
to where both are equally large; what stands there is read as 0 from then on (the idea: Kim et al.,
"Zero-shifting technique for deep neural network training on resistive cross-point arrays", arXiv
1907.10228). As many pairs as the longer branch has pulses, at most 500, is our choice. The pulses scatter,
wear and are counted.
"""

from __future__ import annotations

from hwtrain.synapse.updates.stochastic_pulse import StochasticPulse


class SymmetryShift(StochasticPulse):
    """``stochastic-pulse`` on shifted weights."""

    shifts = True
