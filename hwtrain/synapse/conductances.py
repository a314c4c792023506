"""The conductances of one array: drawn with their variation, moved by pulses, kept in bounds.

Conductance is held as a share of the card's range, 0 at g_min and 1 at g_max; a cell with other
ends than the typical one has ends other than 0 and 1. Cells that need it count from 0 S instead, so that
g_min is at g_min / g_max. Siemens appear only at the boundary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from hwtrain.arith.threefry import Point, Purpose, Streams
from hwtrain.cards import SynapseCard
from hwtrain.synapse.clockwork import Clockwork
from hwtrain.synapse.laws.base import Branch, Law

Way = Literal["up", "down"]
PORTION = 256
"""Conductances that the kernel in C works on at once."""
IMMORTAL = (1 << 31) - 1
"""The life of a cell that nothing wears out."""
_LONGEST = 1 << 16
"""Pulses after which a branch without an end (soft bounds) is taken to have arrived."""
_TINY = 0.1
"""A pulse is clipped when it moves its cell by less than this share of its first or its mid-range step,
whichever is smaller."""


@dataclass(frozen=True)
class Landed:
    """What a burst of pulses did; resets (to the start of a branch) are counted by themselves.

    ``looks``: cells whose state was read before, because their pulses depend on it.
    """

    up: int = 0
    down: int = 0
    clipped: int = 0
    resets: int = 0
    looks: int = 0

    def __add__(self, other: Landed) -> Landed:
        return Landed(
            self.up + other.up,
            self.down + other.down,
            self.clipped + other.clipped,
            self.resets + other.resets,
            self.looks + other.looks,
        )


class Conductances:
    """State and per-cell parameters of ``shape`` cells.

    Attributes:
        g: conductance as a share of the range, flat over ``shape``.
        wear: pulses that each cell has taken.
        life: pulses that a cell survives: one with as many moves no more. A cell stuck from the first has 0.
    """

    def __init__(
        self,
        card: SynapseCard,
        shape: tuple[int, ...],
        streams: Streams,
        layer: int,
        dtype: torch.dtype,
        device: torch.device,
        *,
        from_zero: bool = False,
    ) -> None:
        self.card = card
        self.floor = 1 / card.range.on_off if from_zero and card.range.on_off else 0.0
        self.width = 1 - self.floor
        self.law: Law = card.law()
        self.shape = shape
        self._size = int(torch.Size(shape).numel())
        self._branch_size = self._size // shape[0] if len(shape) > 1 else self._size
        self._like = torch.zeros((), dtype=dtype, device=device)
        self._draws = streams.stream(Purpose.VARIATION, layer)
        self._nominal = {way: self._typical(way) for way in ("up", "down")}
        self._from = {"up": card.range.up_from, "down": 1 - card.range.down_from}
        self._staircases = {way: self._staircase(way) for way in ("up", "down")}
        self.low, self.high = self._ends()
        self.up, self.down = self._branches()
        stuck, stuck_at = self._faults(streams, layer)
        self.g = self.low.expand(self._size).clone()
        self.life = torch.tensor(min(int(card.pulse.endurance or IMMORTAL), IMMORTAL), device=device)
        if stuck is not None:
            self.g = torch.where(stuck, stuck_at, self.g)
            self.life = torch.where(stuck, 0, self.life)
        self.wear = torch.zeros(self._size, dtype=torch.int32, device=device)
        self.ageing = None if card.ageing is None else Clockwork(card, self._size, streams, layer, self._like)

    def pulse(self, index: Int[Tensor, "cells"], n: Int[Tensor, "cells"], point: Point) -> Landed:
        """Land n pulses (n > 0: LTP, n < 0: LTD, never 0) on each of the cells ``index``.

        Each cell may stand in ``index`` once. The law moves the cell, variation scatters it, its
        ends stop it. Scatter inside a train that meets an end is approximate for |n| > 1.
        """
        if index.numel() == 0:
            return Landed()
        rising = n > 0
        count = n.abs()
        low, high = _pick(self.low, index), _pick(self.high, index)
        before = self.g[index]
        first, last = self._branch_ends(rising, low, high)
        width = last - first
        # A cell beyond the start of a branch that is shorter than the range jumps to it.
        travel = (torch.where(rising, before - first, last - before) / width).clamp(min=0)
        branch = self._branch(index, rising, width)
        mean = self.law.advance(travel, count, branch)
        looks = index.numel() if self.card.pulse.incremental else 0
        if looks and self.card.read.noise_rel > 0:
            # The amplitude is the one that is due at the state that was read.
            seen = self._seen(travel, rising, width, point)
            mean = travel + self.law.advance(seen, count, branch) - seen
        moved = mean.clamp(0, 1) - travel
        usual = torch.minimum(self.law.middle_step(branch), branch.step)
        clipped = moved < _TINY * count * usual
        after = self._scatter(mean, travel, count, branch, width, index, point)
        g = torch.where(rising, first + after * width, last - after * width)
        frozen = self.wear[index] >= _pick(self.life, index)
        clipped = clipped | frozen
        self.g[index] = torch.where(frozen, before, torch.minimum(torch.maximum(g, low), high))
        self.wear[index] += count.to(torch.int32)
        if self.ageing is not None:
            self.ageing.touch(index)
        up, total = int(count[rising].sum()), int(count.sum())
        return Landed(up, total - up, int(count[clipped].sum()), 0, looks)

    def age(self, steps: int) -> None:
        """Let so many training steps pass."""
        if self.ageing is not None:
            g = self.ageing.aged(self.g, steps, self.floor, self.width)
            moves = self.life > 0  # a stuck cell does not age
            self.g = torch.where(moves, torch.minimum(torch.maximum(g, self.low), self.high), self.g)

    def program(self, g: Float[Tensor, "cells"]) -> Int[Tensor, "cells"]:
        """Write every cell as near to ``g`` as whole pulses from g_min reach (write-verify).

        Returns the LTP pulses that each cell took. The verify loop is taken to be perfect: the cell
        ends on the noise-free staircase of its own law.
        """
        low, high = self.low.expand(self._size), self.high.expand(self._size)
        rising = torch.ones_like(g, dtype=torch.bool)
        first, _ = self._branch_ends(rising, low, high)
        wanted = ((g - first) / (high - first)).clamp(0, 1)
        branch = self._branch(slice(None), rising, high - first)
        pulses = self._pulses_to(wanted, branch)
        reached = torch.where(
            pulses > 0,
            self.law.advance(torch.zeros_like(wanted), pulses.clamp(min=1), branch),
            torch.zeros_like(wanted),
        ).clamp(0, 1)
        after = torch.minimum(first + reached * (high - first), high)  # rounding must not pass the end
        after = torch.where(pulses > 0, after, low)
        self.g = torch.where(self.wear >= self.life, self.g, after)
        self.wear += pulses.to(torch.int32)
        if self.ageing is not None:
            self.ageing.touch(slice(None))
        return pulses

    def reset(self, index: Int[Tensor, "cells"], *, to: Literal["low", "high"]) -> Landed:
        """Drive cells to an end of their range, by as many pulses as a typical device needs."""
        way: Way = "down" if to == "low" else "up"
        low, high = _pick(self.low, index), _pick(self.high, index)
        before = self.g[index]
        travel = (high - before if to == "low" else before - low) / (high - low)
        pulses = self._staircases[way].numel() - self.pulses_to(travel, way)
        end = low if to == "low" else high
        frozen = self.wear[index] >= _pick(self.life, index)
        self.g[index] = torch.where(frozen, before, end)
        self.wear[index] += pulses.to(torch.int32)
        if self.ageing is not None:
            self.ageing.touch(index)
        total = int(pulses.sum())
        return Landed(total if to == "high" else 0, total if to == "low" else 0, 0, index.numel())

    def pulses_to(self, travel: Float[Tensor, "cells"], direction: Way) -> Int[Tensor, "cells"]:
        """Pulses that bring a typical device nearest to this travel from the start of a branch."""
        return torch.searchsorted(self.edges(direction), travel)

    def edges(self, direction: Way) -> Float[Tensor, "pulses"]:
        """Travels half way between those of a typical device after 0, 1, 2, ... pulses."""
        stairs, skipped = self._staircases[direction], self._from[direction]
        edges = torch.cat([stairs[:1] / 2, (stairs[1:] + stairs[:-1]) / 2])
        return skipped + (1 - skipped) * edges if skipped else edges

    def elements(self, index: Int[Tensor, "cells"]) -> NDArray[np.uint32]:
        """Where cells of (branches, groups, out, in_) find their scatter.

        The kernel in C has them as (branches, groups, in_, out), each branch at a multiple of ``PORTION``.
        """
        *_, out, in_ = (1, *self.shape)
        branch = index // self._branch_size
        place = index % self._branch_size
        line, at = place // in_, place % in_
        place = (line // out * in_ + at) * out + line % out
        stride = -(-self._branch_size // PORTION) * PORTION
        elements: NDArray[np.uint32] = (branch * stride + place).cpu().numpy().astype("uint32")
        return elements

    def middle_step(self, direction: Way) -> float:
        """The step of a typical device at mid-range, in the unit of g."""
        return self._reach(direction) * float(self.law.middle_step(self._nominal[direction]))

    def mean_step(self, direction: Way) -> float:
        """The mean step of a typical device from end to end, in the unit of g.

        A law without levels, which need not arrive, takes the step at mid-range instead.
        """
        levels = self.card.response.get(f"levels_{direction}")
        return self._reach(direction) / levels if levels else self.middle_step(direction)

    def siemens(self) -> Float[Tensor, "cells"]:
        """Conductances in siemens."""
        span = self.card.range
        share = (self.g.double() - self.floor) / self.width
        return span.g_min_S + share * (span.g_max_S - span.g_min_S)

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint must keep; the rest is drawn again from the seed."""
        aged = {} if self.ageing is None else self.ageing.state()
        return {"g": self.g.clone(), "wear": self.wear.clone(), **aged}  # pulses work in place

    def restore(self, state: dict[str, Tensor]) -> None:
        """Undo of ``state``."""
        self.g = state["g"].to(self._like, copy=True)
        self.wear = state["wear"].to(self._like.device, copy=True)
        if self.ageing is not None:
            self.ageing.restore(state)

    def _reach(self, direction: Way) -> float:
        """How far a branch goes, in the unit of g."""
        return self.width * (1 - self._from[direction])

    def _branch_ends(self, rising: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """The lower and the upper end of the branch that each cell is on."""
        whole = high - low
        first = low + rising.to(whole) * self._from["up"] * whole
        return first, high - (~rising).to(whole) * self._from["down"] * whole

    def _seen(self, travel: Tensor, rising: Tensor, width: Tensor, point: Point) -> Tensor:
        """The travel that a read of the state finds, with read noise."""
        span, like = self.card.range, travel
        offset = span.g_min_S / (span.g_max_S - span.g_min_S) * self.width
        g = torch.where(rising, travel, 1 - travel) * width + offset
        noise = self._tensor(point.beside().normal(like.numel()))
        off = self.card.read.noise_rel * g * noise / width
        return (travel + torch.where(rising, off, -off)).clamp(0, 1)

    def _ends(self) -> tuple[Tensor, Tensor]:
        span = self.card.range
        low = self.floor + self.width * span.g_min_dtod * self._normal(2, span.g_min_dtod)
        high = 1 + self.width * span.g_max_dtod * self._normal(3, span.g_max_dtod)
        # A cell whose ends cross could not move at all; it keeps a tenth of the range instead.
        return low, torch.maximum(high, low + 0.1 * self.width)

    def _branches(self) -> tuple[Branch, Branch]:
        up, down = self._nominal["up"], self._nominal["down"]
        spread = self.card.variation
        if spread.label_dtod > 0:
            up = Branch(*self.law.bends("up", spread.label_dtod * self._normal(4, 1.0)))
            down = Branch(*self.law.bends("down", spread.label_dtod * self._normal(5, 1.0)))
        size = self._normal(0, spread.step_dtod)
        if spread.step_dist == "lognormal":
            size = (spread.step_dtod * size).exp()
        else:
            size = (1 + spread.step_dtod * size).clamp(min=0.01)
        bias = spread.bias_dtod * self._normal(1, spread.bias_dtod)
        return (
            Branch(self._reach("up") * up.step * size * (1 + bias.clamp(max=0)).clamp(min=0.01), up.bend),
            Branch(
                self._reach("down") * down.step * size * (1 - bias.clamp(min=0)).clamp(min=0.01), down.bend
            ),
        )

    def _faults(self, streams: Streams, layer: int) -> tuple[Tensor | None, Tensor]:
        """Which cells are stuck, and where."""
        faults = self.card.faults
        on = faults.stuck_on
        off = on + faults.stuck_off
        anywhere = off + faults.stuck_random
        if anywhere == 0:
            return None, self.low
        stream = streams.stream(Purpose.FAULTS, layer)
        lot = self._tensor(stream.at(0).uniform(self._size))
        place = self._tensor(stream.at(0, 0, 1).uniform(self._size))
        low, high = self.low.expand(self._size), self.high.expand(self._size)
        at = torch.where(lot < on, high, torch.where(lot < off, low, low + place * (high - low)))
        return lot < anywhere, at

    def _scatter(
        self,
        mean: Tensor,
        travel: Tensor,
        count: Tensor,
        branch: Branch,
        width: Tensor,
        index: Tensor,
        point: Point,
    ) -> Tensor:
        """The travel after cycle-to-cycle variation, drawn only for the cells that were pulsed."""
        spread = self.card.variation
        if self.law.draws:
            elements = self.elements(index)

            def lots(pulse: int, some: Tensor) -> Tensor:
                return self._tensor(point.steps(elements[some.cpu().numpy()], pulse))

            mean = self.law.drawn(travel, count, branch, lots)
        variance: Tensor | float = 0.0
        if spread.c2c_rel_range > 0:
            variance = variance + count * (spread.c2c_rel_range * self.width / width) ** 2
        if spread.c2c_rel_step > 0:
            variance = variance + self.law.step_variance(
                travel, count, branch, spread.c2c_rel_step, spread.c2c_kind
            )
        if not isinstance(variance, Tensor):
            return mean
        noise = self._tensor(point.scatter(self.elements(index)))
        return mean + variance.clamp(min=0).sqrt() * noise

    def _branch(self, index: Tensor | slice, rising: Tensor, width: Tensor) -> Branch:
        step = torch.where(rising, _pick(self.up.step, index), _pick(self.down.step, index))
        bend = torch.where(rising, _pick(self.up.bend, index), _pick(self.down.bend, index))
        return Branch(step / width, bend)

    def _pulses_to(self, wanted: Tensor, branch: Branch) -> Tensor:
        """Fewest pulses whose staircase passes ``wanted``, or one fewer where that is nearer."""
        zero = torch.zeros_like(wanted)
        low = zero.long()
        high = low + 1
        for _ in range(24):  # double until every staircase has passed, then bisect
            short = self.law.advance(zero, high, branch) < wanted
            if not bool(short.any()) or int(high.max()) > 1 << 20:
                break
            high = torch.where(short, 2 * high, high)
        while bool((high - low > 1).any()):
            middle = (low + high) // 2
            passed = self.law.advance(zero, middle.clamp(min=1), branch) >= wanted
            high = torch.where(passed & (high - low > 1), middle, high)
            low = torch.where(~passed & (high - low > 1), middle, low)
        above = self.law.advance(zero, high, branch).clamp(max=1)
        below = torch.where(low > 0, self.law.advance(zero, low.clamp(min=1), branch), zero)
        return torch.where(above - wanted <= wanted - below, high, low)

    def _typical(self, way: Way) -> Branch:
        step, bend = self.law.nominal(way)
        return Branch(self._like.new_tensor(step), self._like.new_tensor(bend))

    def _staircase(self, way: Way) -> Tensor:
        """Travel of a typical device after 1, 2, ... pulses, until it has arrived."""
        n = torch.arange(1, _LONGEST + 1, device=self._like.device)
        travel = self.law.advance(self._like.new_zeros(_LONGEST), n, self._nominal[way])
        arrived = int((travel < 1 - 1e-5).sum()) + 1  # the last step of a branch may fall short by rounding
        return travel[:arrived].clamp(max=1)

    def _normal(self, factor: int, spread: float) -> Tensor:
        """A standard normal a cell for this factor of variation; 0 where nothing varies."""
        if spread == 0:
            return self._like
        return self._tensor(self._draws.at(0, 0, factor).normal(self._size))

    def _tensor(self, draw: NDArray[np.float32]) -> Tensor:
        return torch.from_numpy(draw).to(self._like)


def _pick(value: Tensor, index: Tensor | slice) -> Tensor:
    return value if value.ndim == 0 else value[index]
