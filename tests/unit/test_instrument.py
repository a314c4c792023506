"""Instruments in the loop: what can go wrong with them, and that no measurement is repeated or lost."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from hwtrain.analysis.physical_serve import _Cells, _Physics
from hwtrain.arith.threefry import Streams
from hwtrain.cards import PhysicalCard, SynapseCard, card
from hwtrain.cards.instrument import Instrument as InstrumentCard
from hwtrain.cli import main
from hwtrain.direction import Dense, Outer
from hwtrain.errors import (
    ConfigError,
    IncompatibleRule,
    InstrumentBroken,
    InstrumentDied,
    InstrumentSlow,
    RunError,
)
from hwtrain.files import write_file
from hwtrain.physical.instrument import Folder, Impossible, Instrument, Pipe, connect, serve
from hwtrain.physical.journal import Journal
from hwtrain.report.run_folder import LayerCounts
from hwtrain.report.tables import _worn
from hwtrain.substrates.base import Geometry, Options, Trial, substrate_of
from hwtrain.training.metrics import endurance_used, warnings_of
from hwtrain.training.observe import layer_figures
from tests.helpers import NAMES

KILLS = 10
"""Of either side."""
X = torch.rand(4, 3, generator=torch.Generator().manual_seed(0))

SERVER = """
import json, sys, time
sys.path[:0] = []
mood, log = sys.argv[1], sys.argv[2]
for line in sys.stdin:
    asked = json.loads(line)
    with open(log, "a") as file:
        file.write(f"{asked['pass']}.{asked['try']}\\n")
    y = [[sum(row), 2 * row[0]] for row in asked["x"]]
    ill = asked["pass"] == 2 and (mood[-1] == "!" or asked["try"] == 0)
    if ill and mood[:5] == "stuck":
        time.sleep(60)
    if ill and mood[:3] == "nan":
        y[1][0] = float("nan")
    if ill and mood[:4] == "wide":
        y[1][0] = 1e9
    if ill and mood[:5] == "short":
        y = y[:-1]
    if ill and mood[:4] == "thin":
        y = [row[:-1] for row in y]
    answer = json.dumps({"pass": asked["pass"], "try": asked["try"], "y": y})
    if ill and mood[:4] == "half":
        sys.stdout.write(answer[:20]); sys.stdout.flush(); sys.exit(3)
    if ill and mood[:4] == "bare":
        sys.stdout.write(answer); sys.stdout.flush(); sys.exit(3)
    if ill and mood[:4] == "dead":
        sys.exit(4)
    sys.stdout.write(answer + "\\n"); sys.stdout.flush()
