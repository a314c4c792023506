"""Checkpoints: a run that was stopped ends with the bits of one that was not; damage is one line."""

from __future__ import annotations

import contextlib
import json
import pickle
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import hwtrain
from hwtrain.cards import card_files
from hwtrain.cli import main
from hwtrain.config import make_config, read_config
from hwtrain.errors import RunError
from hwtrain.layers.conv2d import Conv2d
from hwtrain.layers.dense import Dense
from hwtrain.layers.flatten import Flatten
from hwtrain.layers.global_avg_pool2d import GlobalAvgPool2d
from hwtrain.net import Net
from hwtrain.nets.base import mlp
from hwtrain.training import engine, lock, loop
from hwtrain.training.checkpoint import FILE, load_checkpoint, read_checkpoint, save_checkpoint
from hwtrain.training.lock import LOCK, alone_in
from hwtrain.training.metrics import Result
from hwtrain.training.trial import Stopped
from tests.helpers import assert_equal, listing, write_csv

NOISY = (
    ("c2c_rel_range = 0.01", "c2c_rel_range = 0.02\nstep_dtod = 0.2\nlabel_dtod = 0.2\nbias_dtod = 0.1"),
    ("v_read_V =", "noise_rel = 0.05\nv_read_V ="),
    ("[pulse]", "[faults]\nstuck_random = 0.05\n\n[pulse]"),
)
CASES: dict[str, dict[str, Any]] = {
    "as shipped": {"device": "taox-tio2"},
    "single, momentum": {"cell": "single", "momentum": 0.5},
    "threshold refresh": {
        "cell": "unidirectional-ltp",
        "refresh": "threshold",
        "weight_range": 0.5,
        "lr": 1.0,
    },
    "periodic refresh": {
        "cell": "unidirectional-ltp",
        "refresh": "periodic",
        "refresh_every": 5,
        "weight_range": 0.5,
        "lr": 1.0,
    },
    "full-init refresh": {"cell": "unidirectional-ltd", "refresh": "full-init", "refresh_every": 11},
    "alternating pair": {"cell": "alternating-pair"},
    "alternating pair, momentum": {"cell": "alternating-pair", "momentum": 0.5, "clip": 0.5},
    "stochastic pulses": {"cell": "bidirectional-pair", "update": "stochastic-pulse", "batch": 3},
    "summed batches": {"momentum": 0.9, "summed": True, "batch": 5, "lr_decay": 0.5},
    "on validation": {"evaluate": "validation", "activation": "relu", "baseline_lr": 0.2},
    "a map": {"device": {"fc1": "capacitor-3t1c", "*": "float32"}},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data.csv and the card noisy.toml."""
    made = tmp_path_factory.mktemp("given")
    write_csv(made / "data.csv", 40)
    text = card_files()["taox-tio2"].read_text(encoding="utf-8")
    for old, new in NOISY:
        assert text.count(old) == 1
        text = text.replace(old, new)
    (made / "noisy.toml").write_text(text, encoding="utf-8")
    return made


@pytest.fixture
def chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small chunks, so that a few samples make many of them."""
    monkeypatch.setattr(engine.TorchEngine, "chunk", 4)


def settings(folder: Path, **others: Any) -> dict[str, Any]:
    plain = {"data": str(folder / "data.csv"), "net": "4-3-3", "seeds": 1, "epochs": 2, "lr": 0.2}
    return plain | {"device": str(folder / "noisy.toml")} | others


def words(given: dict[str, Any]) -> list[str]:
    """The same settings as flags."""
    return [word for name, value in given.items() for word in (f"--{name}", str(value))]


def train(
    out: Path, given: dict[str, Any], stop_after: int | None = None, *, resume: bool = False
) -> Result | None:
    """One run; None if it was asked to stop after so many chunks, and did."""

    class Asked:
        chunks = 0

        def is_set(self) -> bool:
            self.chunks += 1
            return self.chunks == stop_after

    @contextlib.contextmanager
    def asked() -> Iterator[Asked]:
        yield Asked()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "asked_to_stop", asked)
        try:
            return loop.run(make_config(**given), out=out, resume=resume)
        except Stopped:
            return None


