"""``hwtrain program``: the program of a trial out of its folder, natively and held to the interpreter."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from hwtrain import data
from hwtrain.analysis.programs import differences, next_samples, program_of
from hwtrain.cli import main, parser
from hwtrain.config import make_config
from hwtrain.export.run import NativeRunner
from hwtrain.program.ir import Listing, walk
from hwtrain.program.schedule import scheduled
from hwtrain.registry import names
from hwtrain.training import loop
from hwtrain.training.rebuild import rebuild
from tests.helpers import assert_equal, listing, write_csv

DEVICES = ["float32", "fixed8", "shift4"]
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on each device, in batches of 4 that do not fit the training set; one has its controls."""
    folder = tmp_path_factory.mktemp("runs")
    for device in DEVICES:
        config = make_config(net="64-8-10", device=device, batch=4, lr=0.1, epochs=1, seeds=1)
        loop.run(config, out=folder / device, controls=device == "fixed8")
    small = str(write_csv(folder / "small.csv", 60))
    config = make_config(data=small, net="4-3-3", device="taox-tio2", epochs=1, seeds=1)
    loop.run(config, out=folder / "taox-tio2", controls=False)
    return folder


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """``command(verb, run, ...)``: exit code, stdout and stderr of ``hwtrain program``."""

    def run(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(["program", *map(str, words)])
        return code, *capsys.readouterr()

    return run


def refused(found: tuple[int, str, str], *parts: str) -> None:
    code, out, err = found
    assert code == 2, err
    assert out == ""
    assert len(err.splitlines()) == 1
    assert err.startswith("hwtrain: ")
    for part in parts:
        assert part in err


@pytest.mark.parametrize("device", DEVICES)
def test_show_says_what_a_step_takes(runs: Path, command: Command, device: str) -> None:
    code, out, _ = command("show", runs / device)
    assert code == 0
    first, *text = out.splitlines()
    held, arena, bound, macs, traffic = (
        int(n.replace(",", "")) for n in re.findall(r"(?<![\w])[\d,]*\d(?![\w])", first)
    )
    assert macs == 4 * (64 * 8 + 8 + 8 * 10 + 10 + 8 * 10)  # forward with biases, one layer back
    width = 4 if device == "float32" else 2
    weights = width * (64 * 8 + 8 + 8 * 10 + 10)
    assert held > weights
    assert arena >= bound > 0
    assert traffic > weights
    assert text[0] == f"program backprop-{device}-s0"
    assert {"step:", "predict:"} < set(text)


def test_show_gives_the_listing(runs: Path, command: Command) -> None:
    code, out, _ = command("show", runs / "fixed8", "--json")
    assert code == 0
    found = Listing.model_validate_json(out)
    assert found.name == "backprop-fixed8-s0"
    assert found.buffers["x"].shape == (4, 64)


@pytest.mark.parametrize("device", DEVICES)
def test_run_predicts_as_well_as_the_run_recorded(runs: Path, command: Command, device: str) -> None:
    code, out, _ = command("run", runs / device)
    assert code == 0
    found, recorded = (float(share) for share in re.findall(r"([\d.]+)%", out))
    kept = json.loads((runs / device / "result.json").read_text())
    assert recorded == pytest.approx(100 * kept["accuracy"], abs=0.006)
    assert found == pytest.approx(recorded, abs=0.6 if device == "float32" else 0)  # torch sums otherwise
    assert "360 test samples" in out
    assert "samples/s" in out


@pytest.mark.parametrize(("device", "threads"), [("fixed8", 1), ("taox-tio2", 2)])
def test_time_tells_when_which_thread_is_in_which_kernel(
    runs: Path, command: Command, device: str, threads: int, tmp_path: Path
) -> None:
    code, out, _ = command("time", runs / device, "--threads", threads, "--out", tmp_path / "t", "--json")
    assert code == 0
    found = json.loads(out)
    program = scheduled(program_of(rebuild(runs / device)), threads)
    ours = [span for span in found["spans"] if span["thread"] == 0]
    calls = [call.kernel for call in walk(program.entries["step"])]
    assert [span["kernel"] for span in ours] == calls  # each once, in order
    both = {span["kernel"] for span in found["spans"] if span["thread"] == 1}
    assert both == {name for name in calls if name.startswith("xbar.")} if threads == 2 else not both
    for before, after in pairwise(ours):
        assert 0 <= before["us"] <= after["start_us"] - before["start_us"] + 1e-6
    assert (
        0 < max(span["start_us"] + span["us"] for span in found["spans"]) == pytest.approx(found["step_us"])
    )
    assert sum(span["us"] for span in ours) > 0.1 * found["step_us"]  # the clock itself is the rest
    header, *rows = (tmp_path / "t" / "threads.csv").read_text().splitlines()
    assert header == "thread,layer,kernel,start_us,us"
    assert len(rows) == len(found["spans"])
    assert found["untimed_us"] > 0


def test_a_clock_changes_no_bit(runs: Path) -> None:
    trial = rebuild(runs / "fixed8")
    program, samples = program_of(trial), next_samples(trial, 9)
    plain, timed = NativeRunner(program), NativeRunner(program, keep_steps=3)
    memories = [
        run.memory(9, {name: values.copy() for name, values in samples.items()}) for run in (plain, timed)
    ]
    for run, memory in zip((plain, timed), memories, strict=True):
        run.run("step", 9, memory, 0.125)
    assert sum(differences(memories[0][name], memories[1][name]) for name in memories[0]) == 0
    clock = timed.clock()
    assert (clock[..., 1] >= clock[..., 0]).all()
    assert clock[0].min() > 0  # steps 6, 7, 8 are the last three
    assert clock[0].max() <= clock[1].min()
    assert clock[1].max() <= clock[2].min()


@pytest.mark.parametrize("threads", ["0", "65"])
def test_time_refuses_a_number_of_threads_that_no_team_has(
    runs: Path, command: Command, threads: str
) -> None:
    refused(command("time", runs / "fixed8", "--threads", threads), "--threads", "from 1 to 64")


def test_run_is_the_net_of_the_checkpoint(runs: Path, command: Command) -> None:
    w = load_file(runs / "float32/trials/backprop-float32-s0/checkpoint.safetensors")
    split = data.load("digits", evaluate="test")
    x = split.eval_x.reshape(len(split.eval_x), -1)
    hidden = np.tanh(x @ w["fc1.weight/weights"][0].T + w["fc1.bias/weights"].ravel())
    z = hidden @ w["fc2.weight/weights"][0].T + w["fc2.bias/weights"].ravel()
    expected = (z.argmax(1) == split.eval_y).mean()
    _, out, _ = command("run", runs / "float32")
    assert float(re.findall(r"accuracy ([\d.]+)%", out)[0]) == pytest.approx(100 * expected, abs=0.3)


def test_run_in_the_interpreter_says_that_it_took_the_first_ones(runs: Path, command: Command) -> None:
    code, out, _ = command("run", runs / "fixed8", "--engine", "reference")
    assert code == 0
    assert "the first 100 of 360 test samples" in out
    code, again, _ = command("run", runs / "fixed8", "--engine", "reference", "--json")
    found = json.loads(again)
    assert (found["samples"], found["of"]) == (100, 360)
    assert f"accuracy {found['accuracy']:.2%}" in out


@pytest.mark.parametrize("device", DEVICES)
def test_check_compares_training_that_moved(runs: Path, command: Command, device: str) -> None:
    code, out, _ = command("check", runs / device, "--steps", 7, "--json")
    found = json.loads(out)
    assert code == 0
    assert found.keys() == {"steps", "compared", "changed", "mismatches"}
    assert found["steps"] == 7
    assert found["mismatches"] == 0
    assert found["changed"] > 0.1
    assert found["compared"] >= 610 + 7 * 4 * (64 + 1 + 1 + 10)  # weights; x, labels, loss and z
    code, out, _ = command("check", runs / device, "--steps", 1)
    assert code == 0
    assert out.startswith("1 steps: ")
    assert out.endswith("0 mismatches\n")


def test_check_sees_a_single_bit(runs: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    run = NativeRunner.run

    def wrong(self: NativeRunner, entry: Any, n: int, memory: Any, lr: float = 0.0, step: int = 0) -> None:
        run(self, entry, n, memory, lr, step)
        if entry == "predict":
            memory["fc1.weight/weights"].view(np.uint32)[0, 3, 5] ^= 1

    monkeypatch.setattr(NativeRunner, "run", wrong)
    code, out, _ = command("check", runs / "float32", "--json")
    assert code == 1
    assert json.loads(out)["mismatches"] == 1


def test_values_differ_by_their_bits() -> None:
    these = np.array([0.0, 1.0, np.nan, np.nan, 2.0], np.float32)
    those = np.array([-0.0, 1.0, -np.nan, 0.0, 2.0000002], np.float32)
    assert differences(these, those) == 3
    assert differences(np.arange(4, dtype=np.int8), np.array([0, 1, 2, -3], np.int8)) == 1


def test_a_trial_is_named_by_its_folder(
    runs: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    shallow = runs / "fixed8/trials/shallow-float32-s0"
    _, out, _ = command("run", shallow)
    assert out.startswith("shallow-float32-s0, native")
    _, out, _ = command("check", shallow, "--json")
    assert 0 < json.loads(out)["changed"] <= 90 / 610  # the first layer is frozen
    monkeypatch.chdir(shallow)
    code, out, _ = command("show", ".")
    assert code == 0
    assert "program shallow-float32-s0" in out


def test_a_stopped_trial_is_rebuilt_where_it_stands(tmp_path: Path, command: Command) -> None:
    config = make_config(net="64-4-10", device="fixed8", epochs=1, seeds=1, checkpoint_every_s=1e-9)

    def stop(_: str, done: int, __: int) -> None:
        if done >= 300:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loop.run(config, out=tmp_path / "run", progress=stop)
    trial = rebuild(tmp_path / "run")
    kept = trial.bound.net.state()
    assert trial.position.step == 200  # stopped before the checkpoint after 300
    assert not trial.position.done
    found = load_file(tmp_path / "run/trials/backprop-fixed8-s0/checkpoint.safetensors")
    assert kept.keys() == found.keys()
    assert all((kept[name].numpy() == found[name]).all() for name in kept)
    code, out, _ = command("run", tmp_path / "run")
    assert code == 0
    assert "no epoch" in out
    refused(command("show", tmp_path / "run/trials/shallow-float32-s0"), "no checkpoint yet", "--resume")


def test_rebuilding_is_the_same_twice_and_writes_nothing(runs: Path, command: Command) -> None:
    before = listing(runs)
    one = rebuild(runs / "shift4").bound.net.state()
    for verb in ("show", "run", "check"):
        command(verb, runs / "shift4")
    assert_equal(rebuild(runs / "shift4").bound.net.state(), one)
    assert listing(runs) == before


def test_a_synapse_card_has_a_program_that_only_c_can_train(runs: Path, command: Command) -> None:
    assert command("show", runs / "taox-tio2")[0] == 0
    code, out, _ = command("run", runs / "taox-tio2")
    assert code == 0
    found, recorded = re.findall(r"([\d.]+)%", out)
    assert found == recorded
    refused(command("check", runs / "taox-tio2"), "runs in C alone")


@pytest.mark.parametrize("verb", ["show", "run", "check"])
def test_what_has_no_kernels_is_refused(tmp_path: Path, command: Command, verb: str) -> None:
    small = str(write_csv(tmp_path / "small.csv", 60))
    config = make_config(data=small, net="4-3-3", device="float32", momentum=0.5, epochs=1, seeds=1)
    loop.run(config, out=tmp_path / "run", controls=False)
    refused(command(verb, tmp_path / "run"), "layer fc1.weight", "momentum", "have no kernels")


def test_a_missing_compiler_is_told(runs: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    refused(command("run", runs / "fixed8"), "no C compiler no-such-compiler")
    refused(command("check", runs / "fixed8"), "no C compiler")
    assert command("run", runs / "fixed8", "--engine", "reference")[0] == 0


def test_what_is_no_run_is_one_line(runs: Path, tmp_path: Path, command: Command) -> None:
    refused(command("show", tmp_path / "nowhere"), "no such run folder")
    refused(command("show", "x" * 300), "File name too long")
    refused(command("run", tmp_path), "config.toml is missing")
    refused(command("check", runs / "float32/trials"), "config.toml is missing")
    refused(command("show", runs / "fixed8/trials/backprop-fixed8-s1"), "did you mean 'backprop-fixed8-s0'?")
    refused(command("run", runs / "fixed8", "--engine", "nativ"), "did you mean 'native'?")
    refused(command("check", runs / "fixed8", "--steps", 0), "steps = 0: at least 1")
    (tmp_path / "config.toml").write_text('net = "64-8-10"\n')
    refused(command("show", tmp_path), "no checkpoint yet")
    (tmp_path / "config.toml").write_text('data = "digits"\n')
    refused(command("show", tmp_path), "its net was made in Python")
    (tmp_path / "config.toml").write_text("epoch = 1\n")
    refused(command("show", tmp_path), "config.toml:1", "epoch")


def test_a_run_of_other_settings_or_a_damaged_one_is_refused(
    runs: Path, tmp_path: Path, command: Command
) -> None:
    folder = tmp_path / "trials/backprop-fixed8-s0"
    folder.mkdir(parents=True)
    config = (runs / "fixed8/config.toml").read_text()
    kept = (runs / "fixed8/trials/backprop-fixed8-s0/checkpoint.safetensors").read_bytes()
    (folder / "checkpoint.safetensors").write_bytes(kept)
    (tmp_path / "config.toml").write_text(config.replace("lr = 0.1", "lr = 0.2"))
    refused(command("run", tmp_path), "other settings")
    (tmp_path / "config.toml").write_text(config)
    assert command("run", tmp_path)[0] == 0
    (folder / "checkpoint.safetensors").write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    refused(command("run", tmp_path), "damaged checkpoint")


def test_the_readme_names_commands_that_exist() -> None:
    text = (Path(__file__).parents[2] / "README.md").read_text()
    found = [shlex.split(line, comments=True)[1:] for line in re.findall(r"^\./run [^>\n]*", text, re.M)]
    verbs = [words for words in found if words[0] in names("commands")]
    assert {words[1] for words in verbs if words[0] == "program"} == {"show", "run", "check", "time"}
    assert {"train", "export", "cosim", "mcu", "physical", "deploy", "sweep"} <= {words[0] for words in verbs}
    for words in verbs:
        parser().parse_args(words)