"""


def pipe(tmp_path: Path, mood: str, timeout: float = 20.0, **keys: Any) -> Pipe:
    (tmp_path / "server.py").write_text(SERVER)
    command = [sys.executable, str(tmp_path / "server.py"), mood, str(tmp_path / "log")]
    return Pipe(InstrumentCard(command=command, timeout_s=timeout, high=100.0, **keys), "phi.medium", 2)


def test_a_healthy_instrument_is_asked_once_a_pass(tmp_path: Path) -> None:
    made = pipe(tmp_path, "fine")
    for _ in range(4):
        y = made.measure(X)
        torch.testing.assert_close(y, torch.stack([X.sum(1), 2 * X[:, 0]], 1))
    made.close()
    assert (tmp_path / "log").read_text().split() == ["0.0", "1.0", "2.0", "3.0"]


@pytest.mark.parametrize(
    ("mood", "error", "said"),
    [
        ("stuck!", InstrumentSlow, "no answer within 0.5 s"),
        ("nan!", Impossible, "holds nan, no number"),
        ("wide!", Impossible, "outside of -1e+06 to 100"),
        ("short!", Impossible, "not one row a sample (4)"),
        ("thin!", Impossible, "rows of not 2 numbers"),
        ("half!", InstrumentBroken, "no whole line of JSON"),
        ("bare!", InstrumentBroken, "no whole line of JSON"),
        ("dead!", InstrumentDied, "the process ended (exit code"),
    ],
)
def test_an_ill_instrument_is_a_typed_error_that_names_the_pass(
    mood: str, error: Any, said: str, tmp_path: Path
) -> None:
    made = pipe(tmp_path, mood, 20.0, retries=0)
    made.measure(X)
    made.measure(X)
    if mood == "stuck!":
        made.card = made.card.model_copy(update={"timeout_s": 0.5})
    with pytest.raises(error) as found:
        made.measure(X)
    assert str(found.value).startswith("layer phi.medium: instrument: pass 2: ")
    assert said in str(found.value)
    assert made.number == 2  # the pass is still to be measured
    made.close()


@pytest.mark.parametrize("mood", ["nan", "wide", "short"])
def test_a_second_try_of_what_cannot_be_right_is_a_new_measurement(mood: str, tmp_path: Path) -> None:
    made = pipe(tmp_path, mood)
    for _ in range(4):
        assert made.measure(X).isfinite().all()
    made.close()
    assert (tmp_path / "log").read_text().split() == ["0.0", "1.0", "2.0", "2.1", "3.0"]


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    made = Pipe(InstrumentCard(command=[str(tmp_path / "none")]), "phi.medium", 2)
    with pytest.raises(InstrumentDied, match=r"pass 0: cannot start .*none: No such file"):
        made.measure(X)


def test_a_folder_waits_for_answers_and_keeps_them(tmp_path: Path) -> None:
    made = Folder(InstrumentCard(folder=str(tmp_path), timeout_s=0.1, retries=0), "phi.medium", 2)
    with pytest.raises(
        InstrumentSlow, match=r"pass 0: .*answer-000000-0-measure.csv is not there after 0.1 s"
    ):
        made.measure(X)
    request = (tmp_path / "request-000000-0-measure.csv").read_text()
    assert [[float(v) for v in line.split(",")] for line in request.splitlines()] == X.tolist()
    answer = tmp_path / "answer-000000-0-measure.csv"
    answer.write_text("1,2\n1,2\n1,2\n1,2")
    with pytest.raises(InstrumentBroken, match="ends within a line"):
        made.measure(X)
    answer.write_text("1,2\n1,2\n1,two\n1,2\n")
    with pytest.raises(Impossible, match="not a table of numbers"):
        made.measure(X)
    answer.write_text("1,2\n1,2\n1,3\n1,2\n")
    assert made.measure(X).tolist() == [[1, 2], [1, 2], [1, 3], [1, 2]]
    again = Folder(made.card, "phi.medium", 2)
    (tmp_path / "request-000000-0-measure.csv").unlink()
    assert again.measure(X)[2, 1] == 3
    assert not (tmp_path / "request-000000-0-measure.csv").exists()  # without a new request


def test_a_journal_drops_a_torn_line_and_refuses_a_second_entry(tmp_path: Path) -> None:
    with Journal(tmp_path / "log") as journal:
        journal.put("0.0", [1])
        journal.put("1.0", [2])
        with pytest.raises(RunError, match="a pass is measured once"):
            journal.put("1.0", [3])
    with (tmp_path / "log").open("a") as file:
        file.write('{"name": "2.0", "val')
    with Journal(tmp_path / "log") as journal:
        assert journal.entries == {"0.0": [1], "1.0": [2]}
        journal.put("2.0", [4])
    assert len((tmp_path / "log").read_text().splitlines()) == 3


# --- an array of cells behind the same lines ---


class Here(Instrument):
    """An instrument in this process, with a log as one in another process has it."""

    def __init__(self, its: InstrumentCard, log: Path, cells: Any) -> None:
        super().__init__(its, "fc1.weight", 3)
        self.log, self.cells, self.asked = log, cells, list[str]()

    def request(self, number: int, attempt: int, op: str, x: Any) -> Any:
        line = json.dumps({"pass": number, "try": attempt, "op": op, "x": x})
        said: list[str] = []
        serve(self.log, self.cells.answer, [line], said.append)
        self.asked.append(op)
        return json.loads(said[0])["y"]


def cells(name: str) -> Any:
    its = card(name)
    assert isinstance(its, SynapseCard)
    return _Cells(its, 5, 3, seed=7)


def wired(tmp_path: Path, name: str, update: str, **instrument: Any) -> Any:
    values = card(name).model_dump(by_alias=True, exclude_unset=True)
    its = SynapseCard.model_validate(values | {"instrument": instrument or {"command": ["none"]}})
    made = substrate_of(its, Options(update=update)).array(GEOMETRY, Trial(Streams(0)))
    if not instrument:
        made.source = Here(made.source.card, tmp_path / "cells.log", cells(name))  # type: ignore[attr-defined]
    return made


GEOMETRY = Geometry("fc1.weight", 1, 1, 3, 5, 0.4)
W = torch.randn(1, 3, 5, generator=torch.Generator().manual_seed(2)) * 0.4


def directions(n: int) -> list[Any]:
    draw = torch.Generator().manual_seed(4)

    def some(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=draw)

    return [
        Dense(some(1, 3, 5) * 0.02) if k % 3 else Outer(some(2, 1, 5), some(2, 1, 3), 0.05) for k in range(n)
    ]


@pytest.mark.parametrize("update", ["sign-pulse", "stochastic-pulse"])
def test_an_array_behind_an_instrument_is_the_array(update: str, tmp_path: Path) -> None:
    made = wired(tmp_path, "ideal-envm", update)
    made.load(W)
    assert float((made.peek() - W).abs().max()) < 0.51 * made.step
    alone: Any = substrate_of(card("ideal-envm"), Options(update=update)).array(GEOMETRY, Trial(Streams(0)))
    alone.load(made.peek())
    for its in (made, alone):
        for step, direction in enumerate(directions(12)):
            its.trial.ledger.clock.step = step
            its.write(direction)
    torch.testing.assert_close(made.peek(), alone.peek(), rtol=0, atol=1e-6)
    assert float((made.peek() - W).abs().max()) > 2 * made.step  # and they moved
    x, d = torch.rand(4, 1, 5), torch.rand(4, 1, 3)
    torch.testing.assert_close(made.read(x), alone.read(x), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(made.read_t(d), alone.read_t(d), rtol=1e-4, atol=1e-5)
    ours, theirs = (its.trial.ledger.of("init", "fc1.weight", "write") for its in (made, alone))
    up, down = (
        sum(n for line in _requests(tmp_path, "pulse") for _, n in line["x"] if n * way > 0)
        for way in (1, -1)
    )
    assert (ours["pulses_up"], -ours["pulses_down"]) == (up, down)
    assert ours["slots"] > theirs["slots"]  # a load's pulses are counted too


def _requests(tmp_path: Path, op: str) -> list[Any]:
    lines = [json.loads(line)["value"] for line in (tmp_path / "cells.log").read_text().splitlines()]
    return [line for line in lines if line["op"] == op]


class Laboratory(threading.Thread):
    """Somebody who answers a folder's requests with what an array of cells does."""

    def __init__(self, folder: Path, cells: Any) -> None:
        super().__init__(daemon=True)
        self.folder, self.cells, self.closing, self.ops = folder, cells, threading.Event(), list[str]()

    def run(self) -> None:
        while not self.closing.wait(0.005):
            for request in sorted(self.folder.glob("request-*.csv")):
                answer = self.folder / request.name.replace("request", "answer")
                if answer.exists():
                    continue
                number, attempt, op = request.stem.split("-")[1:]
                x = [[float(value) for value in line.split(",")] for line in request.read_text().splitlines()]
                y = self.cells.answer(op, x, int(number), int(attempt))
                self.ops.append(op)
                write_file(answer, "".join(",".join(map(repr, row)) + "\n" for row in y))


