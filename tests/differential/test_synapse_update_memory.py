"""Updates with memory against loops over plain numbers, until 1,000 pulses have been sent.

The update works on an array that adds exactly what it is told to (``Exact``), so that every pulse that it
sends follows from its own recursion; draws come from the scalar form of the generator.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from hwtrain.arith.threefry import Purpose, Streams, threefry
from hwtrain.registry import lookup
from hwtrain.substrates.base import Geometry, Options, Trial, substrate_of
from hwtrain.substrates.crossbar import CrossbarArray
from hwtrain.synapse.updates.base import Pulses, Site, Update, Write
from tests.helpers import synapse_card

OUT, IN, STEP = 3, 4, 0.01
DRAWS = Streams(3).stream(Purpose.UPDATE, 5)
Grid = list[list[float]]


class Exact:
    """Weights that add up what they are told to, without pulses."""

    def __init__(self) -> None:
        self.w = torch.zeros(1, OUT, IN, dtype=torch.float64)

    def read(self, x: torch.Tensor) -> torch.Tensor:
        return torch.einsum("goi,bgi->bgo", self.w, x)

    def outer(
        self, x: torch.Tensor, d: torch.Tensor, scale: float, group: int, when: tuple[int, int]
    ) -> None:
        self.w[group] += scale * torch.outer(d, x)

    def dense(self, change: torch.Tensor, group: int, when: tuple[int, int]) -> None:
        self.w[group] += change


def zeros() -> Grid:
    return [[0.0] * IN for _ in range(OUT)]


def placed(name: str) -> tuple[Update, Exact, Exact]:
    """An update at work on an array of its own, and the fast one if it has asked for one."""
    own, fast = Exact(), Exact()
    update: Update = lookup("updates", name)()
    shape = (1, OUT, IN)
    update.place(Site(shape, own, lambda *_: fast, torch.zeros((), dtype=torch.float64)))
    return update, own, fast


def grid(pulses: Pulses) -> NDArray[np.int64]:
    n = np.zeros(OUT * IN, np.int64)
    n[pulses.index.numpy()] = pulses.n.numpy()
    return n.reshape(OUT, IN)


def signals(steps: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rng = np.random.default_rng(8)
    x = rng.random((steps, IN)) * (rng.random((steps, IN)) > 0.3)
    return x, rng.standard_normal((steps, OUT)) + 0.4


def uniform(when: tuple[int, int], pass_: int, element: int) -> float:
    point = threefry(DRAWS.key, (when[0], when[1] << 8 | pass_))
    return (threefry(point, (element, 0))[0] >> 8) * 2.0**-24


def lot(when: tuple[int, int], pass_: int, line: int, slot: int) -> float:
    """The uniform number of a slot of a line's train: bit ``slot`` of its 24 planes, the highest first."""
    point = threefry(DRAWS.key, (when[0], when[1] << 8 | pass_))
    planes = [threefry(point, (12 * line + (k >> 1), 0), 13)[k & 1] for k in range(24)]
    return sum((plane >> slot & 1) << 23 - k for k, plane in enumerate(planes)) * 2.0**-24


Loop = Callable[[list[float], list[float], float, int], list[list[int]]]
"""One update in plain numbers: (x, d, scale, step number) to pulses."""


def whole(h: float) -> int:
    return max(-31, min(31, math.trunc(h)))


def rounding() -> Loop:
    def update(x: list[float], d: list[float], scale: float, t: int) -> list[list[int]]:
        change = [[scale * d[o] * x[i] / STEP for i in range(IN)] for o in range(OUT)]
        return [[int(math.copysign(math.floor(abs(c) + 0.5), c)) for c in row] for row in change]

    return update


def accumulating() -> Loop:
    chi = zeros()

    def update(x: list[float], d: list[float], scale: float, t: int) -> list[list[int]]:
        n = [[0] * IN for _ in range(OUT)]
        for o in range(OUT):
            for i in range(IN):
                chi[o][i] += scale * d[o] * x[i]
                n[o][i] = math.trunc(chi[o][i] / STEP)
                chi[o][i] -= n[o][i] * STEP
        return n

    return update


