"""A run: its trials over seeds and controls, in processes if asked, and what came out."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from threading import Event
from typing import Any

import torch

from hwtrain import data as datasets
from hwtrain.cards import FixedCard
from hwtrain.config import SOFTWARE, TrainConfig, device_map, read_run_config, to_toml
from hwtrain.data import Split
from hwtrain.errors import ConfigError, IncompatibleRule, NativeError, ProgramError, RunError
from hwtrain.files import cannot, is_temporary, make_folder, write_file
from hwtrain.layers.dense import Dense
from hwtrain.losses.base import Loss
from hwtrain.net import Graph, Net
from hwtrain.nets.base import build
from hwtrain.registry import lookup
from hwtrain.training.checkpoint import FILE, load_checkpoint
from hwtrain.training.engine import engine_of
from hwtrain.training.lock import LOCK, alone_in
from hwtrain.training.metrics import Result, summarise
from hwtrain.training.processes import asked_to_stop, in_processes
from hwtrain.training.trial import Outcome, Runner, Spec, cards_of, place, specs

_PLAIN = (bool, int, float, str, tuple, type(None))
Progress = Callable[[str, int, int], None]
"""Hears (trial, samples done, samples in all)."""


@dataclass(frozen=True)
class Job:
    """All that a trial needs; what a worker process is sent."""

    config: TrainConfig
    net: Net
    data: Split
    folder: Path | None
    fingerprint: str

    def trial_folder(self, spec: Spec) -> Path | None:
        """Where the trial keeps its files."""
        return None if self.folder is None else self.folder / "trials" / spec.name

    def mark(self, spec: Spec) -> str:
        """What the trial's checkpoint must carry."""
        return f"{self.fingerprint} {spec.name}"


def run(
    config: TrainConfig,
    *,
    net: Net | None = None,
    data: Any = None,
    out: Path | None = None,
    resume: bool = False,
    workers: int = 1,
    controls: bool = True,
    progress: Progress = lambda *_: None,
) -> Result:
    """Train every trial of ``config`` and gather what came out.

    Everything that can be wrong with the input is found before ``out`` is touched. With ``resume``
    the trials go on from the checkpoints in ``out``. The result does not depend on ``workers``.
    Without ``controls`` only the device is trained, as a search does that has its controls elsewhere.
    """
    torch.set_num_threads(1)  # parallelism is over trials; and sums keep their order
    began = time.monotonic()
    if workers < 1:
        raise ConfigError(f"workers = {workers}: at least 1")
    job = prepare(config, net, data, out, resume)
    with nullcontext() if out is None else alone_in(out), asked_to_stop() as stop:
        if out is not None:
            _open_folder(job, out, resume)
        config = job.config  # resolved: what config.toml says
        planned = [spec for spec in specs(config) if controls or spec.role == "device"]
        outcomes = list(_trials(job, planned, workers, progress, stop))
        order = {spec.name: place for place, spec in enumerate(planned)}
        outcomes.sort(key=lambda outcome: order[outcome.spec.name])
        result = summarise(config, outcomes, job.data, out, time.monotonic() - began)
        if out is not None:
            write_file(out / "result.json", json.dumps(result.as_dict(), indent=1) + "\n")
        return result


def run_quickest(config: TrainConfig, **how: Any) -> Result:
    """``run`` on the native engine where it can, else on the config's own; the same devices either way."""
    try:
        return run(config.model_copy(update={"engine": "native"}), **how)
    except (IncompatibleRule, NativeError, ProgramError):
        return run(config, **how)


