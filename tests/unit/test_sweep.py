"""``hwtrain sweep``: a grid over settings and card values, on validation, that goes on after a stop."""

from __future__ import annotations

import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hwtrain.analysis import sweep as searched
from hwtrain.cards import card_files, read_card
from hwtrain.cli import main
from hwtrain.config import TrainConfig, read_config
from hwtrain.errors import ConfigError, NativeError
from hwtrain.strict_toml import dump
from hwtrain.training.trial import Stopped
from tests.helpers import write_csv

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    data = write_csv(tmp_path / "small.csv", 60)
    file = tmp_path / "base.toml"
    file.write_text(
        f'data = "{data}"\nnet = "4-3-3"\ndevice = "shift-only"\nepochs = 1\nseeds = 1\nlr = 0.25\n'
    )
    return file


def test_a_grid_is_tried_whole_and_the_best_is_written(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    plain = searched.run
    monkeypatch.setattr(
        searched, "run", lambda config, **given: seen.append(config) or plain(config, **given)
    )
    words = ["sweep", str(config), "--over", "lr=0.5,0.125", "--over", "card.weight.frac=12,13"]
    words += ["--out", str(tmp_path / "out")]
    assert main(words) == 0
    first = capsys.readouterr().out
    assert len(first.splitlines()) == 5
    assert {(one.lr, Path(str(one.device)).stem) for one in seen} == {
        (lr, f"shift-only-weight.frac_{frac}") for lr in (0.5, 0.125) for frac in (12, 13)
    }
    assert all(one.evaluate == "validation" for one in seen)
    assert read_card(Path(str(seen[0].device))).numbers().weight_frac in (12, 13)  # type: ignore[union-attr]
    best = read_config(tmp_path / "out" / "best.toml")
    assert f"lr={best.lr:g}" in first.splitlines()[0]
    assert best.evaluate == "test"  # as the file said that the search began from
    assert main(words) == 0  # nothing is left to do
    assert len(seen) == 4
    assert capsys.readouterr().out == first
    with pytest.raises(ConfigError, match="holds a search of other settings"):
        searched.sweep(read_config(config), {"lr": ["1"]}, tmp_path / "out")


def test_a_search_goes_on_with_the_same_card_alone(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_bytes(card_files()["shift-only"].read_bytes())
    monkeypatch.setattr(searched, "run", lambda *_, **__: SimpleNamespace(accuracy=0.5))
    given = read_config(config, device=str(mine))
    searched.sweep(given, {"lr": ["1"]}, tmp_path / "out")
    mine.write_text(mine.read_text().replace("[device]\n", "[device]\n\n"))
    searched.sweep(given, {"lr": ["1"]}, tmp_path / "out")  # the card says the same
    mine.write_text(dump(tomllib.loads(mine.read_text()) | {"weight": {"bits": 16, "frac": 9}}))
    with pytest.raises(ConfigError, match="other settings or cards"):
        searched.sweep(given, {"lr": ["1"]}, tmp_path / "out")


@pytest.mark.parametrize("ends", [Stopped("now"), NativeError("no compiler"), KeyboardInterrupt()])
@pytest.mark.parametrize("trials", [4, 3])
def test_what_ends_a_search_is_no_verdict_on_its_choice(
    ends: BaseException, trials: int, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[float, float]] = []

    def run(given: TrainConfig, **_: Any) -> Any:
        asked.append((given.lr, given.lr_decay))
        if len(asked) == 2:
            raise ends
        if given.lr == 0.5:
            raise ConfigError("too fast")
        return SimpleNamespace(accuracy=given.lr)

    monkeypatch.setattr(searched, "run", run)
    words = ["sweep", str(config), "--over", "lr=0.5,0.25", "--over", "lr_decay=1,0.5,1"]
    words += ["--out", str(tmp_path / "out"), "--trials", str(trials)]
    assert main(words) == (2 if isinstance(ends, NativeError) else 130)
    assert len(asked) == 2
    journal = tmp_path / "out/journal.log"
    journal.write_bytes(journal.read_bytes() + b'{"half')  # as a kill may leave it
    assert main(words) == 0
    assert len(asked) == trials + 1
    space = {"lr": ["0.5", "0.25"], "lr_decay": ["1", "0.5"]}
    done = searched.sweep(read_config(config), space, tmp_path / "out", trials=trials)
    assert len(done) == trials
    assert all((one.accuracy is None) == (one.values["lr"] == "0.5") for one in done)
    if trials == 4:
        assert len({tuple(one.values.items()) for one in done}) == 4


@pytest.mark.parametrize("file", ["sweep.json", "journal.log"])
def test_a_damaged_search_is_one_line(
    file: str, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / file).write_bytes(b"{ \xff\n")
    assert main(["sweep", str(config), "--over", "lr=1", "--out", str(tmp_path)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    ("over", "said"),
    [
        ([], "nothing to search"),
        (["lr"], "write KEY=VALUE,VALUE"),
        (["lrr=1"], "did you mean 'lr'"),
        (["lr=1", "lr=2"], "given twice"),
        (["evaluate=test"], "validation split alone"),
        (["card.weights.frac=1"], "did you mean 'weight'"),
        (["lr=-1"], "every choice was refused"),
    ],
)
def test_what_cannot_be_searched_is_one_line(
    over: list[str], said: str, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [word for one in over for word in ("--over", one)]
    assert main(["sweep", str(config), *words, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert said in error
