"""A trial out of its folder: net, devices and rule as its last checkpoint left them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from hwtrain.config import TrainConfig, read_run_config, with_run_cards
from hwtrain.data import Split
from hwtrain.errors import RunError, nearest
from hwtrain.rules.base import Bound
from hwtrain.training.checkpoint import FILE
from hwtrain.training.loop import prepare
from hwtrain.training.trial import Position, Runner, Spec, specs


@dataclass(frozen=True)
class Rebuilt:
    """A finished or stopped trial."""

    spec: Spec
    config: TrainConfig
    data: Split
    bound: Bound
    position: Position


def rebuild(path: Path) -> Rebuilt:
    """The trial of a folder: RUN/trials/NAME, or of a run folder its first on the device.

    Raises:
        RunError: no run, no such trial, none that has begun, or one of other settings, data or versions.
    """
    run, name = _trial(path)
    config = with_run_cards(read_run_config(run), run)
    if config.net is None:
        raise RunError(f"{path}: its net was made in Python: give it to hwtrain.program.lower.lower there")
    found = {spec.name: spec for spec in specs(config)}
    name = name or next(iter(found))  # the device comes first
    if name not in found:
        raise RunError(f"{path}: the run has no such trial: {nearest(name, found)}")
    folder = run / "trials" / name
    if not (folder / FILE).is_file():
        raise RunError(f"{folder}: no checkpoint yet: go on with: hwtrain train --resume {run}")
    job = replace(prepare(config, None, None, None, resume=False), folder=run)
    mark = job.mark(found[name])
    # What computed then is part of the fingerprint; here the trial is only held.
    config = job.config.model_copy(update={"engine": "torch", "torch_device": "cpu"})
    runner = Runner(found[name], config, job.net, job.data)
    runner.restore(folder, mark)
    return Rebuilt(runner.spec, job.config, job.data, runner.bound, runner.position)


def _trial(path: Path) -> tuple[Path, str | None]:
    """The run folder, and the trial's name where the path has one."""
    whole = path.absolute()
    if whole.parent.name == "trials" and not (path / "config.toml").exists():
        return whole.parent.parent, whole.name
    return path, None
