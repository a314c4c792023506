"""Energy, time and area of whole arrays, from counts and the card: cells, lines, drivers, converters.

One read of an array drives all its lines for every slot of the input, and converts every output of a tile:

    cells       slots V^2 G t, every cell at mid-range and every line at the full read voltage
    lines       slots V^2 C of every line that is driven, C that of all its cells
    drivers     slots E_dac for every line that is driven
    converters  slots E_adc for every output of every tile
    time        slots (t_read + the turns at a shared converter, times t_adc); tiles work side by side

A real input drives less than its full voltage: the cells' part is the most that they take at this mean
conductance. A pulse costs what the card says (``SynapseCard.pulse_energy_J``) and the charge of its line. A
look at the state before a pulse that depends on it costs a cell's read and a conversion, and time as if every
output of the array could look at once. Area is that of cells, one driver a line and the converters of every
tile; wires between tiles and digital logic are not in it.

A card without a constant gives None for every sum that needs it, never a default.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from hwtrain.cards import SynapseCard
from hwtrain.cards.synapse import Periphery
from hwtrain.ledger import Ledger
from hwtrain.training.cost import pulse_cost, total

_UNKNOWN = Periphery(source="none")


@dataclass(frozen=True)
class ReadCost:
    """One read of an array."""

    cells_J: float | None
    lines_J: float | None
    drivers_J: float | None
    converters_J: float | None
    time_s: float | None

    @property
    def energy_J(self) -> float | None:
        """All of it."""
        return total([self.cells_J, self.lines_J, self.drivers_J, self.converters_J])


@dataclass(frozen=True)
class ArrayCost:
    """An array, an inference with it, and a training step; parts of a step's energy by name."""

    area_m2: float | None
    inference_J: float | None
    inference_s: float | None
    step_J: float | None
    step_s: float | None
    parts_J: dict[str, float | None]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Layout:
    """Where an array lies: (groups, out, in_) weights of ``branches`` conductances, in tiles."""

    card: SynapseCard
    shape: tuple[int, int, int]
    branches: int

    @property
    def periphery(self) -> Periphery:
        """The card's, or one of which nothing is known."""
        return self.card.periphery or _UNKNOWN

    def cut(self, lines: int) -> int:
        """Tiles that so many lines make."""
        return -(-lines // (self.card.read.lines or lines))

    def read(self, *, transposed: bool = False) -> ReadCost:
        """One read; transposed reads drive the outputs and convert the inputs."""
        groups, out, in_ = self.shape
        if transposed:
            out, in_ = in_, out
        wires, circuits = self.card.read, self.periphery
        slots, square = circuits.slots, _product(wires.v_read_V, wires.v_read_V)
        driven = groups * in_ * self.branches * self.cut(out)
        converted = groups * out * self.branches * self.cut(in_)
        cells = groups * out * in_ * self.branches
        turns = min(circuits.adc_shared_by, min(out, wires.lines or out))
        return ReadCost(
            _product(slots * cells, square, self.card.range.middle_S, wires.t_read_s),
            _product(slots * cells, square, circuits.line_F),
            _product(slots * driven, circuits.dac_J),
            _product(slots * converted, circuits.adc_J),
            _product(slots, total([wires.t_read_s, _product(turns, circuits.adc_s)])),
        )

    @property
    def area_m2(self) -> float | None:
        """Cells, a driver for every line of a tile in either direction, converters for its longer side."""
        groups, out, in_ = self.shape
        circuits, copies = self.periphery, groups * self.branches
        cells = copies * out * in_
        drivers = copies * (in_ * self.cut(out) + out * self.cut(in_))
        most = self.card.read.lines
        side = max(min(out, most or out), min(in_, most or in_))
        converters = copies * self.cut(out) * self.cut(in_) * -(-side // circuits.adc_shared_by)
        return total(
            [
                _product(cells, circuits.cell_m2),
                _product(drivers, circuits.dac_m2),
                _product(converters, circuits.adc_m2),
            ]
        )

    def state_read_J(self) -> float | None:
        """Reading the state of one cell."""
        wires = self.card.read
        volt = wires.v_read_V
        return total([_product(volt, volt, self.card.range.middle_S, wires.t_read_s), self.periphery.adc_J])

    def pulse_line_J(self, up: int, down: int) -> float | None:
        """Charging the line of a tile for each of these pulses."""
        in_ = self.shape[2]
        longest = min(in_, self.card.read.lines or in_)
        pulse, line = self.card.pulse, _product(longest, self.periphery.line_F)
        parts = ((up, pulse.v_up_V), (down, pulse.v_down_V))
        return total([_product(n, volt, volt, line) for n, volt in parts if n > 0]) if up + down else 0.0


def array_cost(ledger: Ledger, path: str, layout: Layout, samples: int, steps: int) -> ArrayCost:
    """Of an array that took ``steps`` training steps, and whose net has seen ``samples`` to be judged."""
    forward, backward = layout.read(), layout.read(transposed=True)
    looked = ledger.of("eval", path, "read")["reads"] / samples if samples else 0.0
    there, back = ledger.of("train", path, "read")["reads"], ledger.of("train", path, "read_t")["reads"]
    counts, pulses = ledger.of("train", path, "write"), pulse_cost(ledger, path, layout.card)
    parts = {
        "pulses": pulses.energy_J,
        "lines of pulses": layout.pulse_line_J(counts["pulses_up"], counts["pulses_down"]),
        "state reads": _product(counts["looks"], layout.state_read_J()) if counts["looks"] else 0.0,
        "reads": _product(there, forward.energy_J) if there else 0.0,
        "transposed reads": _product(back, backward.energy_J) if back else 0.0,
    }
    times = [pulses.time_s, _product(there, forward.time_s) if there else 0.0]
    times.append(_product(back, backward.time_s) if back else 0.0)
    if counts["looks"]:
        outputs = layout.shape[0] * layout.shape[1] * layout.branches
        times.append(_product(counts["looks"] / outputs, forward.time_s))
    each = {name: None if value is None else value / max(steps, 1) for name, value in parts.items()}
    time = total(times)
    return ArrayCost(
        layout.area_m2,
        _product(looked, forward.energy_J),
        _product(looked, forward.time_s),
        total(each.values()),
        None if time is None else time / max(steps, 1),
        each,
    )


def _product(*factors: float | None) -> float | None:
    """The product; None where any factor is unknown."""
    found = 1.0
    for factor in factors:
        if factor is None:
            return None
        found *= factor
    return found
