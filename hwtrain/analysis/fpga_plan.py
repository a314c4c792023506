"""Before anything is exported: what the RTL of a net takes of an FPGA, and how many lanes learn fastest.

Cycles are hwtrain/export/rtl.py's, exact. Memory blocks follow from each memory's words and bits and from the
forms that a block takes. Multiplier blocks are one a product. Look-up tables are never computed: a straight
line through what was synthesised, where the card has such figures.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from hwtrain.cards import FpgaCard, card, cards
from hwtrain.cards.fpga import FpgaFigure, FpgaMemory, FpgaSynthesis
from hwtrain.config import make_config
from hwtrain.errors import ConfigError, ProgramError, UnknownNameError, nearest
from hwtrain.export.rtl import RtlMemory, RtlNet, cycles, memories, products, rtl_net, speculative_cycles
from hwtrain.nets.base import build
from hwtrain.program.lower import lower
from hwtrain.training.trial import Spec, place

_MOST_LANES = 1 << 12
"""Where the search for a lane count that the RTL has at all ends."""


@dataclass(frozen=True)
class Ask:
    """What is to be planned; without ``lanes``, every power of two."""

    net: str
    shape: tuple[int, ...]
    classes: int
    device: str
    rule: str = "backprop"
    lanes: int | None = None
    rule_options: str | None = None


@dataclass(frozen=True)
class Room:
    """A memory of the block and the blocks that it takes; none where it is made of look-up tables."""

    name: str
    words: int
    bits: int
    lanes: int
    blocks: int


@dataclass(frozen=True)
class Option:
    """The block with so many lanes; ``lut`` is None where nothing was synthesised.

    ``cycles``: a step, or in mode ``speculative`` a hit; ``miss``: those of a miss there, else None.
    """

    lanes: int
    cycles: int
    miss: int | None
    blocks: int
    dsp: int
    lut: int | None
    lacks: str
    memories: list[Room]


@dataclass(frozen=True)
class Line:
    """Look-up tables as a straight line in the lanes."""

    synthesis: FpgaSynthesis

    @cached_property
    def _ends(self) -> tuple[float, float]:
        line = self.synthesis.line
        slope, start = np.polyfit([one.lanes for one in line], [one.lut for one in line], 1)
        return float(slope), float(start)

    def at(self, lanes: int) -> int:
        """The estimate."""
        slope, start = self._ends
        return round(slope * lanes + start)

    def off(self, figure: FpgaFigure) -> float:
        """By what share of a synthesised figure the line is off."""
        return self.at(figure.lanes) / figure.lut - 1

    def __str__(self) -> str:
        line = self.synthesis.line
        lanes = " and ".join(str(one.lanes) for one in line)
        held = [
            f"{self.off(one):+.1%} off at {one.net} with {one.lanes} lanes"
            for one in [*(line if len(line) > 2 else ()), *self.synthesis.checks]
        ]
        return (
            f"LUT: an estimate, a straight line through {line[0].net} with {lanes} lanes "
            f"({self.synthesis.source}), {', '.join(held) or 'not checked'}; elsewhere nothing vouches for it"
        )


@dataclass(frozen=True)
class Plan:
    """A net on a part."""

    card: str
    title: str
    lr: float
    luts: int
    multipliers: int
    blocks: int
    line: Line | None
    options: list[Option]

    @property
    def best(self) -> Option | None:
        """The fewest cycles among what fits, then the fewest lanes."""
        fits = [one for one in self.options if not one.lacks]
        return min(fits, key=lambda one: (one.cycles, one.lanes), default=None)

    def as_dict(self, ask: Ask) -> dict[str, Any]:
        """For JSON."""
        there = {"lut": self.luts, "dsp": self.multipliers, "blocks": self.blocks}
        return {
            **{"net": ask.net, "device": ask.device, "rule": ask.rule, "lr": self.lr},
            **{"target": self.card, "title": self.title, "there_is": there},
            "best_lanes": None if self.best is None else self.best.lanes,
            "lut_is": None if self.line is None else str(self.line),
            "options": [asdict(one) | {"fits": not one.lacks} for one in self.options],
        }


def target(name: str) -> FpgaCard:
    """The card of an FPGA.

    Raises:
        UnknownNameError: no such card.
        ConfigError: a card of another kind.
    """
    known = [one for one, its in cards() if isinstance(its, FpgaCard)]
    try:
        found = card(name)
    except UnknownNameError:
        raise UnknownNameError(f"no FPGA is called {name!r}: {nearest(name, known)}") from None
    if not isinstance(found, FpgaCard):
        raise ConfigError(f"{name}: a card of kind {found.kind} is no FPGA: name one of {', '.join(known)}")
    return found


def plan(ask: Ask, name: str, its: FpgaCard) -> Plan:
    """A net on a part that it fits on.

    Raises:
        ProgramError: it has no RTL, or nothing fits; names the largest that does.
        ConfigError: there is no such net or card.
    """
    try:
        found = planned(ask, name, its)
    except ProgramError as problem:
        smaller = None if ask.lanes is not None else _narrower(ask, name, its)
        if smaller is None:
            raise
        raise ProgramError(f"{problem}; {smaller} fits") from None
    if found.best is not None:
        return found
    least = found.options[0]
    head = f"{ask.net} with {least.lanes} lanes lacks {least.lacks} on {name}"
    if ask.lanes is not None:
        all_of_them = planned(replace(ask, lanes=None), name, its)
        if fits := [one.lanes for one in all_of_them.options if not one.lacks]:
            raise ProgramError(f"{head}: at most {max(fits)} lanes fit: take --lanes {max(fits)}")
    smaller = _narrower(ask, name, its)
    raise ProgramError(
        f"{head}, and other lane counts do not fit either: "
        + ("take a smaller net or a larger part" if smaller is None else f"{smaller} fits")
    )


def planned(ask: Ask, name: str, its: FpgaCard) -> Plan:
    """A net on a part, whether it fits or not."""
    nets = list(_nets(ask))
    lr, net = nets[0]
    line = next((Line(one) for one in its.synthesis if _is_of(one, net)), None)
    return Plan(
        card=name,
        title=its.device.title,
        lr=lr,
        luts=int(its.luts.value),
        multipliers=int(its.multipliers.value),
        blocks=int(its.memory.blocks.value),
        line=line,
        options=[_option(net, its, line) for _, net in nets],
    )


def blocks_of(memory: RtlMemory, its: FpgaMemory) -> int:
    """Blocks that all lanes of a memory take in the form that needs fewest; 0 where it is small."""
    if any(memory.bits <= bits and memory.words <= words for bits, words in its.small):
        return 0
    return memory.lanes * min(
        -(-memory.words // words) * -(-memory.bits // bits) for words, bits in its.forms
    )


def _nets(ask: Ask) -> Iterator[tuple[float, RtlNet]]:
    """The learning rate, and the parameters at each lane count that the RTL has."""
    config = make_config(device=ask.device, rule=ask.rule, rule_options=ask.rule_options, batch=1)
    net = build(ask.net, ask.shape, ask.classes, "relu")
    bound, _ = place(Spec("device", ask.rule, ask.device, seed=0, lr=config.lr), config, net)
    program = lower(bound, ask.shape)
    if ask.lanes is not None:
        yield config.lr, rtl_net(program, ask.lanes, config.lr)
        return
    lanes, widest = 2, 0
    while lanes < 2 * widest or not widest:
        try:
            made = rtl_net(program, lanes, config.lr)
        except ProgramError:
            if widest or lanes == _MOST_LANES:
                raise
        else:
            widest = max(max(layer.in_, layer.out) for layer in made.layers)
            yield config.lr, made
        lanes *= 2


def _option(net: RtlNet, its: FpgaCard, line: Line | None) -> Option:
    rooms = [
        Room(one.name, one.words, one.bits, one.lanes, blocks_of(one, its.memory)) for one in memories(net)
    ]
    blocks, dsp = sum(one.blocks for one in rooms), products(net)
    lut = None if line is None else line.at(net.lanes)
    asked = [
        ("memory blocks", blocks, its.memory.blocks),
        ("DSP", dsp, its.multipliers),
        ("LUT", lut or 0, its.luts),
    ]
    lacks = [f"{needs - int(has.value):,} {what}" for what, needs, has in asked if needs > has.value]
    miss = speculative_cycles(net)[1] if net.mode == "speculative" else None
    return Option(net.lanes, cycles(net), miss, blocks, dsp, lut, ", ".join(lacks), rooms)


def _is_of(one: FpgaSynthesis, net: RtlNet) -> bool:
    formats = one.signal_bits, one.weight_bits, one.code_bits, one.noise
    asked = net.numbers.signal_bits, net.numbers.weight_bits, net.code_bits, net.noise
    return net.mode == "sequential" and formats == asked


def _narrower(ask: Ask, name: str, its: FpgaCard) -> str | None:
    """The net with its hidden layers as wide as fits, the largest such; None if not even one unit does."""
    widths = [int(part) for part in ask.net.split("-") if part.isdigit()]
    if len(widths) < 3 or not ask.net[:1].isdigit():
        return None

    def cut(most: int) -> str:
        return "-".join(map(str, [widths[0], *(min(one, most) for one in widths[1:-1]), widths[-1]]))

    def fits(most: int) -> bool:
        try:
            found = planned(replace(ask, net=cut(most), lanes=None), name, its)
        except ProgramError:
            return False
        return found.best is not None

    low, high = 1, max(widths[1:-1])  # low fits, high does not
    if not fits(low):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return f"{cut(low)} (hidden layers of at most {low})"