def test_an_array_is_loaded_and_written_through_a_folder(tmp_path: Path) -> None:
    made = wired(tmp_path, "ideal-envm", "sign-pulse", folder=str(tmp_path), timeout_s=20.0)
    alone = wired(tmp_path, "ideal-envm", "sign-pulse")
    laboratory = Laboratory(tmp_path, cells("ideal-envm"))
    laboratory.start()
    try:
        for its in (made, alone):
            its.load(W)
            its.write(directions(2)[1])
        torch.testing.assert_close(made.peek(), alone.peek())
    finally:
        laboratory.closing.set()
        laboratory.join()
    assert laboratory.ops.count("pulse") >= 2
    names = {request.name for request in tmp_path.glob("request-*.csv")}
    assert {"request-000000-0-read.csv", "request-000001-0-pulse.csv"} <= names
    assert (tmp_path / "answer-000001-0-pulse.csv").read_bytes() == b""


def test_pulses_whose_answer_cannot_be_right_are_not_landed_again(tmp_path: Path) -> None:
    made = Folder(InstrumentCard(folder=str(tmp_path), timeout_s=0.1, retries=2), "fc1.weight", 3)
    pulses, answer = torch.tensor([[0, 2], [4, -1]]), tmp_path / "answer-000000-0-pulse.csv"
    for text in ("0\n", "done\n"):
        answer.write_text(text)
        with pytest.raises(Impossible):
            made.ask("pulse", pulses, None)
    assert [path.name for path in tmp_path.iterdir()] == [answer.name]  # no request with another try
    for number, text in enumerate(("", "\n")):
        (tmp_path / f"answer-00000{number}-0-pulse.csv").write_text(text)
        assert made.ask("pulse", pulses, None).shape == (0, 0)
    (tmp_path / "answer-000002-0-read.csv").write_text("")
    with pytest.raises(InstrumentBroken, match="ends within a line"):  # rows are due
        made.ask("read", torch.ones(1, 5), 3)


