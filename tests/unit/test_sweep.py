"""``hwtrain sweep``: a grid over settings and card values, on validation, that goes on after a stop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hwtrain.analysis import sweep as searched
from hwtrain.cards import read_card
from hwtrain.cli import main
from hwtrain.config import read_config
from hwtrain.errors import ConfigError
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
    assert main(words) == 0  # nothing is left to do
    assert len(seen) == 4
    assert capsys.readouterr().out == first
    with pytest.raises(ConfigError, match="holds another search"):
        searched.sweep(read_config(config), {"lr": ["1"]}, tmp_path / "out")


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