def assert_same_run(out: Path, whole: Path) -> None:
    """All but wall times: tensors, positions with their ledgers, metrics, and the files there are."""
    names = {str(file.relative_to(whole)) for file in whole.rglob("*")}
    assert {str(file.relative_to(out)) for file in out.rglob("*")} == names
    for folder in (whole / "trials").iterdir():
        mine = out / "trials" / folder.name
        tensors, position, _ = read_checkpoint(mine / FILE)
        expected, end, _ = read_checkpoint(folder / FILE)
        assert_equal(tensors, expected)
        assert position["done"]
        assert {**position, "wall_s": 0} == {**end, "wall_s": 0}
        assert json.loads((mine / "state.json").read_text()) == position
        assert (mine / "metrics.jsonl").read_bytes() == (folder / "metrics.jsonl").read_bytes()


@pytest.mark.usefixtures("chunks")
@pytest.mark.parametrize("case", CASES)
def test_a_run_stopped_again_and_again_ends_with_the_same_bits(
    folder: Path, tmp_path: Path, case: str
) -> None:
    given = settings(folder, **CASES[case])
    whole, out = tmp_path / "whole", tmp_path / "out"
    expected = train(whole, given)
    assert expected is not None
    # A trial has 16 chunks of 4 steps: thrice in the device's, then in those of the controls.
    stops, inside, found = 0, 0, None
    for chunks_more in (3, 4, 6, 11, 13, None):
        found = train(out, given, stop_after=chunks_more, resume=stops > 0)
        if found is not None:
            break
        stops += 1
        inside += any(read_checkpoint(file)[1]["samples"] > 0 for file in out.rglob(FILE))
    assert found is not None
    if given.get("batch", 1) == 1:
        assert stops == 5
        assert inside >= 4, "the checkpoints were to lie inside epochs"
    else:
        assert stops >= 2
    for name, tensors in expected.tensors.items():
        assert_equal(found.tensors[name], tensors)
    assert_same_run(out, whole)
    assert {**found.as_dict(), "run": 0, "wall_s": 0, "trials": 0} == {
        **expected.as_dict(),
        "run": 0,
        "wall_s": 0,
        "trials": 0,
    }
    assert found.pulses > 0, "nothing was trained on the device"
    if "refresh" in given:
        assert expected.trials[0]["resets"] > 0, "no refresh came"
    if given.get("momentum"):
        assert any("velocity" in name for name in next(iter(found.tensors.values())))


@pytest.mark.usefixtures("chunks")
@pytest.mark.parametrize("k", [1, 8, 24])
def test_one_stop_anywhere_changes_nothing(folder: Path, tmp_path: Path, k: int) -> None:
    given = settings(folder, cell="alternating-pair", momentum=0.5, epochs=1)
    train(tmp_path / "whole", given)
    stopped = train(tmp_path / "out", given, stop_after=k)
    assert stopped is None, "every trial has 8 chunks of 4 samples"
    train(tmp_path / "out", given, resume=True)
    assert_same_run(tmp_path / "out", tmp_path / "whole")