def prepare(config: TrainConfig, net: Net | None, data: Any, out: Path | None, resume: bool) -> Job:
    """Check the input whole: data, cards, net, ports and the state of the run folder."""
    split = datasets.load(config.data if data is None else data, evaluate=config.evaluate)
    if net is None:
        config = _resolved(config, split)
        net = _built(config, split)
    elif config.activation is not None:
        raise ConfigError("activation: the net that was given has its own: leave it out")
    elif config.loss is not None:
        net = net.copy().with_loss(loss_of(config))
    split = _shaped(split, net)
    made = net.out_shape(split.input_shape)
    if made != (split.classes,):
        raise ConfigError(
            f"net: makes {made} outputs and {split.name} has {split.classes} classes: change the net"
        )
    _check_memory(net)
    for spec in specs(config.model_copy(update={"seeds": 1})):  # ports are the same for every seed
        engine_of(config.engine, *place(spec, config, net), config.batch, split.input_shape, config.threads)
    if out is not None:
        _check_folder(out, resume)
    return Job(config, net, split, out, _fingerprint(config, net, split))


def _check_folder(out: Path, resume: bool) -> None:
    """A folder to begin in holds nothing yet, or does not exist; one to resume holds a run."""
    try:
        held = [file.name for file in out.iterdir()]
        free = _unbegun(out)
    except FileNotFoundError:
        held, free = [], True
    except OSError as problem:
        raise cannot(out, "use the folder", problem) from None
    if resume and "env.json" not in held:
        raise RunError(f"{out}: not the folder of a run: name the one that hwtrain train --out made")
    if not resume and not free:
        raise RunError(f"{out}: already holds files: go on with --resume {out}, or choose another --out DIR")


def _unbegun(out: Path) -> bool:
    """Whether it holds nothing, or what a run left that was killed before it had its config.toml."""
    env = out / "env.json"
    ours = env.is_file() and b'"hwtrain":' in env.read_bytes()
    first = {out / LOCK} | ({env, *(out / "cards").glob("*.toml")} if ours else set())
    return all(
        file in first or is_temporary(file) or (file.is_dir() and not file.is_symlink())
        for file in out.rglob("*")
    )


def loss_of(config: TrainConfig) -> Loss | None:
    """The loss that was asked for; None leaves the choice to the net."""
    return None if config.loss is None else lookup("losses", config.loss)()


def default_net(split: Split) -> str:
    """One hidden layer: 32 wide for inputs as small as the digits, else 128."""
    inputs = int(torch.Size(split.input_shape).numel())
    return f"{inputs}-{32 if inputs <= 64 else 128}-{split.classes}"


def _resolved(config: TrainConfig, split: Split) -> TrainConfig:
    """With the net and the activation that were left open; a net from elsewhere has its own activations."""
    spec = config.net or default_net(split)
    if spec.endswith(".onnx") or ":" in spec:
        if config.activation is not None:
            raise ConfigError(f"activation: net {spec} has its own: leave it out")
        return config
    codes = any(isinstance(found, FixedCard) for found in cards_of(config).values())
    activation = config.activation or ("relu" if codes else "tanh")
    return config.model_copy(update={"net": spec, "activation": activation})


def _built(config: TrainConfig, split: Split) -> Net:
    try:
        return build(
            str(config.net), split.input_shape, split.classes, str(config.activation), loss_of(config)
        )
    except ValueError:  # Python reads no whole number of thousands of digits
        raise ConfigError(
            f"net = '{str(config.net)[:20]}...': a layer is too wide: make it narrower"
        ) from None


def _check_memory(net: Net) -> None:
    """Refuse dense layers that cannot fit; where memory is promised freely, the system would kill us."""
    try:
        have = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf, and promises nothing
        return
    need = 4 * sum(layer.in_ * layer.out for _, layer in net.layers() if isinstance(layer, Dense))
    if need > have:
        raise ConfigError(
            f"net: its weights take at least {need / 1e9:,.0f} GB and this machine has {have / 1e9:,.0f}: "
            "make it narrower"
        )


def _shaped(split: Split, net: Net) -> Split:
    """Images as vectors, for a net that starts with a dense layer."""
    first = next(layer for _, layer in net.layers())
    if not isinstance(first, Dense) or len(split.input_shape) == 1:
        return split
    return replace(
        split,
        train_x=split.train_x.reshape(len(split.train_x), -1),
        eval_x=split.eval_x.reshape(len(split.eval_x), -1),
    )