class Weak(_Cells):
    """Cells of which two take no pulses."""

    def on_pulse(self, x: torch.Tensor, number: int) -> torch.Tensor:
        return super().on_pulse(x[(x[:, 0] != 7) & (x[:, 0] != 9)], number)


def test_what_a_load_cannot_reach_is_counted_and_warned_about(tmp_path: Path) -> None:
    made = wired(tmp_path, "ideal-envm", "sign-pulse")
    made.source.cells = Weak(card("ideal-envm"), 5, 3, seed=7)
    wanted = torch.zeros(1, 3, 5)
    wanted.view(-1)[0] = 2 * made.w_max
    before = made.peek().flatten()
    wanted.view(-1)[7] = before[7] + 9 * made.step
    wanted.view(-1)[9] = before[9] - 4 * made.step
    made.load(wanted)
    load = made.trial.ledger.of("init", "fc1.weight", "load")
    assert {name: load[name] for name in ("weights", "beyond", "off", "off_steps")} == {
        "weights": 15, "beyond": 1, "off": 2, "off_steps": 13
    }  # fmt: skip
    (said,) = _warned(made)
    assert said.startswith("layer fc1.weight on device lab: 2 of 15 first weights stayed off, by 6.5 steps")
    healthy = wired(tmp_path, "ideal-envm", "sign-pulse")
    healthy.source.log = tmp_path / "healthy.log"
    healthy.load(W)
    assert _warned(healthy) == []


def _warned(array: Any) -> list[str]:
    net: Any = SimpleNamespace(arrays=lambda: [("fc1.weight", array)])
    layers = layer_figures(net, array.trial.ledger, samples=1, steps=1)
    layers["fc1.weight"] |= {"weights_beyond": 0}  # of which there is a warning of its own
    outcome: Any = SimpleNamespace(
        spec=SimpleNamespace(device="lab", rule="backprop"),
        position=SimpleNamespace(rows=[{"layers": layers}]),
    )
    return warnings_of(outcome)


def test_wear_in_a_laboratory_is_unknown(tmp_path: Path) -> None:
    made = wired(tmp_path, "ideal-envm", "sign-pulse")
    net: Any = SimpleNamespace(arrays=lambda: [("fc1.weight", made)])
    figures = layer_figures(net, made.trial.ledger, samples=1, steps=1)["fc1.weight"]
    assert figures["wear"] is None
    counted = LayerCounts.model_validate(figures | {"endurance": 1e6})
    assert _worn([counted]).text == "unknown"
    assert _worn([counted]).value is None
    assert endurance_used([figures | {"endurance": 1e6}]) is None
    assert endurance_used([{"wear": 10, "endurance": 1e6}]) == 1e-5


