"""A training step in slices, for the idle time of other tasks: what each of its parts costs."""

from __future__ import annotations

import math

from hwtrain.cards import McuCard, card
from hwtrain.program.cycles import costs_of, machine
from hwtrain.program.ir import Entry, Program

CARD = "cortex-m55"
"""Of which the cycles are."""


def part_cycles(program: Program, entry: Entry) -> list[int]:
    """Modelled cycles of every node of an entry, in order; at least one."""
    found = card(CARD)
    assert isinstance(found, McuCard)
    on = machine(found, moves=False)
    costs = [sum(cost.cycles for cost in costs_of(program, (node,), on)) for node in program.entries[entry]]
    return [max(1, math.ceil(cycles)) for cycles in costs]
