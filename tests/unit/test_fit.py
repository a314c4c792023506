"""Fitting a card: what went into a simulated measurement comes out, however it was written down."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hwtrain.analysis.fit import Fit, fit
from hwtrain.analysis.fit_card import card_text
from hwtrain.arith.threefry import Purpose, Streams
from hwtrain.cards import SynapseCard, read_card
from hwtrain.cli import main
from hwtrain.data.response import Response, Sweep, read_response
from hwtrain.errors import DataError
from hwtrain.synapse.conductances import Conductances
from tests.helpers import synapse_card

AG_SI = {"law": "affine", "levels_up": 97, "levels_down": 100, "label_up": 2.4, "label_down": -4.88}
FEFET = {"law": "affine", "levels_up": 60, "levels_down": 60, "label_up": 1.75, "label_down": 1.46}
LINEAR = {"law": "linear", "levels_up": 64, "levels_down": 64}


def measured(card: SynapseCard, cycles: int, read: float = 0.0, device: int = 0) -> list[Sweep]:
    """Sweeps over the card's levels; ``read``: sd of a read as a share of the conductance."""
    streams = Streams(device)
    cells = Conductances(card, (1,), streams, 0, torch.float64, torch.device("cpu"))
    draws = streams.stream(Purpose.PULSE)
    where = torch.zeros(1, dtype=torch.long)
    rng = np.random.default_rng(device)
    sweeps, number = [], 0
    for cycle in range(1, cycles + 1):
        for way, sign in (("up", 1), ("down", -1)):
            g = [float(cells.siemens()[0])]
            for _ in range(int(card.response[f"levels_{way}"])):
                number += 1
                cells.pulse(where, torch.tensor([sign]), draws.at(number))
                g.append(float(cells.siemens()[0]))
            noisy = np.array(g) * (1 + read * rng.normal(size=len(g)))
            sweeps.append(Sweep(str(device), cycle, way, noisy))  # type: ignore[arg-type]
    return sweeps


def fitted(sweeps: list[Sweep]) -> Fit:
    return fit(Response(tuple(sweeps), 1, {}, "S", "simulated"))


@pytest.mark.parametrize(
    ("response", "c2c", "read", "cycles"),
    [
        pytest.param(AG_SI, 0.0, 0.0, 1, id="exact"),
        pytest.param(FEFET, 0.0, 0.0, 1, id="exact-retracing"),
        pytest.param(AG_SI, 0.002, 0.0, 10, id="scatter"),
        pytest.param(AG_SI, 0.0, 0.01, 5, id="read-noise"),
        pytest.param(FEFET, 0.001, 0.0, 10, id="scatter-retracing", marks=pytest.mark.slow),
    ],
)
def test_what_went_in_comes_out(response: dict[str, Any], c2c: float, read: float, cycles: int) -> None:
    """Of scattering devices the middle one of five: by AIC one in eight gets two parameters too many."""
    card = synapse_card(response, variation={"c2c_rel_range": c2c})
    devices = range(5) if c2c else range(1)
    fits = [fitted(measured(card, cycles, read, device=device)) for device in devices]
    assert {found.law for found in fits} == {"affine"}

    def value(name: str) -> float:
        return float(np.median([found.value(name) for found in fits]))

    for name in ("label_up", "label_down"):
        assert value(name) == pytest.approx(response[name], abs=0.05)
    assert value("g_min_S") == pytest.approx(1e-7, rel=0.01)
    assert value("g_max_S") == pytest.approx(1e-6, rel=0.01)
    assert value("c2c") == pytest.approx(c2c, rel=0.1)
    if read:
        assert value("read_noise") == pytest.approx(read, rel=0.1)


@pytest.mark.parametrize("c2c", [0.005, 0.01, 0.035])
def test_scatter_is_found_with_and_without_clipping(c2c: float) -> None:
    card = synapse_card(AG_SI, variation={"c2c_rel_range": c2c})
    assert fitted(measured(card, 10)).value("c2c") == pytest.approx(c2c, rel=0.1)


@pytest.mark.slow
def test_intervals_hold_what_went_in() -> None:
    inside = []
    for device in range(30):
        found = fitted(measured(synapse_card(AG_SI), 2, read=0.02, device=device))
        for name, true in (("label_up", 2.4), ("label_down", -4.88), ("g_max_S", 1e-6)):
            half = found.figures[name].half
            assert half
            inside.append(abs(found.value(name) - true) < half)
    assert np.mean(inside) > 0.8


