"""One conductance against a fixed reference of half the largest: w = 2 G / g_max - 1.

A device that cannot be switched off is then never far below 0: weights run from 2 / on_off - 1 to 1. NeuroSim
reads its arrays so up to version 2 (later versions take the middle of the range, which is ``single``).
"""

from __future__ import annotations

from hwtrain.synapse.cells.single import Single


class HalfReference(Single):
    """``single`` on conductances that are counted from 0 S; a card whose ends stand in is refused."""

    from_zero = True
