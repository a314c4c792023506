"""A crossbar of electronic synapses: reads through converters and noise, writes by pulses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hwtrain.arith.threefry import Point, Purpose, Stream
from hwtrain.cards import SynapseCard
from hwtrain.direction import Dense, Direction, Outer
from hwtrain.errors import IncompatibleRule
from hwtrain.kernels import convert, dense, vector
from hwtrain.kernels.base import is_recording
from hwtrain.registry import lookup
from hwtrain.substrates._crossbar_in_c import ForC
from hwtrain.substrates.base import Array, Geometry, Options, Substrate, Trial
from hwtrain.synapse.cells.base import Cell
from hwtrain.synapse.conductances import Conductances, Landed
from hwtrain.synapse.lines import seeming, tiles
from hwtrain.synapse.updates.base import Pulses, Site, Update, Write

_PAIRS = 500
"""Most pairs of pulses that look for the symmetry points."""
_BEFORE = 0xFFFFFFFF
"""The step of random addresses that belongs to what comes before training."""


class CrossbarArray(Array):
    """Weights as conductances; one array of lines a group, and whatever further arrays its update needs.

    The largest weight is ``w_max = weight_range * std``. Read noise is independent from cell to
    cell, so a read needs one normal an output, of variance ``sum (noise G x)^2``: the same
    distribution as one normal a cell.
    """

    ports = frozenset({"read", "read_t", "write", "load", "peek"})
    takes = (Outer, Dense)

    def __init__(self, card: SynapseCard, options: Options, geometry: Geometry, trial: Trial) -> None:
        super().__init__(geometry, trial)
        self.synapse = self._card = card
        self.options = options
        self.w_max = options.weight_range * geometry.std
        cell: type[Cell] = lookup("cells", options.cell or card.cell.kind)
        if cell.from_zero and card.range.on_off is None:
            raise IncompatibleRule(
                f"layer {geometry.path}: the cell {options.cell or card.cell.kind} needs the on/off ratio, "
                "which this card does not know: choose --cell single"
            )
        if not card.response:
            raise IncompatibleRule(
                f"layer {geometry.path}: the card of {card.device.title} knows writing and reading alone, no "
                "pulses: choose another --device, or use the card with hwtrain deploy"
            )
        update: type[Update] = lookup("updates", options.update)
        self.update = update()
        self.cells = Conductances(
            card,
            (cell.count(options.conductances), *geometry.shape),
            trial.streams,
            geometry.number,
            trial.dtype,
            trial.torch_device,
            from_zero=cell.from_zero,
        )
        self.cell = cell(self.cells, options.refresh or card.cell.refresh, options.refresh_every)  # type: ignore[arg-type]
        self.branches = self.cell.branches
        self.step = self.cell.step(self.update.unit) * self.w_max
        self._streams = {purpose: trial.streams.stream(purpose, geometry.number) for purpose in Purpose}
        self._passes: tuple[object, int] = (None, 0)
        self._zero: Tensor | None = None
        self._unit = self._weight_of_cells()
        self._seeming: Tensor | None = None
        self._for_c = ForC(self, options.cell or card.cell.kind)
        self._parts: dict[str, Array] = {}
        self.update.place(Site(geometry.shape, self, self._another, self.cells.g.new_zeros(())))

    def parts(self) -> dict[str, Array]:
        """The further arrays of the update."""
        return self._parts

    def live(self) -> dict[str, Tensor]:
        """State, counts and tables as the kernels in C have them, and the update's memory."""
        return {**self._for_c.filled(), **{f"update.{name}": v for name, v in self.update.live().items()}}

    def settle(self) -> dict[str, dict[str, int]]:
        """Take conductances and wear back from C; what was counted since the last time, by port."""
        counts = self._for_c.settle()
        self._look_anew()
        return counts

    def peek(self) -> Float[Tensor, "groups out in_"]:
        """The weights that the conductances make."""
        return self._unit * self.w_max

    def siemens(self) -> Float[Tensor, "cells"]:
        """The conductances, for diagnostics only."""
        return self.cells.siemens()

    def wear(self) -> int:
        """Pulses that the most used cell has taken."""
        return int(self.cells.wear.max())

    def rewind(self) -> None:
        """Reads are numbered from 0 again."""
        self._passes = (None, 0)

    def state(self) -> dict[str, Tensor]:
        """Conductances, wear, symmetry points, the cell's own state and the update's."""
        shift = {} if self._zero is None else {"zero": self._zero.clone()}
        update = {f"update.{name}": value for name, value in self.update.state().items()}
        return {**self.cells.state(), **shift, **self.cell.state(), **update}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Undo of ``state``."""
        self.cells.restore(state)
        self.cell.restore(state)
        if "zero" in state:
            self._zero = state["zero"].to(self._unit, copy=True)
        start = "update."
        self.update.restore(
            {name.removeprefix(start): value for name, value in state.items() if name.startswith(start)}
        )
        self._look_anew()

    def outer(
        self,
        x: Float[Tensor, "in_"],
        d: Float[Tensor, "out"],
        scale: float,
        group: int,
        when: tuple[int, int],
    ) -> None:
        """Write ``scale * d x^T`` to a group; ``when`` is the (step, sample) of the random address."""
        self._count_first(when)
        self._outer(x, d, scale, self._a_write(group, when))

    def dense(self, change: Float[Tensor, "out in_"], group: int, when: tuple[int, int]) -> None:
        """Write a change that is given weight by weight to a group."""
        self._count_first(when)
        self._dense(change, self._a_write(group, when))

    def pulse(self, index: Int[Tensor, "weights"], n: Int[Tensor, "weights"], when: tuple[int, int]) -> None:
        """Land n pulses (up, or down where negative) on the weights ``index``, numbered row by row."""
        on = n != 0
        longest = int(n.abs().max()) if len(n) else 0
        self._land(Pulses(index[on], n[on], 2 * longest, 0), 0, when, iter(range(256)))

    def _a_write(self, group: int, when: tuple[int, int]) -> Write:
        return Write(self.step, self._streams[Purpose.UPDATE], when, group)

    def _another(self, name: str, shifted: bool) -> CrossbarArray:
        """One more array for the update; its number is one that no net's own array has."""
        here = self.geometry
        geometry = replace(here, path=f"{here.path}.{name}", number=here.number + (1 << 16))
        update = "symmetry-shift" if shifted else "stochastic-pulse"
        made = CrossbarArray(self._card, replace(self.options, update=update), geometry, self.trial)
        made.load(torch.zeros(here.shape))
        self._parts[name] = made
        return made

    def _read(self, x: Float[Tensor, "batch groups in_"]) -> Float[Tensor, "batch groups out"]:
        return self._through_periphery(x, transposed=False)

    def _read_t(self, d: Float[Tensor, "batch groups out"]) -> Float[Tensor, "batch groups in_"]:
        return self._through_periphery(d, transposed=True)

    def _write(self, direction: Direction) -> None:
        step, groups = self.trial.ledger.clock.step, self.geometry.groups
        if is_recording():
            if self._for_c.write_whole(direction):
                return
        else:
            if (ageing := self.cells.ageing) is not None and step > ageing.now:
                self.cells.age(step - ageing.now)
                self._look_anew()
            step %= 1 << 32  # the step before the first, of which a schedule has nothing to write yet
        if isinstance(direction, Outer):
            for pair in range(direction.x.shape[0]):
                for group in range(groups):
                    x, d = direction.x[pair, group], direction.d[pair, group]
                    self._outer(x, d, direction.scale, self._a_write(group, (step, pair * groups + group)))
        elif isinstance(direction, Dense):
            for group in range(groups):
                self._dense(direction.change[group], self._a_write(group, (step, group)))

    def _outer(self, x: Float[Tensor, "in_"], d: Float[Tensor, "out"], scale: float, write: Write) -> None:
        x, d, scale = self.update.through(x, d, scale, write)
        if is_recording():
            self._for_c.write(x.view(1, 1, -1), d.view(1, 1, -1), scale, write.when[1])
        else:
            self._send(self.update.outer(x, d, scale, write), write)

    def _dense(self, change: Float[Tensor, "out in_"], write: Write) -> None:
        self._send(self.update.dense(change, write), write)

    def _count_first(self, when: tuple[int, int]) -> None:
        """Of an array that another one brings along: a direction is one write."""
        if when[1] == 0:
            self.trial.ledger.add(self.geometry.path, "write", writes=1)

    def _send(self, pulses: Pulses | None, write: Write) -> None:
        """Land pulses on a group, and those that the update asks for after them."""
        passes = iter(range(256))
        while pulses is not None:
            self._land(pulses, write.group * self.geometry.out * self.geometry.in_, write.when, passes)
            pulses = self.update.again(write)

    def _land(self, pulses: Pulses, offset: int, when: tuple[int, int], passes: Iterator[int]) -> None:
        def draw() -> Point:
            return self._streams[Purpose.PULSE].at(*when, next(passes))

        index = pulses.index + offset
        landed = self.cell.land(index, pulses.n, draw)
        self._seeming = None
        if landed.resets:
            self._unit = self._weight_of_cells()
        else:
            g = self.cells.g.view(self.cell.branches, -1)[:, index]
            weight = self.cell.weight(g)
            self._unit.view(-1)[index] = weight if self._zero is None else weight - self._zero.view(-1)[index]
        # A refresh works cell by cell: every pulse of it takes a slot of its own.
        refreshing = landed.up + landed.down - int(pulses.n.abs().sum()) if landed.resets else 0
        self.trial.ledger.add(
            self.geometry.path,
            "write",
            pulses_up=landed.up,
            pulses_down=landed.down,
            clipped=landed.clipped,
            resets=landed.resets,
            slots=pulses.slots + refreshing,
            randoms=pulses.randoms,
            refreshing=refreshing,
            **({"looks": landed.looks} if landed.looks else {}),
        )

    def _load(self, weights: Float[Tensor, "groups out in_"]) -> None:
        if self.update.shifts and self._zero is None:
            self._shift()
        unit = weights / self.w_max
        beyond = int((unit.abs() > 1).sum())
        unit = (unit if self._zero is None else unit + self._zero).clamp(-1, 1)
        pulses = self.cells.program(self.cell.place(unit).flatten())
        self._look_anew()
        self.trial.ledger.add(
            self.geometry.path, "load", weights=unit.numel(), beyond=beyond, pulses_up=int(pulses.sum())
        )

    def _shift(self) -> None:
        """Bring every weight to its symmetry point by pairs of pulses, and count it from there."""
        every = torch.arange(self.cell.weights, device=self._unit.device)
        first = self.cells.program(self.cell.place(torch.zeros_like(self._unit)).flatten())
        one = torch.ones_like(every)
        ends = max(self.cells.edges(way).numel() for way in self.cell.polarities)
        landed = Landed(up=int(first.sum()))
        for pulse in range(2 * min(ends, _PAIRS)):
            passes = iter(range(256))

            def draw(pulse: int = pulse, passes: Iterator[int] = passes) -> Point:
                return self._streams[Purpose.PULSE].at(_BEFORE, pulse, next(passes))

            landed += self.cell.land(every, -one if pulse % 2 else one, draw)
        self._zero = self._weight_of_cells()
        self.trial.ledger.add(
            self.geometry.path, "load", pulses_up=landed.up, pulses_down=landed.down, resets=landed.resets
        )

    def _through_periphery(self, x: Tensor, *, transposed: bool) -> Tensor:
        """DAC, the array with its read noise, ADC; scaled digitally to each vector's largest value.

        Of an array that is cut into tiles every tile has its own noise and conversion.
        """
        wires = self._card.read
        multiply = dense.read_t if transposed else dense.read
        if is_recording():
            return vector.scale(self._for_c.read(x, transposed=transposed), self.w_max)
        plain = wires.dac_bits is None and wires.adc_bits is None and wires.noise_rel == 0
        if plain and wires.line_ohm == 0:
            return vector.scale(multiply(self._unit, x), self.w_max)
        largest = x.abs().amax(dim=(1, 2), keepdim=True)
        largest = torch.where(largest == 0, torch.ones_like(largest), largest)
        drive = x / largest
        if wires.dac_bits is not None:
            drive = convert.quantize(drive, 1.0, wires.dac_bits)
        y = torch.zeros((), dtype=x.dtype, device=x.device)
        lines = min(drive.shape[2], wires.lines or drive.shape[2])
        for part in tiles(drive.shape[2], wires.lines):
            taken = (slice(None), part) if transposed else (slice(None), slice(None), part)
            out = multiply(self._as_read()[taken], drive[:, :, part])
            if wires.noise_rel > 0:
                out = out + self._noise(drive[:, :, part], taken, transposed=transposed)
            y = y + (out if wires.adc_bits is None else self._digitised(out, wires.adc_bits, lines))
        return y * largest * self.w_max

    def _as_read(self) -> Tensor:
        """The weights, in units of the largest, that resistive lines leave."""
        wires, span = self._card.read, self._card.range
        if wires.line_ohm == 0:
            return self._unit
        if self._seeming is None:
            shares = []
            for branch in self.cells.siemens().view(self.cell.branches, *self.geometry.shape):
                g = seeming(branch, wires.line_ohm, wires.lines)
                share = (g - span.g_min_S) / (span.g_max_S - span.g_min_S)
                shares.append(self.cells.floor + share * self.cells.width)
            weight = self.cell.weight(torch.stack(shares).to(self._unit))
            self._seeming = weight if self._zero is None else weight - self._zero
        return self._seeming

    def _look_anew(self) -> None:
        self._unit, self._seeming = self._weight_of_cells(), None

    def _noise(self, drive: Tensor, taken: tuple[slice, ...], *, transposed: bool) -> Tensor:
        squares = ((self.cells.g + self._floor()) ** 2).view(self.cell.branches, *self.geometry.shape).sum(0)
        power = (dense.read_t if transposed else dense.read)(squares[taken], drive**2)
        deviation = self._card.read.noise_rel * self.cell.slope * power.sqrt()
        clock = self.trial.ledger.clock
        evaluating = clock.phase == "eval"
        stream = self._noise_stream(transposed=transposed)
        first = clock.sample * (power.numel() // clock.samples) if evaluating else 0
        elements = torch.arange(first, first + power.numel()).numpy().astype("uint32")
        number = self._next_pass()
        normal = stream.at(clock.step, number >> 8, number & 255).normal(elements)
        return deviation * torch.from_numpy(normal).view_as(power).to(power)

    def _noise_stream(self, *, transposed: bool) -> Stream:
        purpose = Purpose.READ_T if transposed else Purpose.READ
        evaluating = self.trial.ledger.clock.phase == "eval"
        return self._streams[Purpose.EVAL_READ if evaluating else purpose]

    def _floor(self) -> float:
        """What is added to a cell's state to have its conductance, in units of the range."""
        span = self._card.range
        return (1 - self.cell.from_zero) * span.g_min_S / (span.g_max_S - span.g_min_S)

    def _full_scale(self, lines: int) -> float:
        """The largest output that the converter of so many lines can take, in units of the largest weight."""
        wires, span = self._card.read, self._card.range
        if wires.adc_range_share is not None:
            return wires.adc_range_share * lines
        full = wires.adc_range_cells
        if wires.adc_range_A is not None and wires.v_read_V is not None:
            full = wires.adc_range_A / (wires.v_read_V * (span.g_max_S - span.g_min_S))
        return full * self.cells.width * self.cell.slope

    def _digitised(self, y: Tensor, bits: int, lines: int) -> Tensor:
        full = self._full_scale(lines)
        code = convert.quantize(y, full, bits)
        self.trial.ledger.add(
            self.geometry.path,
            "adc",
            outputs=y.numel(),
            adc_clipped=int((y.abs() > full).sum()),
            adc_lost=int(((code == 0) & (y != 0)).sum()),
        )
        return code

    def _next_pass(self) -> int:
        """Running number of a read inside one step, so that no two reads share their noise."""
        clock = self.trial.ledger.clock
        here = (clock.phase, clock.step, clock.sample)
        number = self._passes[1] + 1 if self._passes[0] == here else 0
        self._passes = (here, number)
        return number

    def _weight_of_cells(self) -> Tensor:
        weight = self.cell.weight(self.cells.g.view(self.cell.branches, *self.geometry.shape))
        return weight if self._zero is None else weight - self._zero


class Crossbar(Substrate):
    """The substrate of cards of kind ``synapse``."""

    def array(self, geometry: Geometry, trial: Trial) -> CrossbarArray:
        """A crossbar of this shape, all cells at the start of their branch."""
        assert isinstance(self.card, SynapseCard)
        if self.card.instrument is not None:
            from hwtrain.substrates._wired import WiredArray  # which is built on this module

            return WiredArray(self.card, self.options, geometry, trial)
        return CrossbarArray(self.card, self.options, geometry, trial)
