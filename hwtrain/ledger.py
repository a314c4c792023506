"""Integer counts of what the hardware did, by (phase, layer, port); the time and place they are for.

Joules, seconds and endurance are derived from these counts and a card, never stored. One ledger
belongs to one trial; a trial's folder keeps it.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Literal

Phase = Literal["init", "train", "eval"]
Key = tuple[str, str, str]


@dataclass
class Clock:
    """Where training stands; random addresses and ledger lines are made from it.

    ``step``: training steps done; ``sample``: index of the first sample of an evaluation batch,
    ``samples``: how many it holds (a convolution reads each of them at many positions);
    ``rate``: the learning rate of the step.
    """

    step: int = 0
    sample: int = 0
    samples: int = 1
    rate: float = 0.0
    phase: Phase = "init"


@dataclass
class Ledger:
    """Counts such as ``ledger.of("train", "fc1.weight", "write")["pulses"]``."""

    clock: Clock = field(default_factory=Clock)
    counts: dict[Key, dict[str, int]] = field(default_factory=dict)

    def add(self, layer: str, port: str, **counts: int) -> None:
        """Add to the counts of a layer's port in the phase of the clock."""
        line = self.counts.setdefault((self.clock.phase, layer, port), defaultdict(int))
        for name, n in counts.items():
            line[name] += n

    def peak(self, layer: str, port: str, **counts: int) -> None:
        """Keep the largest value seen, for what is held rather than spent."""
        line = self.counts.setdefault((self.clock.phase, layer, port), defaultdict(int))
        for name, n in counts.items():
            line[name] = max(line[name], n)

    def of(self, phase: str, layer: str, port: str) -> dict[str, int]:
        """The counts of one line; missing ones are 0."""
        return defaultdict(int, self.counts.get((phase, layer, port), {}))

    def rows(self) -> list[dict[str, str | int]]:
        """One dictionary a line, for files and tables."""
        return [
            {"phase": phase, "layer": layer, "port": port, **line}
            for (phase, layer, port), line in sorted(self.counts.items())
        ]

    def restore(self, rows: list[dict[str, str | int]]) -> None:
        """Undo of ``rows``."""
        self.counts = {}
        for row in rows:
            names = {name: int(n) for name, n in row.items() if name not in ("phase", "layer", "port")}
            place = (str(row["phase"]), str(row["layer"]), str(row["port"]))
            self.counts[place] = defaultdict(int, names)