def test_a_log_replays_an_array_and_a_resumed_training_asks_for_nothing_new(tmp_path: Path) -> None:
    made = wired(tmp_path, "rpu-gokmen-vlasov", "sign-pulse")
    made.load(W)
    kept = made.state()
    for direction in directions(5):
        made.write(direction)
    after, passes = made.peek(), made.source.number
    other = wired(tmp_path, "rpu-gokmen-vlasov", "sign-pulse")  # both sides anew, the log is there
    serve(tmp_path / "cells.log", other.source.cells.answer, [], print, other.source.cells.again)
    torch.testing.assert_close(
        other.source.cells.array.peek() * other.w_max, made.source.cells.array.peek() * made.w_max
    )
    before = (tmp_path / "cells.log").read_bytes()
    other.restore(kept)
    for direction in directions(5):
        other.write(direction)
    assert torch.equal(other.peek(), after)
    assert other.source.number == passes
    assert (tmp_path / "cells.log").read_bytes() == before
    other.source.number = 0
    with pytest.raises(RunError, match="pass 0 was asked for with another request"):
        other.read(torch.rand(2, 1, 5))


def test_what_an_array_behind_an_instrument_cannot_do(tmp_path: Path) -> None:
    for update in ("tiki-taka", "symmetry-shift"):
        with pytest.raises(IncompatibleRule, match="choose --update sign-pulse"):
            wired(tmp_path, "ideal-envm", update)
    made = wired(tmp_path, "ideal-envm", "sign-pulse")
    with pytest.raises(IncompatibleRule, match="no kernels in C"):
        made.live()
    with pytest.raises(
        ConfigError, match="pass 0: 'melt': this instrument can only pulse and read and read_t"
    ):
        made.source.ask("melt", torch.zeros(1, 1), 1)
    with pytest.raises(ConfigError, match="pass 0: 'read': this instrument can only measure"):
        _Physics(card("fibre"), 3, 2, 0).answer("read", [[0.0] * 3], 0, 0)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("garbage", "no line of JSON with pass, try, op, x"),
        ('{"pass": 0}', "no line of JSON with pass, try, op, x"),
        ('{"pass": 0, "try": 0, "op": "read", "x": [[1, 2]]}', "pass 0: x of read is rows of 5 numbers"),
        ('{"pass": 0, "try": 0, "op": "read_t", "x": [[1, 2, "a"]]}', "x of read_t is rows of 3 numbers"),
        ('{"pass": 0, "try": 0, "op": "pulse", "x": [[15, 1]]}', "weights are numbered 0 to 14, not [15]"),
        ('{"pass": 0, "try": 0, "op": "pulse", "x": [[-1, 1]]}', "weights are numbered 0 to 14, not [-1]"),
        ('{"pass": 4, "try": 0, "op": "pulse", "x": [[15, 1]]}', "pass 4: weights are numbered 0 to 14"),
        ('{"pass": 0, "try": 0, "op": "pulse", "x": [[1, 1.5]]}', "x of pulse is rows of weight and pulses"),
        ('{"pass": 0, "try": 0, "op": "pulse", "x": [[0.5, 1]]}', "x of pulse is rows of weight and pulses"),
        (
            '{"pass": 0, "try": 0, "op": "pulse", "x": [[1, 1e300]]}',
            "x of pulse is rows of weight and pulses",
        ),
        ('{"pass": 0, "try": 0, "op": "pulse", "x": [[1, NaN]]}', "x of pulse is rows of 2 numbers"),
        ('{"pass": 0, "try": 0, "op": "pulse", "x": [[NaN, 1]]}', "x of pulse is rows of 2 numbers"),
        (
            '{"pass": 0, "try": 0, "op": "pulse", "x": [[3, 1], [3, 2]]}',
            "pass 0: x of pulse names a weight twice",
        ),
        ('{"pass": 0, "try": 0, "op": "read", "x": 5}', "pass 0: x of read is rows of 5 numbers"),
        ('{"pass": 0, "try": 0, "op": "read", "x": [5]}', "pass 0: x of read is rows of 5 numbers"),
        ('{"pass": 0, "try": 0, "op": ["read"], "x": []}', "no line of JSON with pass, try, op, x"),
        ('{"pass": 0.5, "try": 0, "op": "read", "x": []}', "no line of JSON with pass, try, op, x"),
        ('{"pass": 0, "try": 16, "op": "read", "x": []}', "pass 0: try 16: tries are 0 to 15"),
    ],
)
def test_a_request_that_cannot_be_answered_is_one_line_and_not_logged(
    line: str, said: str, tmp_path: Path
) -> None:
    with pytest.raises((ConfigError, RunError), match=re.escape(said)):
        serve(tmp_path / "log", cells("ideal-envm").answer, [line], print)
    assert (tmp_path / "log").read_bytes() == b""
    with pytest.raises(RunError, match="cannot keep a log there: No such file or directory"):
        Journal(tmp_path / "none" / "log")