def _open_folder(job: Job, out: Path, resume: bool) -> None:
    """Make what is to be there before the first step, or see that the checkpoints are whole and our own."""
    _check_folder(out, resume)  # again, now that nobody else can change it
    for spec in specs(job.config) if resume else ():
        folder = job.trial_folder(spec)
        if folder is not None and (folder / FILE).exists():
            load_checkpoint(folder, job.mark(spec))
    for left in [file for file in out.rglob("*") if is_temporary(file)]:  # of a run that was killed
        left.unlink(missing_ok=True)
    if not resume:
        # First, so that the folder is known for ours whatever follows.
        write_file(out / "env.json", json.dumps(environment(job.config), indent=1) + "\n")
        for name in device_map(job.config.device).values():
            if name.endswith(".toml"):  # the run keeps its own copy: the user may edit hers
                make_folder(out / "cards")
                write_file(out / "cards" / Path(name).name, Path(name).read_bytes())
    if not resume or _more_seeds(job.config, read_run_config(out)):
        write_file(out / "config.toml", to_toml(job.config))  # last: with it, the run can be resumed
    for spec in specs(job.config):
        folder = job.trial_folder(spec)
        assert folder is not None
        make_folder(folder)


def _more_seeds(now: TrainConfig, before: TrainConfig) -> bool:
    return now.seed == before.seed and now.seeds > before.seeds


def environment(config: TrainConfig) -> dict[str, Any]:
    """What the numbers were made with."""
    return {
        "format": 1,
        "hwtrain": version("hwtrain"),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "engine": config.engine,
        "isa": torch.backends.cpu.get_cpu_capability(),
    }


def _fingerprint(config: TrainConfig, net: Net, split: Split) -> str:
    """What a checkpoint must agree with: settings, cards, net, data and the versions that compute."""
    digest = hashlib.sha256()
    # Neither the number of seeds nor that of seconds between checkpoints changes a trial; of a card
    # the content counts, not the name.
    settings = config.model_dump(exclude={"device", "seeds", "seed", "checkpoint_every_s"})
    cards = {name: found.model_dump(mode="json") for name, found in cards_of(config).items()}
    versions = [version("hwtrain"), torch.__version__, torch.backends.cpu.get_cpu_capability()]
    digest.update(json.dumps([settings, _described(net), cards, versions], sort_keys=True).encode())
    for values in (split.train_x, split.train_y, split.eval_x, split.eval_y):
        digest.update(values.tobytes())
    placed, _ = place(Spec("baseline", "backprop", SOFTWARE, 0, config.lr), config, net)
    for path, array in placed.net.arrays():  # shapes, and the weights that a net may bring along
        digest.update(f"{path} {array.geometry.shape}".encode() + array.peek().cpu().numpy().tobytes())
    return digest.hexdigest()


def _described(net: Net) -> list[Any]:
    """A net's layers as they were made, how they are wired, and its loss."""
    nodes, inputs = (net.nodes, net.inputs) if isinstance(net, Graph) else (net.children, None)
    children: list[Any] = []
    for name, child in nodes.items():
        if isinstance(child, Net):
            children.append([name, _described(child)])
            continue
        made = {key: value for key, value in vars(child).items() if isinstance(value, _PLAIN)}
        children.append([name, type(child).__name__, made])
    return [type(net).__name__, type(net.loss).__name__, inputs, children]


def _trials(
    job: Job, planned: list[Spec], workers: int, progress: Progress, stop: Event
) -> Iterator[Outcome]:
    total, workers = job.config.epochs * len(job.data.train_y), min(workers, len(planned))
    train = partial(_train, job)

    def hear(name: str, done: int) -> None:
        progress(name, done, total)

    if workers == 1:
        for spec in planned:
            yield train(spec, partial(hear, spec.name), stop.is_set)
        return
    yield from in_processes(train, planned, workers, hear, stop)


def _train(job: Job, spec: Spec, tick: Callable[[int], None], stop: Callable[[], bool]) -> Outcome:
    runner = Runner(spec, job.config, job.net, job.data)
    return runner.run(job.trial_folder(spec), job.mark(spec), tick, stop)
