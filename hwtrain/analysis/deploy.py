"""Trained weights on a device that forgets: accuracy against the time since they were written.

A weight w of an array whose largest is w_max is written on one side of a pair, G = g_min + |w|/w_max
(g_max - g_min), the other side at g_min; ``hwtrain/synapse/retention.py`` says what becomes of either.
With compensation, all weights of an array are multiplied by one number, the mean
magnitude of its reads just after writing over that now (global drift compensation, by one-hot inputs).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hwtrain.arith.threefry import Streams
from hwtrain.cards import SynapseCard, card
from hwtrain.config import SOFTWARE
from hwtrain.errors import ConfigError
from hwtrain.synapse.retention import written
from hwtrain.training.engine import TorchEngine
from hwtrain.training.rebuild import Rebuilt, rebuild
from hwtrain.training.trial import place

Values = NDArray[np.float64]

TIMES_S = (0.0, 60.0, 3600.0, 86_400.0, 604_800.0, 2_592_000.0, 31_536_000.0)
"""Just written, a minute, an hour, a day, a week, 30 days, a year."""


@dataclass(frozen=True)
class Age:
    """Accuracies of every writing at a time, without and with compensation; the mean drift of the weights."""

    time_s: float
    accuracies: list[float]
    compensated: list[float]
    left: float


@dataclass(frozen=True)
class Deployed:
    """A trial on a card; ``software`` is the accuracy of the weights as they were trained."""

    trial: str
    card: str
    samples: int
    software: float
    ages: list[Age]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def deploy(
    run: Path,
    device: str,
    times_s: Sequence[float] | None = None,
    repeats: int = 5,
    tick: Callable[[str, int, int], None] = lambda name, done, total: None,
) -> Deployed:
    """Write a trial's weights ``repeats`` times and look at every time; None: as far as the card says.

    Raises:
        ConfigError: the card says nothing of what happens after writing, or a time is before writing.
    """
    found = card(device)
    if not isinstance(found, SynapseCard) or (found.retention is None and found.relaxation is None):
        raise ConfigError(
            f"{device}: no effect: the card has no [retention] or [relaxation], so nothing is known of "
            "what it does after writing: choose a card that has, such as pcm-gst"
        )
    last = found.relaxation.times_s[-1] if found.relaxation else math.inf
    if times_s is None:
        times_s = [time_s for time_s in TIMES_S if time_s <= last]
        if times_s[-1] < last < math.inf:
            times_s.append(last)
    elif max(times_s, default=0.0) > last:
        raise ConfigError(f"{device}: nothing is known of it later than {last:g} s: leave later --times out")
    if repeats < 1 or not times_s or min(times_s) < 0:
        raise ConfigError("deploy needs times of 0 s or more and at least one writing: correct them")
    trial = rebuild(run)
    weights = {path: array.peek().double().numpy() for path, array in trial.bound.net.arrays()}
    on_cells = {path: value for path, value in weights.items() if path.endswith(".weight")}
    software = _accuracy(trial, weights)
    rows: list[list[tuple[float, float, float]]] = [[] for _ in times_s]
    for repeat in range(repeats):
        streams = Streams(trial.spec.seed + repeat)
        pairs = {
            path: Pair(found, value, streams, number)
            for number, (path, value) in enumerate(sorted(on_cells.items()))
        }
        for number, (time_s, row) in enumerate(zip(times_s, rows, strict=True)):
            aged = {path: pair.read(time_s, number) for path, pair in pairs.items()}
            right = {path: value * pairs[path].compensation(value) for path, value in aged.items()}
            row.append(
                (
                    _accuracy(trial, weights | aged),
                    _accuracy(trial, weights | right),
                    float(
                        np.mean(
                            [abs(aged[path]).sum() / abs(value).sum() for path, value in on_cells.items()]
                        )
                    ),
                )
            )
            tick(device, repeat * len(times_s) + number + 1, repeats * len(times_s))
    ages = [
        Age(
            time_s, [a for a, _, _ in row], [c for _, c, _ in row], float(np.mean([left for *_, left in row]))
        )
        for time_s, row in zip(times_s, rows, strict=True)
    ]
    return Deployed(trial.spec.name, device, len(trial.data.eval_y), software, ages)


class Pair:
    """The weights of one array, written once on pairs of conductances."""

    def __init__(self, found: SynapseCard, weights: Values, streams: Streams, number: int) -> None:
        self.card = found
        self.w_max = float(abs(weights).max()) or 1.0
        span = found.range
        sides = np.stack([weights.clip(min=0), (-weights).clip(min=0)]) / self.w_max
        target = (span.g_min_S + sides * (span.g_max_S - span.g_min_S)) / span.g_max_S
        self.cells = written(found, target, streams, number)
        self.first = self._level(self.read(0.0, 255))

    def read(self, time_s: float, look: int) -> Values:
        """The weights as they are read at a time after writing; ``look`` numbers the noise."""
        seen, span = self.cells.read(time_s, look), self.card.range
        weights: Values = (seen[0] - seen[1]) * self.w_max * span.g_max_S / (span.g_max_S - span.g_min_S)
        return weights

    def compensation(self, weights: Values) -> float:
        """The factor that brings the mean magnitude of these weights back to where it was."""
        return self.first / self._level(weights)

    def _level(self, weights: Values) -> float:
        return float(max(abs(weights).mean(), 1e-12))


def _accuracy(trial: Rebuilt, weights: dict[str, Values]) -> float:
    """Of these weights as plain numbers, predicted as the run's rule does, on the split that judged it."""
    spec = replace(trial.spec, role="device", device=SOFTWARE)
    bound, ledger = place(spec, trial.config, trial.bound.net)
    for path, array in bound.net.arrays():
        array.load(torch.from_numpy(weights[path]))
    bound.restore(trial.bound.state())
    for (_, layer), (_, trained) in zip(bound.net.layers(), trial.bound.net.layers(), strict=True):
        for name, value in layer.running.items():
            value.copy_(trained.running[name])
    engine = TorchEngine(bound, ledger, 1)
    x, labels = torch.from_numpy(trial.data.eval_x), torch.from_numpy(trial.data.eval_y)
    found = engine.evaluate(x, labels, 0)
    return found.correct / found.samples