def transferring(kind: str) -> Loop:
    """Tiki-Taka with a buffer: plain, chopped, or chopped and with a learnt reference."""
    fast, h, mean, past, chop = zeros(), zeros(), zeros(), zeros(), [1.0] * IN

    def update(x: list[float], d: list[float], scale: float, t: int) -> list[list[int]]:
        for o in range(OUT):
            for i in range(IN):
                fast[o][i] += scale * d[o] * x[i] * chop[i]
        column, reads = t % IN, t // IN
        n = [[0] * IN for _ in range(OUT)]
        for o in range(OUT):
            v = fast[o][column]
            if kind == "agad" and reads and reads % 10 == 0:
                past[o][column] = mean[o][column]
            h[o][column] += (v - past[o][column]) * chop[column] / STEP
            sent = whole(h[o][column])
            h[o][column] -= sent
            mean[o][column] = 0.5 * mean[o][column] + 0.5 * v
            n[o][column] = sent if kind != "agad" or reads > 10 else 0
        if (kind == "chopped" and uniform((t, 0), 0, 0) < 0.1) or (kind == "agad" and reads % 10 == 9):
            chop[column] = -chop[column]
        return n

    return update


def trains() -> Loop:
    """Tiki-Taka: slot after slot of the trains that bring a column to the weights."""
    fast = zeros()

    def update(x: list[float], d: list[float], scale: float, t: int) -> list[list[int]]:
        for o in range(OUT):
            for i in range(IN):
                fast[o][i] += scale * d[o] * x[i]
        column = t % IN
        v = [fast[o][column] for o in range(OUT)]
        n = [[0] * IN for _ in range(OUT)]
        most = max(map(abs, v))
        k = most / STEP
        if k == 0:
            return n
        length = min(math.ceil(k), 31)
        amplitude, balance = math.sqrt(1 / (STEP * length)), math.sqrt(1 / (most * min(1, 31 / k)))
        for slot in range(length):
            if lot((t, 0), 0, column, slot) >= amplitude / balance:
                continue
            for o in range(OUT):
                if lot((t, 0), 1, o, slot) < abs(v[o]) * amplitude * balance:
                    n[o][column] += int(math.copysign(1, v[o]))
        return n

    return update


LOOPS: dict[str, tuple[Callable[[], Loop], float]] = {
    "rounded-pulse": (rounding, 0.02),
    "mixed-precision": (accumulating, 0.01),
    "tiki-taka": (trains, 0.003),
    "tiki-taka-v2": (lambda: transferring("plain"), 0.002),
    "chopped-tiki-taka": (lambda: transferring("chopped"), 0.004),
    "agad": (lambda: transferring("agad"), 0.004),
}


@pytest.mark.parametrize("form", ["outer", "dense"])
@pytest.mark.parametrize("name", LOOPS)
def test_pulses_are_those_of_a_loop_over_plain_numbers(name: str, form: str) -> None:
    make, scale = LOOPS[name]
    loop, (update, _, _) = make(), placed(name)
    sent, t = 0, 0
    xs, ds = signals(4000)
    while sent < 1000:
        x, d = torch.from_numpy(xs[t]), torch.from_numpy(ds[t])
        write = Write(STEP, DRAWS, (t, 0))
        if form == "outer":
            pulses = update.outer(*update.through(x, d, scale, write), write)
        else:
            pulses = update.dense(scale * torch.outer(d, x), write)
        expected = np.array(loop(xs[t].tolist(), ds[t].tolist(), scale, t))
        assert (grid(pulses) == expected).all(), t
        sent += int(np.abs(expected).sum())
        t += 1
    assert t > 30


