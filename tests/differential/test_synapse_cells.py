"""Cells against scalar rules: plain floats, one pulse after another."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from hwtrain.arith.threefry import Point, Purpose, Streams
from hwtrain.registry import lookup, names
from hwtrain.synapse.cells.base import Cell
from hwtrain.synapse.conductances import Conductances, Landed
from tests.helpers import synapse_card

POINT = Streams(0).stream(Purpose.PULSE).at(0)
UPDATES, WEIGHTS = 300, 6  # about 1,000 trains
KINDS = ("single", "bidirectional-pair", "alternating-pair", "unidirectional-ltp", "unidirectional-ltd")
ONE_WAY = ("unidirectional-ltp", "unidirectional-ltd")
LAWS: dict[str, dict[str, Any]] = {
    "linear": {"law": "linear", "levels_up": 53, "levels_down": 41},
    "bent": {
        "law": "affine",
        "step_up": 0.031,
        "step_down": 0.043,
        "curvature_up": 0.7,
        "curvature_down": 0.9,
    },
    "rising": {
        "law": "affine",
        "step_up": 0.011,
        "step_down": 0.017,
        "curvature_up": -1.3,
        "curvature_down": -0.4,
    },
}


def cell_of(kind: str, law: str, refresh: str = "threshold", every: int = 7) -> Cell:
    made: type[Cell] = lookup("cells", kind)
    cells = Conductances(
        synapse_card(LAWS[law]),
        (made.branches, 1, 2, WEIGHTS // 2),
        Streams(0),
        0,
        torch.float64,
        torch.device("cpu"),
    )
    return made(cells, refresh, every)  # type: ignore[arg-type]


class Device:
    """Two-ended conductances, moved a pulse at a time."""

    def __init__(self, law: str) -> None:
        p = LAWS[law]
        if p["law"] == "linear":
            self.up, self.down = (1 / p["levels_up"], 0.0), (1 / p["levels_down"], 0.0)
        else:
            self.up = (p["step_up"], p["curvature_up"])
            self.down = (p["step_down"], p["curvature_down"])

    def pulsed(self, g: float, n: int) -> float:
        step, bend = self.up if n > 0 else self.down
        for _ in range(abs(n)):
            if n > 0:
                g += step * (1 - bend * g)
            else:
                g -= step * (1 - bend * (1 - g))
            g = min(max(g, 0.0), 1.0)
        return g

    def nearest(self, travel: float, n: int) -> int:
        """Pulses of the polarity of n from the start of the branch that come nearest."""
        reached, best = 0.0, (travel, 0)
        for number in range(1, 2000):
            g = self.pulsed(reached if n > 0 else 1 - reached, n)
            reached = g if n > 0 else 1 - g
            best = min(best, (abs(reached - travel), number))
            if reached >= travel:
                break
        return best[1]

    def whole(self, n: int) -> int:
        """Pulses from the start of a branch to its end."""
        reached, number = 0.0, 0
        while reached < 1 - 1e-5:
            g = self.pulsed(reached if n > 0 else 1 - reached, n)
            reached, number = g if n > 0 else 1 - g, number + 1
        return number


class Rule:
    """The five ways to make a weight of conductances, one weight after another."""

    def __init__(self, kind: str, law: str, refresh: str, every: int, g: list[list[float]]) -> None:
        self.kind, self.device, self.refresh, self.every = kind, Device(law), refresh, every
        self.g, self.turn = g, [0] * len(g)
        self.updates = self.resets = self.pulses = self.back = 0

    def weight(self, place: int) -> float:
        g = self.g[place]
        return 2 * g[0] - 1 if self.kind == "single" else g[0] - g[1]

    def land(self, trains: dict[int, int]) -> None:
        for place, n in trains.items():
            for _ in range(abs(n)):
                self.one(place, 1 if n > 0 else -1)
        if self.kind in ONE_WAY:
            self.updates += 1
            self.refreshed(list(trains))

    def one(self, place: int, sign: int) -> None:
        if self.kind == "single":
            self.hit(place, 0, sign)
        elif self.kind == "bidirectional-pair":
            self.hit(place, 0, sign)
            self.hit(place, 1, -sign)
        elif self.kind == "alternating-pair":
            side = self.turn[place]
            self.hit(place, side, sign if side == 0 else -sign)
            self.turn[place] = 1 - side
        elif self.kind == "unidirectional-ltp":
            self.hit(place, 0 if sign > 0 else 1, 1)
        else:
            self.hit(place, 1 if sign > 0 else 0, -1)

    def hit(self, place: int, side: int, sign: int) -> None:
        self.g[place][side] = self.device.pulsed(self.g[place][side], sign)
        self.pulses += 1

    def refreshed(self, touched: list[int]) -> None:
        due = self.updates % self.every == 0
        everything = list(range(len(self.g)))
        if self.refresh == "threshold":
            worn = [place for place in touched if self.worn(place)]
        elif self.refresh == "periodic" and due:
            worn = [place for place in everything if self.worn(place)]
        elif self.refresh == "full-init" and due:
            worn = everything
        else:
            worn = []
        for place in worn:
            weight = self.weight(place)
            rising = self.kind == "unidirectional-ltp"
            back = -1 if rising else 1
            for g in self.g[place]:  # the whole way on the other branch, less what is done of it
                self.back += self.device.whole(back) - self.device.nearest(1 - g if rising else g, back)
            self.g[place] = [0.0, 0.0] if rising else [1.0, 1.0]
            self.resets += 2
            n = self.device.nearest(abs(weight), 1 if rising else -1)
            for _ in range(n):
                self.one(place, 1 if weight > 0 else -1)

    def worn(self, place: int) -> bool:
        sides = self.g[place] if self.kind == "unidirectional-ltp" else [1 - g for g in self.g[place]]
        return max(sides) > 0.75 and min(sides) > 0.25


def fresh(what: Cell) -> list[list[float]]:
    """Conductances by weight, as the scalar rule holds them."""
    return what.cells.g.view(what.branches, -1).T.tolist()


def random_trains(rng: np.random.Generator) -> dict[int, int]:
    places = rng.permutation(WEIGHTS)[: rng.integers(1, WEIGHTS + 1)]
    sizes = rng.integers(1, 5, len(places)) * rng.choice([-1, 1], len(places))
    return dict(zip(places.tolist(), sizes.tolist(), strict=True))


def land(what: Cell, trains: dict[int, int]) -> Landed:
    def draw() -> Point:
        return POINT

    return what.land(torch.tensor(list(trains)), torch.tensor(list(trains.values())), draw)


CASES = [(kind, law, "threshold" if kind in ONE_WAY else "none") for kind in KINDS for law in LAWS]
CASES += [(kind, "bent", policy) for kind in ONE_WAY for policy in ("periodic", "full-init", "none")]


def test_every_shipped_cell_has_a_scalar_rule() -> None:
    assert set(KINDS) <= set(names("cells"))


@pytest.mark.parametrize(("kind", "law", "refresh"), CASES, ids=str)
def test_cell_follows_its_scalar_rule(kind: str, law: str, refresh: str) -> None:
    rng = np.random.default_rng(4)
    what = cell_of(kind, law, refresh)
    placed = what.place(torch.from_numpy(rng.uniform(-0.5, 0.5, (1, 2, WEIGHTS // 2))))
    what.cells.program(placed.flatten())
    rule, landed = Rule(kind, law, refresh, 7, fresh(what)), Landed()
    worst = 0.0
    for _ in range(UPDATES):
        trains = random_trains(rng)
        landed += land(what, trains)
        rule.land(trains)
        g = what.cells.g.numpy()
        worst = max(worst, abs(g.reshape(-1, WEIGHTS).T - np.array(rule.g)).max())
        assert 0 <= g.min() <= g.max() <= 1
    assert worst < 1e-11
    weights = what.weight(what.cells.g.view(what.branches, -1)).tolist()
    assert weights == pytest.approx([rule.weight(place) for place in range(WEIGHTS)], abs=1e-11)
    assert landed.resets == rule.resets
    assert landed.up + landed.down == rule.pulses + rule.back
    if kind in ONE_WAY:
        assert (landed.resets > 0) == (refresh != "none")
        assert (landed.down if kind.endswith("ltp") else landed.up) == rule.back


@pytest.mark.parametrize("kind", KINDS)
def test_weight_undoes_place(kind: str) -> None:
    what = cell_of(kind, "linear")
    weights = torch.linspace(-1, 1, 41, dtype=torch.float64).view(1, 1, 41)
    placed = what.place(weights)
    assert placed.shape == (what.branches, 1, 1, 41)
    assert 0 <= float(placed.min()) <= float(placed.max()) <= 1
    torch.testing.assert_close(what.weight(placed), weights, atol=1e-15, rtol=0)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("kind", KINDS)
def test_step_of_the_weight_is_that_of_one_pulse_at_mid_range(kind: str, law: str) -> None:
    what, device = cell_of(kind, law), Device(law)
    up, down = device.pulsed(0.5, 1) - 0.5, 0.5 - device.pulsed(0.5, -1)
    expected = {
        "single": up + down,  # 2 g - 1, mean of both directions
        "bidirectional-pair": up + down,
        "alternating-pair": (up + down) / 2,
        "unidirectional-ltp": up,
        "unidirectional-ltd": down,
    }
    assert what.step() == pytest.approx(expected[kind])


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("kind", ONE_WAY)
def test_refresh_keeps_the_weight_within_one_pulse(kind: str, law: str) -> None:
    what, device, rng = cell_of(kind, law), Device(law), np.random.default_rng(8)
    way = 1 if kind.endswith("ltp") else -1
    largest = max(abs(device.pulsed(g, way) - g) for g in np.linspace(0, 1, 200))
    quiet = cell_of(kind, law, "none")
    refreshed = 0
    for _ in range(UPDATES):
        trains = random_trains(rng)
        quiet.cells.restore(what.cells.state())
        land(quiet, trains)
        landed = land(what, trains)
        here, there = what.cells.g.view(2, -1), quiet.cells.g.view(2, -1)
        assert float((what.weight(here) - quiet.weight(there)).abs().max()) <= largest / 2 + 1e-12
        worn = (here != there).any(0)
        assert landed.resets == 2 * int(worn.sum())
        assert bool((here[:, worn] == (0.0 if way > 0 else 1.0)).any(0).all())  # one side only
        refreshed += int(worn.sum())
    assert refreshed > 20


def test_alternating_pair_takes_turns() -> None:
    what = cell_of("alternating-pair", "linear")
    what.cells.g.fill_(0.5)
    sides = []
    for n in (1, 1, -1, 1, -1, -1):
        before = what.cells.g.clone()
        land(what, {2: n})
        changed = (what.cells.g - before).nonzero().flatten().tolist()
        assert len(changed) == 1
        sides.append(changed[0] // WEIGHTS)
    assert sides == [0, 1, 0, 1, 0, 1]


@pytest.mark.parametrize("kind", KINDS)
def test_state_brings_a_cell_back(kind: str) -> None:
    rng = np.random.default_rng(2)
    here, there = cell_of(kind, "bent", "periodic"), cell_of(kind, "bent", "periodic")
    for _ in range(25):
        land(here, random_trains(rng))
    cells, own = here.cells.state(), here.state()
    later = [random_trains(rng) for _ in range(25)]
    for trains in later:  # must not reach into what was saved
        land(here, trains)
    there.cells.restore(cells)
    there.restore(own)
    for trains in later:
        land(there, trains)
    assert torch.equal(here.cells.g, there.cells.g)
    assert torch.equal(here.cells.wear, there.cells.wear)
    assert {k: v.tolist() for k, v in here.state().items()} == {
        k: v.tolist() for k, v in there.state().items()
    }


@pytest.mark.parametrize("kind", KINDS)
def test_wear_counts_every_pulse(kind: str) -> None:
    rng, what, landed = np.random.default_rng(6), cell_of(kind, "linear"), Landed()
    for _ in range(60):
        landed += land(what, random_trains(rng))
    assert int(what.cells.wear.sum()) == landed.up + landed.down
