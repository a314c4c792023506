"""The response of one device to a train of identical pulses."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from hwtrain.arith.threefry import Purpose, Streams
from hwtrain.cards import SynapseCard, without_scatter
from hwtrain.errors import ConfigError
from hwtrain.synapse.conductances import Conductances


@dataclass(frozen=True)
class TracePoint:
    """State after ``pulse`` pulses; ``direction`` is that of the last one (the first row has none).

    ``weight`` runs from -1 at g_min to 1 at g_max, as in a cell with a reference at mid-range.
    """

    pulse: int
    direction: str
    weight: float
    conductance_S: float


def trace(
    card: SynapseCard,
    *,
    up: int = 300,
    down: int = 300,
    start: float = 0.0,
    noise_free: bool = False,
    seed: int = 0,
) -> list[TracePoint]:
    """``up`` LTP pulses and then ``down`` LTD pulses on one device that starts at weight ``start``.

    Every pulse is a write of its own, in float64. ``noise_free`` takes the typical device: no
    scatter from pulse to pulse or device to device, no stuck cell. ``seed`` draws the device.
    """
    if not -1 <= start <= 1:
        raise ConfigError(f"start = {start:g}: a weight lies between -1 and 1: choose one")
    if up < 0 or down < 0:
        raise ConfigError(f"up = {up}, down = {down}: pulses are counted from 0")
    if noise_free:
        card = without_scatter(card)
    streams = Streams(seed)
    cells = Conductances(card, (1,), streams, 0, torch.float64, torch.device("cpu"))
    if bool((cells.life > 0).all()):
        cells.g = torch.full_like(cells.g, (start + 1) / 2).clamp(cells.low, cells.high)
    draws = streams.stream(Purpose.PULSE)
    where = torch.zeros(1, dtype=torch.long)
    points = [_point(cells, 0, "")]
    for number in range(1, up + down + 1):
        direction = "up" if number <= up else "down"
        cells.pulse(where, torch.tensor([1 if direction == "up" else -1]), draws.at(number))
        points.append(_point(cells, number, direction))
    return points


def _point(cells: Conductances, pulse: int, direction: str) -> TracePoint:
    return TracePoint(pulse, direction, 2 * float(cells.g[0]) - 1, float(cells.siemens()[0]))