def test_a_straight_foundis_linear() -> None:
    found = fitted(measured(synapse_card(LINEAR), 3, read=0.01))
    assert found.law == "linear"
    assert found.value("levels_up") == pytest.approx(64, rel=0.02)


def test_one_device_and_one_cycle_identify_less(tmp_path: Path) -> None:
    card = synapse_card(AG_SI, variation={"c2c_rel_range": 0.002})
    alone = fitted(measured(card, 1, read=0.01))
    assert alone.c2c_is_bound
    assert alone.unknown == {"device-to-device": "one device", "read noise": "one cycle"}
    text = card_text(alone)
    assert "dtod" not in text.replace("device-to-device", "")
    assert "upper bound" in text
    assert "noise_rel" not in text
    (tmp_path / "card.toml").write_text(text)
    assert read_card(tmp_path / "card.toml").kind == "synapse"


def test_many_devices_give_their_spread() -> None:
    card = synapse_card(
        AG_SI, variation={"step_dtod": 0.1}, range={"g_max_dtod": 0.05}, read={}, faults={}, pulse={}
    )
    sweeps = [s for device in range(20) for s in measured(card, 2, read=0.005, device=device)]
    found = fitted(sweeps)
    assert found.devices == 20
    assert found.value("g_max_dtod") == pytest.approx(0.05, rel=0.5)
    assert found.value("step_dtod") == pytest.approx(0.1, rel=0.5)
    assert found.value("label_dtod") < 0.6
    assert "step_dtod = " in card_text(found)


def table(
    sweeps: list[Sweep], scale: Callable[[float], float] = lambda g: g, mark: str = "."
) -> list[list[str]]:
    """Long rows: device, cycle, pulse, direction, value; pulses are counted anew in each sweep."""
    return [
        [s.device, str(s.cycle), str(at), s.direction, repr(float(scale(g))).replace(".", mark)]
        for s in sweeps
        for at, g in enumerate(s.g)
    ]


def encodings(sweeps: list[Sweep]) -> dict[str, tuple[bytes, list[str]]]:
    """One measurement in twelve files, each with the flags it needs."""
    head = ["device", "cycle", "pulse", "direction"]

    def text(rows: list[list[str]], name: str, by: str = ",") -> str:
        return "".join(by.join(row) + "\n" for row in [[*head, name], *rows])

    plain = table(sweeps)
    commas = table(sweeps, mark=",")
    words = {"up": "LTP", "down": "LTD"}
    renamed = [[*row[:3], words[row[3]], row[4]] for row in plain]
    extra = [[*row, "1.5", "100"] for row in plain]
    extra_text = "".join(
        ",".join(row) + "\n" for row in [[*head, "G [S]", "amplitude [V]", "width [ns]"], *extra]
    )
    return {
        "plain": (text(plain, "G_S").encode(), []),
        "unit-flag": (text(plain, "G").encode(), ["--unit", "S"]),
        "micro": (text(table(sweeps, lambda g: g * 1e6), "G (µS)").encode(), []),
        "nano-latin": (text(table(sweeps, lambda g: g * 1e9), "µ-test G (nS)").encode("latin-1"), []),
        "ohm": (text(table(sweeps, lambda g: 1 / g), "R [Ohm]").encode(), []),
        "current": (text(table(sweeps, lambda g: g * 0.2 * 1e9), "I (nA)").encode(), ["--v-read", "0.2"]),
        "semicolon": (text(commas, "G_S", ";").encode(), []),
        "tab": (text(plain, "G_S", "\t").encode(), []),
        "bom": (text(plain, "G_S").encode("utf-8-sig"), []),
        "utf-16": (text(commas, "G_S", ";").encode("utf-16"), []),
        "preamble": (b"Instrument 7\r\nDate: 1.2.2020, 3 pm\r\n\r\n" + text(plain, "G_S").encode(), []),
        "more-columns": (extra_text.encode(), []),
        "words": (text(renamed, "conductance [S]").replace("\n", "\r\n").encode(), []),
    }