def test_a_stop_that_comes_between_the_two_looks_at_it_is_still_kept(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is told that the run stopped finds the checkpoint of that moment."""
    monkeypatch.setattr(engine.TorchEngine, "chunk", 4)
    answers = iter([False, False, True])
    monkeypatch.setattr(
        loop,
        "asked_to_stop",
        lambda: contextlib.nullcontext(type("E", (), {"is_set": lambda _: next(answers)})()),
    )
    out = tmp_path / "out"
    with pytest.raises(Stopped):
        loop.run(make_config(**settings(folder)), out=out)
    (file,) = out.rglob(FILE)
    assert read_checkpoint(file)[1]["samples"] == 12


def test_more_seeds_go_on_where_fewer_ended(folder: Path, tmp_path: Path) -> None:
    """The seeds of a run are trials by themselves: they need not be known at its start."""
    train(tmp_path / "whole", settings(folder, epochs=1, seeds=2))
    out = tmp_path / "out"
    train(out, settings(folder, epochs=1, seeds=1))
    train(out, settings(folder, epochs=1, seeds=2), resume=True)
    assert (out / "config.toml").read_text() == (tmp_path / "whole" / "config.toml").read_text()
    trials = list((tmp_path / "whole" / "trials").iterdir())
    assert len(trials) == 6
    for name in trials:
        assert_equal(read_checkpoint(out / "trials" / name.name / FILE)[0], read_checkpoint(name / FILE)[0])


def test_a_net_that_was_changed_does_not_go_on_from_the_old_one(tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((40, 1, 4, 4), dtype=np.float32)

    def go(stride: int, **more: Any) -> Result:
        conv = Conv2d(1, 2, 3, stride=stride, padding=1)
        net = Net({"conv": conv, "pool": GlobalAvgPool2d(), "flat": Flatten(), "fc": Dense(2, 10)})
        data, out = (x, np.arange(40) % 10), tmp_path / "out"
        return hwtrain.train(net, data=data, out=out, device="float32", epochs=1, seeds=1, **more)

    go(1)
    go(1, resume=True)
    with pytest.raises(RunError, match="other settings"):
        go(2, resume=True)


def test_a_checkpoint_keeps_every_type_and_shape(tmp_path: Path) -> None:
    tensors = {
        "a/weights": torch.randn(2, 3, 4),
        "a/transposed": torch.randn(3, 2).T,
        "a/count": torch.tensor(7),
        "a/turn": torch.tensor([0, 1, 1], dtype=torch.uint8),
        "a/stuck": torch.tensor([True, False]),
        "a/half": torch.randn(3).bfloat16(),
        "a/double": torch.tensor([1e-300], dtype=torch.float64),
        "a/empty": torch.zeros(0, 3),
        "a/special": torch.tensor([float("nan"), float("-inf"), -0.0]),
    }
    position = {"step": 3, "loss": 0.1 + 0.2, "rows": [{"µ": "é"}]}
    save_checkpoint(tmp_path, tensors, position, "mine")
    found, where = load_checkpoint(tmp_path, "mine")
    assert found.keys() == tensors.keys()
    for name, value in tensors.items():
        assert (found[name].dtype, found[name].shape) == (value.dtype, value.shape)
        as_bytes = [t.contiguous().reshape(-1).view(torch.uint8) for t in (found[name], value)]
        assert torch.equal(*as_bytes)
    assert where == position == json.loads((tmp_path / "state.json").read_text())


# --- Damage


@pytest.fixture(scope="module")
def stopped(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of which the first and the second trial are under way, and the third not begun.

    As with two workers: what is wrong with the second must be found before the first goes on.
    """
    out, sooner = (tmp_path_factory.mktemp("stopped") / name for name in ("run", "sooner"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine.TorchEngine, "chunk", 4)
        assert train(out, settings(folder, epochs=1), stop_after=11) is None
        assert train(sooner, settings(folder, epochs=1), stop_after=3) is None
    shutil.copytree(sooner / "trials" / TRIALS[0], out / "trials" / TRIALS[0], dirs_exist_ok=True)
    assert [read_checkpoint(out / "trials" / name / FILE)[1]["step"] for name in TRIALS[:2]] == [12, 12]
    assert not (out / "trials" / TRIALS[2] / FILE).exists()
    return out


TRIALS = ("backprop-noisy-s0", "backprop-float32-s0", "shallow-float32-s0")


def rewritten(change: Callable[[bytearray], object]) -> Callable[[Path, Path], None]:
    def damage(file: Path, _: Path) -> None:
        data = bytearray(file.read_bytes())
        change(data)
        file.write_bytes(data)

    return damage


def another(**changed: Any) -> Callable[[Path, Path], None]:
    """The checkpoint of a run with other settings, as its maker might mistake it for this one's."""

    def damage(file: Path, folder: Path) -> None:
        train(file.parent / "other", settings(folder, epochs=1) | changed)
        found = next((file.parent / "other" / "trials").glob(f"backprop-noisy-s*/{FILE}"))
        kept = found.read_bytes()
        shutil.rmtree(file.parent / "other")
        file.write_bytes(kept)

    return damage


def flipped(at: Callable[[bytearray], int]) -> Callable[[Path, Path], None]:
    def change(data: bytearray) -> None:
        data[at(data)] ^= 0x10

    return rewritten(change)


DAMAGE: dict[str, tuple[str, Callable[[Path, Path], object]]] = {
    "flipped weight": ("damaged checkpoint", flipped(lambda data: len(data) - 3)),
    "flipped length": ("damaged checkpoint", flipped(lambda _: 6)),
    "flipped header": ("damaged checkpoint", flipped(lambda data: data.index(b'"dtype"') + 1)),
    "flipped position": ("damaged checkpoint", flipped(lambda data: data.index(b'\\"samples\\": ') + 14)),
    "flipped fingerprint": ("damaged checkpoint", flipped(lambda data: data.index(b'"fingerprint":"') + 17)),
    "truncated": ("damaged checkpoint", rewritten(lambda data: data.__delitem__(slice(-40, None)))),
    "header only": ("damaged checkpoint", rewritten(lambda data: data.__delitem__(slice(100, None)))),
    "longer": ("damaged checkpoint", rewritten(lambda data: data.extend(b"\0"))),
    "empty": ("damaged checkpoint", rewritten(lambda data: data.clear())),
    "pickle": ("damaged checkpoint", lambda file, _: file.write_bytes(pickle.dumps({"step": 3}))),
    "torch's own": ("damaged checkpoint", lambda file, _: torch.save({"step": torch.ones(3)}, file)),
    "foreign": ("not a checkpoint of this hwtrain", lambda file, _: save_file({"a": torch.ones(3)}, file)),
    "newer": (
        "not a checkpoint of this hwtrain",
        lambda file, _: save_file({"a": torch.ones(3)}, file, {"format": "2"}),
    ),
    "folder": ("cannot read", lambda file, _: (file.unlink(), file.mkdir())),
    "another lr": ("belongs to a run with other settings", another(lr=0.3)),
    "another net": ("belongs to a run with other settings", another(net="4-5-3")),
    "another seed": ("belongs to a run with other settings", another(seed=1)),
    "another trial": (
        "belongs to a run with other settings",
        lambda file, _: shutil.copy(file.parent.parent / TRIALS[1] / FILE, file),
    ),
}


@pytest.mark.parametrize("name", TRIALS[:2])
@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_or_foreign_checkpoint_is_one_line_and_stays_as_it_is(
    stopped: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, name: str
) -> None:
    said, damage = DAMAGE[kind]
    out = tmp_path / "run"
    shutil.copytree(stopped, out)
    file = out / "trials" / name / FILE
    if name == TRIALS[1] and kind == "another trial":
        shutil.copy(out / "trials" / TRIALS[0] / FILE, file)
    else:
        damage(file, folder)
    before = listing(out)
    capsys.readouterr()
    assert main(["train", "--resume", str(out), "--workers", "1"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"hwtrain: {file}: {said}")
    assert len(captured.err.splitlines()) == 1
    assert listing(out) == before


def test_no_flipped_bit_goes_unnoticed(stopped: Path, tmp_path: Path) -> None:
    """A checkpoint with a flipped bit is refused, or holds what it held (a space of its padding)."""
    file = stopped / "trials" / TRIALS[1] / FILE
    data, expected = file.read_bytes(), read_checkpoint(file)
    picker = random.Random(7)
    places = sorted({*range(8), *picker.sample(range(len(data)), 400), *range(len(data) - 40, len(data))})
    refused, lines = 0, set()
    for place in places:
        changed = bytearray(data)
        changed[place] ^= 1 << picker.randrange(8)
        damaged = tmp_path / "damaged"
        damaged.write_bytes(changed)
        try:
            tensors, position, mark = read_checkpoint(damaged)
        except RunError as problem:
            refused += 1
            lines |= {len(str(problem).splitlines())}
            continue
        assert_equal(tensors, expected[0])
        assert (position, mark) == expected[1:]
    sys.stdout.write(f"{refused} of {len(places)} flipped bits refused, the others changed nothing\n")
    assert refused >= 0.9 * len(places)
    assert lines == {1}


def test_a_truncated_checkpoint_is_refused_at_any_length(stopped: Path, tmp_path: Path) -> None:
    data = (stopped / "trials" / TRIALS[1] / FILE).read_bytes()
    for length in sorted({*range(0, len(data), 97), *range(20), len(data) - 1}):
        (tmp_path / "short").write_bytes(data[:length])
        with pytest.raises(RunError, match="damaged checkpoint"):
            read_checkpoint(tmp_path / "short")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("lr = 0.2", "lr = 0.3"),
        ("epochs = 1", "epochs = 2"),
        ("momentum = 0.0", "momentum = 0.5"),
        ('"4-3-3"', '"4-4-3"'),
    ],
)
def test_a_run_is_not_resumed_with_other_settings(
    stopped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], old: str, new: str
) -> None:
    out = tmp_path / "run"
    shutil.copytree(stopped, out)
    text = (out / "config.toml").read_text()
    assert text.count(old) >= 1
    (out / "config.toml").write_text(text.replace(old, new, 1))
    before = listing(out)
    assert main(["train", "--resume", str(out), "--workers", "1"]) == 2
    err = capsys.readouterr().err
    assert "belongs to a run with other settings, data or versions" in err
    assert len(err.splitlines()) == 1
    assert listing(out) == before