def test_write_verify_is_a_loop_of_looks_and_pulses_on_an_uneven_device() -> None:
    update, own, _ = placed("write-verify")
    up, down = 0.7 * STEP, 1.6 * STEP  # what a pulse really does
    own.w += torch.linspace(-0.3, 0.4, OUT * IN, dtype=torch.float64).view(1, OUT, IN)
    cells, master = own.w[0].tolist(), own.w[0].tolist()
    sent, rounds = 0, 0
    xs, ds = signals(400)
    for t in range(400):
        x, d = torch.from_numpy(xs[t]), torch.from_numpy(ds[t])
        pulses: Pulses | None = update.outer(x, d, 0.01, Write(STEP, DRAWS, (t, 0)))
        for o in range(OUT):
            for i in range(IN):
                master[o][i] += 0.01 * ds[t][o] * xs[t][i]
        live = [i for i in range(IN) if xs[t][i] != 0]
        for _ in range(5):
            n = [[0] * IN for _ in range(OUT)]
            for i in live:
                for o in range(OUT):
                    short = (master[o][i] - cells[o][i]) / STEP
                    n[o][i] = max(-31, min(31, int(math.copysign(math.floor(abs(short) + 0.5), short))))
            assert pulses is not None
            assert (grid(pulses) == np.array(n)).all(), t
            for o in range(OUT):
                for i in range(IN):
                    cells[o][i] += n[o][i] * (up if n[o][i] > 0 else down)
                    sent += abs(n[o][i])
            own.w = torch.tensor([cells], dtype=torch.float64)
            live = [i for i in live if any(n[o][i] for o in range(OUT))]
            pulses = update.again(Write(STEP, DRAWS, (t, 0)))
            rounds += 1
            if not live:
                break
        assert pulses is None
    assert sent > 1000
    assert rounds > 600


def test_the_shift_brings_every_weight_to_where_up_and_down_are_equal() -> None:
    law = {"law": "affine", "step_up": 0.08, "step_down": 0.1, "curvature_up": 0.8, "curvature_down": 1.0}
    card = synapse_card(law, variation={"step_dtod": 0.3})
    trial = Trial(Streams(4), dtype=torch.float64)
    geometry = Geometry("w", 1, 1, 4, 6, 1.0)
    it = substrate_of(card, Options("symmetry-shift", "single", weight_range=1.0)).array(geometry, trial)
    assert isinstance(it, CrossbarArray)
    it.load(torch.zeros(1, 4, 6))
    cells = it.cells
    assert it._zero is not None
    for cell in range(24):
        g, (up, down) = 0.5, (float(cells.up.step[cell]), float(cells.down.step[cell]))
        for _ in range(500):
            g += up * (1 - 0.8 * g)
            g -= down * g
        assert float(it._zero.view(-1)[cell]) == pytest.approx(2 * g - 1, abs=1e-3)
        assert up * (1 - 0.8 * g) == pytest.approx(down * g, abs=0.2 * up)
    it.load(torch.full((1, 4, 6), 0.2))
    assert float((it.peek() - 0.2).abs().max()) < 0.1
    counts = trial.ledger.of("init", "w", "load")
    assert counts["pulses_up"] + counts["pulses_down"] == int(cells.wear.sum())


def test_a_fast_array_is_one_of_the_net_s_arrays() -> None:
    from hwtrain.cards import card
    from hwtrain.nets.base import mlp

    options = Options("agad", "single")
    device = synapse_card({"law": "linear", "levels_up": 50, "levels_down": 50})
    net = mlp("4-3-2", "tanh")
    net.place(
        Trial(Streams(0)), lambda _: substrate_of(device, options), substrate_of(card("float32"), options)
    )
    paths = [path for path, _ in net.arrays()]
    assert paths == ["fc1.weight", "fc1.weight.fast", "fc1.bias", "fc2.weight", "fc2.weight.fast", "fc2.bias"]
    kept = net.state()
    assert {"fc1.weight/update.chop", "fc1.weight/update.past", "fc1.weight.fast/g"} <= kept.keys()
    numbers = [array.geometry.number for _, array in net.arrays()]
    assert len(set(numbers)) == len(numbers)
