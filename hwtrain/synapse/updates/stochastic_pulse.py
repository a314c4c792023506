"""Stochastic pulse trains: every line sends a train of random bits, and coincidences are pulses.

Gokmen and Vlasov, "Acceleration of deep neural network training with resistive cross-point
devices", Frontiers in Neuroscience 10:333, 2016, with aihwkit's update management and BL
management. For a wanted change ``lr |x| |d|`` and a step ``dw``:

    k = lr max|x| max|d| / dw,  BL = min(ceil(k), BL_max),  A = B = sqrt(lr / (dw BL)),

    P(bit on column j) = min(1, B sqrt(dmax/xmax) |x_j|),  P(bit on row i) = min(1, A sqrt(xmax/dmax) |d_i|),

with dmax scaled by BL_max/k when k > BL_max, so that the E[pulses] = lr |x| |d| / dw without
clipping. The counts of a row share its bits: they are drawn line by line, never cell by cell.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from hwtrain.arith.threefry import Stream
from hwtrain.kernels.xbar import BL_MAX
from hwtrain.synapse.updates.base import Pulses, Update, Write


class StochasticPulse(Update):
    """n_ij = number of slots in which row i and column j both send."""

    kernel = "stochastic-pulse"

    def outer(self, x: Float[Tensor, "in_"], d: Float[Tensor, "out"], scale: float, write: Write) -> Pulses:
        """Trains on both lines; the count matrix is a product of bit matrices, so it is exact."""
        step, draws, when = write.step, write.draws, write.when
        x_most, d_most = float(x.abs().max()), float(d.abs().max())
        k = abs(scale) * x_most * d_most / step
        if k == 0:
            none = torch.zeros(0, dtype=torch.long, device=x.device)
            return Pulses(none, none, 0, 0)
        train = min(math.ceil(k), BL_MAX)
        amplitude = math.sqrt(abs(scale) / (step * train))
        balance = math.sqrt(x_most / (d_most * min(1.0, BL_MAX / k)))
        columns = self._bits(x.abs() * (amplitude / balance), train, draws, (*when, 0))
        rows = self._bits(d.abs() * (amplitude * balance), train, draws, (*when, 1))
        count = rows @ columns.T
        sign = torch.outer(d.sign(), x.sign()) * math.copysign(1, scale)
        n = (count * sign).flatten().long()
        index = n.nonzero()[:, 0]
        return Pulses(index, n[index], 2 * train, train * (x.numel() + d.numel()))

    def dense(self, change: Float[Tensor, "out in_"], write: Write) -> Pulses:
        """|change|/step rounded up or down at random (right on average), at most BL_max.

        A change that is not of rank one has no line trains; it is written row by row.
        """
        flat = change.flatten()
        cells = flat.nonzero()[:, 0]
        wanted = (flat[cells].abs() / write.step).clamp(max=BL_MAX)
        lot = write.draws.at(*write.when).uniform(cells.cpu().numpy().astype("uint32"))
        n = (wanted + torch.from_numpy(lot).to(wanted.device)).floor().long()
        n = n * flat[cells].sign().long()
        on = n != 0
        longest = int(n.abs().max()) if n.numel() else 0
        return Pulses(cells[on], n[on], 2 * longest * change.shape[0], cells.numel())

    def _bits(
        self, chance: Tensor, train: int, draws: Stream, when: tuple[int, int, int]
    ) -> Float[Tensor, "lines train"]:
        live = chance.nonzero()[:, 0]  # a line that stands at 0 never sends
        lot = torch.from_numpy(draws.at(*when).trains(live.cpu().numpy().astype("uint32"), train))
        bits = chance.new_zeros(chance.numel(), train)
        bits[live] = (lot.to(chance.device) < chance[live, None]).to(chance.dtype)
        return bits