@pytest.mark.parametrize("what", ["data", "card", "version", "weights"])
def test_a_run_is_not_resumed_with_other_data_cards_versions_or_weights(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    for name in ("data.csv", "noisy.toml"):
        shutil.copy(folder / name, tmp_path / name)
    given = settings(tmp_path, epochs=1)
    out = tmp_path / "run"
    net = mlp("4-3-3", "tanh") if what == "weights" else None
    loop.run(make_config(**given), out=out, net=net)
    loop.run(make_config(**given), out=out, net=net, resume=True)  # a finished run may be resumed
    if what == "data":
        data = tmp_path / "data.csv"
        data.write_text(data.read_text().replace("0.3", "0.4", 1))
    elif what == "card":
        card = tmp_path / "noisy.toml"
        card.write_text(card.read_text().replace("step_dtod = 0.2", "step_dtod = 0.21"))
    elif what == "version":
        monkeypatch.setattr(loop, "version", lambda _: "99")
    else:
        net = mlp("4-5-3", "tanh")  # the same layers by name and kind
    with pytest.raises(RunError, match="belongs to a run with other settings, data or versions"):
        loop.run(make_config(**given), out=out, net=net, resume=True)


def test_what_a_killed_run_left_is_cleared_away(stopped: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(stopped, out)
    left = out / "trials" / TRIALS[1] / f"{FILE}.tmp-123"
    left.write_bytes(b"half")
    assert loop.run(read_config(out / "config.toml"), out=out, resume=True).accuracy >= 0
    assert not left.exists()


KILLED = """
import os, signal, sys
from hwtrain.cli import main
from hwtrain.training import loop

write = loop.write_file

def killed(path, content):
    if path.name == sys.argv[1]:
        path.with_name(f"{path.name}.tmp-{os.getpid()}").write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)
    write(path, content)

loop.write_file = killed
main(sys.argv[2:])
"""


@pytest.mark.parametrize("at", ["env.json", "noisy.toml", "config.toml"])
def test_a_run_killed_before_it_could_be_resumed_is_begun_anew_in_its_folder(
    folder: Path, tmp_path: Path, at: str
) -> None:
    given, out = settings(folder, epochs=1), tmp_path / "run"
    child = subprocess.run([sys.executable, "-c", KILLED, at, "train", *words(given), "--out", str(out)])
    assert child.returncode == -signal.SIGKILL
    assert any(file.name.startswith(f"{at}.tmp-") for file in out.rglob("*"))
    assert (out / LOCK).exists()
    train(out, given)
    train(tmp_path / "whole", given)
    assert_same_run(out, tmp_path / "whole")


HOLDER = """
import sys, time
from pathlib import Path
from hwtrain.training.lock import alone_in

with alone_in(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("flag", ["--resume", "--out"])
def test_only_one_process_trains_in_a_folder(
    stopped: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], flag: str
) -> None:
    out = tmp_path / "run"
    given = settings(folder, epochs=1)
    if flag == "--resume":
        shutil.copytree(stopped, out)
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(out)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        before = listing(out)
        argv = ["train", *(words(given) if flag == "--out" else []), flag, str(out), "--workers", "1"]
        assert main(argv) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith(f"hwtrain: {out}: another process trains in this folder: ")
        assert len(captured.err.splitlines()) == 1
        assert listing(out) == before
    finally:
        holder.kill()
        holder.communicate()
    assert (out / LOCK).exists()
    train(out, given, resume=flag == "--resume")  # the lock of a killed process holds nobody up
    assert (out / "result.json").exists()
    assert not (out / LOCK).exists()


def test_a_lock_file_that_was_removed_is_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its last owner removes it between our opening and our locking it."""
    real = lock._locked
    opened: list[int] = []

    def late(file: Path) -> int:
        opened.append(real(file))
        if len(opened) == 1:
            file.unlink()
        return opened[-1]

    monkeypatch.setattr(lock, "_locked", late)
    with alone_in(tmp_path):
        assert len(opened) == 2
        with pytest.raises(RunError, match="another process"), alone_in(tmp_path):
            pass
    assert not any(tmp_path.iterdir())