def test_the_layer_is_named_in_command_and_folder() -> None:
    made: Any = connect(InstrumentCard(command=["a", "{layer}.log"]), "phi.medium", 2)
    assert made.card.command == ["a", "phi.medium.log"]
    made = connect(InstrumentCard(folder="lab/{layer}"), "phi.medium", 2)
    assert made.card.folder == "lab/phi.medium"


def test_a_number_where_rows_of_one_number_belong_is_refused() -> None:
    alone = _Cells(card("ideal-envm"), 1, 3, seed=7)
    with pytest.raises(ConfigError, match="pass 0: x of read is rows of 1 numbers"):
        alone.answer("read", 5, 0, 0)


def test_no_two_tries_of_any_pass_have_the_same_noise() -> None:
    with pytest.raises(ValidationError, match="less than or equal to 15"):
        InstrumentCard(folder="lab", retries=16)
    fibre = _Physics(card("drifting-fibre"), 3, 30, 0)
    x = [[0.1, 0.2, 0.3]] * 4
    tries = InstrumentCard(folder="lab", retries=15).retries + 1
    found = {
        str(fibre.answer("measure", x, number, attempt)) for number in (0, 1) for attempt in range(tries)
    }
    assert len(found) == 2 * tries


@pytest.mark.slow
def test_an_array_in_another_process_keeps_its_weights_through_kills(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hwtrain", "physical", "serve", "ideal-envm", "--in", "5", "--out", "3"]
    command += ["--log", str(tmp_path / "{layer}.log")]
    made = wired(tmp_path, "ideal-envm", "sign-pulse", command=command, timeout_s=60.0)
    alone = wired(tmp_path, "ideal-envm", "sign-pulse")
    for its in (made, alone):
        its.load(W)
    for direction in directions(4):
        for child in _children(os.getpid()):
            os.kill(child, signal.SIGKILL)
        for its in (made, alone):
            its.write(direction)
    assert torch.equal(made.peek(), alone.peek())
    made.source.close()
    names = [json.loads(line)["name"] for line in (tmp_path / "fc1.weight.log").read_text().splitlines()]
    assert names == [f"{number}.0" for number in range(made.source.number)]


def served(tmp_path: Path, name: str = "fibre", timeout: float = 60.0) -> PhysicalCard:
    command = [sys.executable, "-m", "hwtrain", "physical", "serve", name, "--in", "3", "--out", "2"]
    command += ["--log", str(tmp_path / "served.log")]
    return PhysicalCard.model_validate(
        {"schema": 1, "kind": "physical", **NAMES, "instrument": {"command": command, "timeout_s": timeout}}
    )


def array(its: PhysicalCard) -> Any:
    return substrate_of(its, Options()).array(Geometry("phi.medium", 1, 1, 2, 3, 1.0), Trial(Streams(0)))


@pytest.mark.slow
def test_an_emulator_in_another_process_resumes_without_measuring_again(tmp_path: Path) -> None:
    made = array(served(tmp_path, "drifting-fibre"))
    first = [made.measure(X) for _ in range(2)]
    kept = made.state()
    later = made.measure(X)
    made.source.close()
    other = array(served(tmp_path, "drifting-fibre"))
    other.restore(kept)
    assert torch.equal(other.measure(X), later)  # out of the instrument's own log
    other.source.close()
    assert not torch.equal(first[0], first[1])  # noise
    log = [json.loads(line)["name"] for line in (tmp_path / "served.log").read_text().splitlines()]
    assert log == ["0.0", "1.0", "2.0"]


CLIENT = """
import sys, torch
sys.path.insert(0, sys.argv[3])
from tests.unit.test_instrument import X, array, served
from pathlib import Path
from hwtrain.physical.journal import Journal
folder, passes = Path(sys.argv[1]), int(sys.argv[2])
made = array(served(folder))
with Journal(folder / "client.log") as done:
    made.source.number = len(done.entries)
    while made.source.number < passes:
        number = made.source.number
        done.put(str(number), made.measure(X + number).tolist())
made.source.close()
"""


@pytest.mark.slow
def test_ten_kills_of_either_side_repeat_no_pass_and_lose_none(tmp_path: Path) -> None:
    passes, dice = 400, random.Random(3)
    (tmp_path / "client.py").write_text(textwrap.dedent(CLIENT))
    command = [sys.executable, str(tmp_path / "client.py"), str(tmp_path), str(passes)]
    command.append(str(Path(__file__).parents[2]))
    kills = {"client": 0, "instrument": 0}
    log = tmp_path / "served.log"
    while True:
        client = subprocess.Popen(command)
        began = _lines(log)
        while client.poll() is None and _lines(log) == began:  # until it measures
            time.sleep(0.01)
        side = "client" if kills["client"] <= kills["instrument"] else "instrument"
        if min(kills.values()) < KILLS:
            time.sleep(dice.uniform(0, 0.05))
            if client.poll() is None:
                if side == "client":
                    client.kill()
                else:
                    for child in _children(client.pid):
                        os.kill(child, signal.SIGKILL)
                kills[side] += 1
            if side == "client":
                client.wait()
                continue
            time.sleep(0.2)
            client.kill()  # and the rest of this life is done by the next client
            client.wait()
            continue
        client.wait(timeout=120)
        assert client.returncode == 0
        break
    assert kills["client"] >= KILLS
    assert kills["instrument"] >= KILLS
    numbers = [json.loads(line)["name"] for line in log.read_text().splitlines()]
    assert numbers == [f"{number}.0" for number in range(passes)]
    got = [json.loads(line) for line in (tmp_path / "client.log").read_text().splitlines()]
    assert [entry["name"] for entry in got] == [str(number) for number in range(passes)]
    alone = array(served(tmp_path).model_copy(update={"instrument": None, "physics": _fibre()}))
    for entry in got[:: passes // 7]:
        expected = alone.measure(X + int(entry["name"]))
        assert torch.tensor(entry["value"]).shape == expected.shape


def _fibre() -> dict[str, Any]:
    return card("fibre").physics  # type: ignore[union-attr]


def _lines(file: Path) -> int:
    return file.read_bytes().count(b"\n") if file.exists() else 0


def _children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        found += [int(child) for child in task.read_text().split()]
    return found


def test_an_answer_that_comes_late_is_passed_over(tmp_path: Path) -> None:
    """A pass asked for twice is answered twice; no answer is taken for that of the next pass."""
    late = tmp_path / "late.py"
    late.write_text(
        "import json, sys\n"
        "for line in sys.stdin:\n"
        "    a = json.loads(line)\n"
        "    old = {'pass': a['pass'] - 1, 'try': 0, 'y': [[9, 9]] * 4}\n"
        "    new = {'pass': a['pass'], 'try': a['try'], 'y': [[1, 1]] * 4}\n"
        "    print(json.dumps(old)); print(json.dumps(new), flush=True)\n"
    )
    made = Pipe(InstrumentCard(command=[sys.executable, str(late)]), "phi.medium", 2)
    assert threading.active_count() >= 1
    assert float(made.measure(X).max()) == 1
    made.close()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["serve", "fibre", "--in", "0", "--out", "2", "--log", "a.log"], "at least one input"),
        (["serve", "fibre", "--in", "2", "--out", "0", "--log", "a.log"], "one output"),
        (["serve", "float32", "--in", "2", "--out", "2", "--log", "a.log"], "neither physics nor synapses"),
        (["twin", "absent.csv", "absent.csv"], "absent.csv: No such file"),
        (["twin", "words.csv", "words.csv"], "words.csv: not a table of numbers"),
        (["study", "--samples", "3"], "samples = 3: at least 20"),
    ],
)
def test_bad_words_are_refused_in_a_line_and_nothing_is_written(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "words.csv").write_text("one,two\n")
    assert main(["physical", *words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["words.csv"]
