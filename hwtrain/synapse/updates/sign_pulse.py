"""At most one identical pulse a weight and sample, with the sign of the wanted change.

The rule of the electronic-synapse papers as their abstracts describe it (Lim et al., arXiv
1707.06381; and ISCAS 2018, doi 10.1109/ISCAS.2018.8351152: "learning rule based on a single
conductance step"); the equations themselves are not known to us. Open points, decided here: the
magnitude of the change is the probability of the one pulse,

    P(pulse) = min(1, |change| / step),

so that small steps are right on average and large ones saturate at one. Weights are written row by
row, for the lines of an array can only carry products of line signals: a row with pulses of both
signs takes two slots.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hwtrain.synapse.updates.base import Pulses, Update, Write


class SignPulse(Update):
    """P(pulse) = min(1, |change| / step)."""

    kernel = "sign-pulse"

    def outer(self, x: Float[Tensor, "in_"], d: Float[Tensor, "out"], scale: float, write: Write) -> Pulses:
        """Draws only for the crossings of live lines: a zero on either line means no pulse."""
        rows, columns = d.nonzero()[:, 0], x.nonzero()[:, 0]
        chance = torch.outer(d[rows] * (scale / write.step), x[columns]).flatten()
        cells = (rows[:, None] * x.numel() + columns).flatten()
        return self._gate(chance, cells, (d.numel(), x.numel()), write)

    def dense(self, change: Float[Tensor, "out in_"], write: Write) -> Pulses:
        """The same for a change that is given weight by weight."""
        flat = change.flatten()
        cells = flat.nonzero()[:, 0]
        return self._gate(flat[cells] / write.step, cells, (change.shape[0], change.shape[1]), write)

    def _gate(self, chance: Tensor, cells: Tensor, shape: tuple[int, int], write: Write) -> Pulses:
        """One lot a cell; cells are numbered output after output of one input, as in C."""
        out, width = shape
        place = (write.group * width + cells % width) * out + cells // width
        lot = write.draws.at(*write.when).lots(place.cpu().numpy().astype(np.uint32))
        pulsed = torch.from_numpy(lot).to(chance.device) < chance.abs()
        index, sign = cells[pulsed], chance[pulsed].sign().long()
        lines = index // width * 2 + (sign > 0)
        rows_used = int(lines.bincount().count_nonzero())
        return Pulses(index, sign, rows_used, cells.numel())