def test_twelve_encodings_give_one_card(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    card = synapse_card(AG_SI, variation={"c2c_rel_range": 0.005})
    sweeps = measured(card, 3, read=0.01)
    cards = {}
    for name, (data, flags) in encodings(sweeps).items():
        (tmp_path / f"{name}.csv").write_bytes(data)
        out = tmp_path / f"{name}.toml"
        code = main(
            ["devices", "fit", str(tmp_path / f"{name}.csv"), "--out", str(out), "--title", "t", *flags]
        )
        assert code == 0, capsys.readouterr().err
        read = read_card(out)
        assert isinstance(read, SynapseCard)
        cards[name] = read
        assert out.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
        assert out.with_suffix(".svg").is_file()
    assert len(cards) >= 12
    first = cards.pop("plain")
    assert cards["more-columns"].pulse.v_up_V == 1.5
    assert cards["more-columns"].pulse.t_down_s == pytest.approx(100e-9)
    for other in cards.values():
        for part in ("range", "response", "variation"):
            ours, theirs = getattr(first, part), getattr(other, part)
            ours, theirs = (
                x if isinstance(x, dict) else x.model_dump(exclude_none=True) for x in (ours, theirs)
            )
            assert ours.keys() == theirs.keys()
            for key, value in ours.items():
                assert theirs[key] == (value if isinstance(value, str) else pytest.approx(value, rel=1e-9)), (
                    key
                )


def test_two_columns_and_a_trace_without_directions(tmp_path: Path) -> None:
    up, down = measured(synapse_card(FEFET), 1)
    columns = "up_uS,down_uS\n" + "".join(
        f"{a * 1e6!r},{b * 1e6!r}\n" for a, b in zip(up.g.tolist(), down.g.tolist(), strict=True)
    )
    (tmp_path / "two.csv").write_text(columns)
    both = np.concatenate([up.g, down.g[1:]])
    (tmp_path / "one.csv").write_text(
        "pulse,G/S\n" + "".join(f"{at},{g!r}\n" for at, g in enumerate(both.tolist()))
    )
    for name in ("two", "one"):
        found = fit(read_response(tmp_path / f"{name}.csv"))
        assert found.value("label_up") == pytest.approx(1.75, abs=0.01)
        assert found.value("label_down") == pytest.approx(1.46, abs=0.01)


@pytest.mark.parametrize("noise", [0.0, 0.02])
@pytest.mark.parametrize("every", [1, 5])
def test_turns_are_found_where_the_file_does_not_say_them(noise: float, every: int, tmp_path: Path) -> None:
    response = {**AG_SI, "levels_up": 60, "levels_down": 60, "label_down": -3.0}
    up, down = measured(synapse_card(response), 1)
    rng = np.random.default_rng(1)
    g = np.concatenate([up.g, *[np.concatenate([down.g[1:], up.g[1:]])] * 2, down.g[1:]])[::every]
    rows = [
        f"{every * at},{v!r}\n" for at, v in enumerate((g * (1 + noise * rng.normal(size=len(g)))).tolist())
    ]
    (tmp_path / "data.csv").write_text("pulse,G [S]\n" + "".join(rows))
    found = read_response(tmp_path / "data.csv")
    assert found.every == every
    assert [(s.direction, s.cycle) for s in found.sweeps] == [
        (w, c) for c in (1, 2, 3) for w in ("up", "down")
    ]
    assert all(abs(len(s.g) - 60 // every - 1) <= 2 * (noise > 0) for s in found.sweeps)
    assert fit(found).value("label_up") == pytest.approx(2.4, abs=0.3 if noise else 1e-3)


@pytest.mark.parametrize(
    ("text", "flags", "part"),
    [
        ("down,up\n", ["--unit", "S"], "LTP pulses lower"),
        ("up,down\n", [], "--unit with one of"),
        ("pulse,G\n", [], "--unit with one of"),
        ("up,down\n", ["--unit", "furlong"], "write S, mS"),
        ("up_S,down_S\n", ["--unit", "uS"], "keep one of them"),
        ("I_uA,x\n", [], "head them"),
        ("up_uA,down_uA\n", [], "--v-read"),
        ("up,down\n", ["--unit", "1"], "--g-min"),
        ("up,down\n", ["--unit", "1", "--g-min", "2", "--g-max", "1"], "0 < g_min < g_max"),
        ("up,down\n", ["--unit", "A", "--v-read", "0"], "v_read"),
    ],
)
def test_what_cannot_be_known_is_asked_for(
    text: str, flags: list[str], part: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    width = 3 if "I_uA" in text else 2
    rows = "".join(f"{k + 1}.5,{12 - k}.5" + ",1" * (width - 2) + "\n" for k in range(12))
    (tmp_path / "data.csv").write_text(text + rows)
    assert (
        main(["devices", "fit", str(tmp_path / "data.csv"), "--out", str(tmp_path / "c.toml"), *flags]) == 2
    )
    err = capsys.readouterr().err
    assert part in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "c.toml").exists()


def test_the_tables_of_crosssim(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    g, p = np.linspace(1.0, 10.0, 40), np.linspace(0, 1, 201)[1:-1]
    scatter = 0.05 * np.array([statistics.NormalDist().inv_cdf(x) for x in p])
    for name, mean in (("up", 0.04 * (12 - g)), ("down", -0.03 * (g + 1))):
        rows = [g, p, *(mean + scatter[:, None])]
        lines = ["a comment, of CrossSim", *(" ".join(f"{v:.9g}" for v in row) for row in rows)]
        (tmp_path / f"{name}.csv").write_text("\n".join(lines))
    out, (up, down) = tmp_path / "card.toml", (str(tmp_path / f"{way}.csv") for way in ("up", "down"))
    assert main(["devices", "fit", up, "--down", down, "--unit", "uS", "--out", str(out), "--json"]) == 0
    found = read_card(out)
    assert isinstance(found, SynapseCard)
    assert found.range.g_max_S == pytest.approx(10e-6, rel=0.05)
    wide = (found.range.g_max_S - found.range.g_min_S) / 1e-6
    assert found.variation.c2c_rel_range * wide == pytest.approx(0.05, rel=0.05)
    step, _ = found.law().nominal("up")
    assert step * wide == pytest.approx(0.44, rel=0.05)
    told = json.loads(capsys.readouterr().out)
    assert told["card"] == str(out)
    assert told["figures"]["c2c"]["value"] == pytest.approx(found.variation.c2c_rel_range, rel=1e-3)
    for argv in (
        [up, "--down", down],
        [down, "--down", up, "--unit", "S"],
        [up, "--down", str(out), "--unit", "S"],
    ):
        assert main(["devices", "fit", *argv, "--out", str(out)]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1


def test_the_published_trace(shared: Path, tmp_path: Path) -> None:
    response = read_response(shared / "data" / "synapse" / "gong_et_al.csv", unit="1")
    found = fit(response, g_range=(1e-6, 1e-5))
    assert found.r2["up"] >= 0.91
    assert found.r2["down"] >= 0.88
    (tmp_path / "gong.toml").write_text(card_text(found))
    assert read_card(tmp_path / "gong.toml").kind == "synapse"


def test_fitting_does_not_import_torch() -> None:
    code = "import sys, hwtrain.analysis.fit_card, hwtrain.data.response; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_card_takes_less_than_two_seconds(tmp_path: Path) -> None:
    sweeps = measured(synapse_card(AG_SI, variation={"c2c_rel_range": 0.01}), 10, read=0.01)
    data, _ = encodings(sweeps)["plain"]
    (tmp_path / "data.csv").write_bytes(data)
    began = time.process_time()
    assert main(["devices", "fit", str(tmp_path / "data.csv"), "--out", str(tmp_path / "card.toml")]) == 0
    assert time.process_time() - began < 2


def test_damaged_files_are_one_line_or_a_card(tmp_path: Path) -> None:
    sweeps = measured(synapse_card(FEFET, variation={"c2c_rel_range": 0.02}), 1)
    sources = [data for data, _ in encodings(sweeps).values()]
    file, read = tmp_path / "data.csv", 0
    messages = []
    for case in range(150):
        rng = np.random.default_rng(case)
        data = bytearray(sources[case % len(sources)])
        match rng.integers(4):
            case 0:
                del data[int(rng.integers(len(data))) :]
            case 1:
                at = int(rng.integers(len(data)))
                data[at:at] = rng.bytes(9)
            case 2:
                at = int(rng.integers(len(data) - 40))
                del data[at : at + int(rng.integers(40))]
            case _:
                for at in rng.integers(len(data), size=4):
                    data[at] ^= 1 << int(rng.integers(8))
        file.write_bytes(bytes(data))
        try:
            card_text(fit(read_response(file, v_read=0.2)))
            read += 1
        except DataError as problem:
            messages.append(str(problem))
    assert max(map(len, messages)) < 400
    assert 20 < read < 140
