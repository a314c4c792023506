"""One trial: a net, a rule, devices and a seed, trained from wherever its checkpoint stands."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hwtrain.arith.threefry import Purpose, Streams
from hwtrain.cards import card, card_id
from hwtrain.config import SOFTWARE, TrainConfig, device_map, device_of, rule_options
from hwtrain.data import Split
from hwtrain.direction import Clip, Momentum, Sum, Transform
from hwtrain.errors import ConfigError, HwtrainError
from hwtrain.files import write_file
from hwtrain.ledger import Ledger
from hwtrain.net import Net
from hwtrain.registry import lookup
from hwtrain.rules.base import Bound
from hwtrain.substrates.base import Options, Substrate, Trial, substrate_of
from hwtrain.training.checkpoint import FILE, load_checkpoint, save_checkpoint
from hwtrain.training.engine import engine_of
from hwtrain.training.observe import histograms, layer_figures


@dataclass(frozen=True)
class Spec:
    """What tells one trial of a run from another."""

    role: str
    rule: str
    device: str | dict[str, str]
    seed: int
    lr: float

    @property
    def name(self) -> str:
        """<rule>-<device>-s<seed>, the name of its folder."""
        device = self.device if isinstance(self.device, str) else "mixed"
        device = "mixed" if "=" in device else card_id(device)
        return f"{self.rule}-{device}-s{self.seed}"


@dataclass
class Position:
    """Where a trial stands; everything but the tensors that a checkpoint must keep."""

    step: int = 0
    epoch: int = 0
    samples: int = 0
    loss: float = 0.0
    wall_s: float = 0.0
    done: bool = False
    rows: list[dict[str, Any]] = field(default_factory=list)
    ledger: list[dict[str, Any]] = field(default_factory=list)
    histograms: dict[str, dict[str, list[float]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """A finished trial."""

    spec: Spec
    position: Position
    tensors: dict[str, Tensor]


class Stopped(HwtrainError):
    """Training was asked to stop, and did so after its checkpoint if it has a folder."""


def specs(config: TrainConfig) -> list[Spec]:
    """The trials of a run: device, software baseline and shallow control, for every seed."""
    software = config.baseline_lr or config.lr
    found: dict[str, Spec] = {}
    for seed in range(config.seed, config.seed + config.seeds):
        for spec in (
            Spec("device", config.rule, config.device, seed, config.lr),
            Spec("baseline", "backprop", SOFTWARE, seed, software),
            Spec("shallow", "shallow", SOFTWARE, seed, software),
        ):
            if found.setdefault(spec.name, spec).lr != spec.lr:
                raise ConfigError(
                    f"baseline_lr = {config.baseline_lr}: {SOFTWARE} is the baseline itself: leave it out"
                )
    return list(found.values())


def torch_device(config: TrainConfig) -> torch.device:
    """What computes; ConfigError where torch cannot."""
    try:
        device = torch.device(config.torch_device)
        torch.zeros(1, device=device).item()
    except Exception as problem:  # noqa: BLE001 - every back end raises something of its own
        said = next(iter(str(problem).splitlines()), type(problem).__name__)
        raise ConfigError(f"torch_device = {config.torch_device!r}: {said}: choose cpu") from None
    return device


def place(spec: Spec, config: TrainConfig, net: Net) -> tuple[Bound, Ledger]:
    """A copy of the net on its devices, with its rule; IncompatibleRule if they do not fit."""
    placed = net.copy()
    ledger = Ledger()
    trial = Trial(Streams(spec.seed), ledger, torch.float32, torch_device(config))
    options = Options(
        config.update,
        config.cell,
        config.refresh,
        config.refresh_every,
        config.weight_range,
        config.conductances,
    )
    made: dict[str, Substrate] = {}

    def substrate(path: str) -> Substrate:
        name = device_of(spec.device, path)
        if name not in made:
            made[name] = substrate_of(card(name), options)
        return made[name]

    def transforms() -> list[Transform]:
        chain: list[Transform] = [Sum()] if config.summed else []
        if config.clip is not None:
            chain.append(Clip(config.clip))
        if config.momentum > 0:
            chain.append(Momentum(config.momentum))
        return chain

    placed.place(trial, substrate, substrate_of(card(SOFTWARE), options), transforms)
    asked = rule_options(config.rule_options) if spec.role == "device" else {}
    bound: Bound = lookup("rules", spec.rule)(**asked).bind(placed)
    if bound.batch not in (None, config.batch):
        raise ConfigError(
            f"batch = {config.batch}: as it is set, rule {spec.rule} takes {bound.batch} a step: leave it out"
        )
    if config.batch < bound.batch_min:
        raise ConfigError(
            f"batch = {config.batch}: rule {spec.rule} takes {bound.batch_min} samples a step at least: "
            "give it a larger batch"
        )
    return bound, ledger


class Runner:
    """Trains one trial, epoch by epoch and chunk by chunk."""

    def __init__(self, spec: Spec, config: TrainConfig, net: Net, data: Split) -> None:
        self.spec, self.config, self.data = spec, config, data
        self.bound, self.ledger = place(spec, config, net)
        self.engine = engine_of(
            config.engine, self.bound, self.ledger, config.batch, data.input_shape, config.threads
        )
        self.position = Position(histograms=histograms(self.bound.net, "before"))
        device = torch_device(config)
        self.train = _tensors(data.train_x, data.train_y, device)
        self.eval = _tensors(data.eval_x, data.eval_y, device)
        self._saved = time.monotonic()
        self._began = time.monotonic()

    def run(
        self,
        folder: Path | None,
        fingerprint: str,
        tick: Callable[[int], None],
        stop: Callable[[], bool],
    ) -> Outcome:
        """Train to the end, from the checkpoint in ``folder`` if there is one.

        ``tick`` hears the samples done so far; ``stop`` is asked after every chunk, and Stopped is
        raised once the checkpoint stands.
        """
        if folder is not None and (folder / FILE).exists():
            self.restore(folder, fingerprint)
        position = self.position
        while not position.done:
            for chunk in self._chunks():
                self._train(chunk)
                tick(position.epoch * len(self.data.train_y) + position.samples)
                late = time.monotonic() - self._saved > self.config.checkpoint_every_s
                asked = stop()
                if folder is not None and (late or asked):
                    self._save(folder, fingerprint)
                if asked:
                    raise Stopped(f"{self.spec.name} was stopped: go on with resume, if it has a folder")
            self._finish_epoch()
            if folder is not None:
                self._save(folder, fingerprint)
        return Outcome(self.spec, position, self._tensors())

    def _chunks(self) -> Iterator[Tensor]:
        """What is left of this epoch's order, which is a function of seed and epoch alone."""
        n, size = len(self.data.train_y), self.engine.chunk * self.config.batch
        order = torch.from_numpy(order_of(self.spec.seed, self.position.epoch, n))
        for start in range(self.position.samples, n, size):
            yield order[start : start + size].to(self.train[1].device)

    def _train(self, chunk: Tensor) -> None:
        position = self.position
        lr = self.spec.lr * self.config.lr_decay**position.epoch
        x, labels = self.train[0][chunk], self.train[1][chunk]
        metrics = self.engine.run(x, labels, position.step, lr)
        position.step += -(-len(chunk) // self.config.batch)
        position.samples += metrics.samples
        position.loss += metrics.loss

    def _finish_epoch(self) -> None:
        position = self.position
        position.loss += self.engine.flush(position.step, self.spec.lr * self.config.lr_decay**position.epoch)
        found = self.engine.evaluate(*self.eval, position.step)
        position.epoch += 1
        row = {
            "epoch": position.epoch,
            "step": position.step,
            "accuracy": found.correct / found.samples,
            "loss": _finite(found.loss / found.samples),
            "train_loss": _finite(position.loss / position.samples),
            "layers": layer_figures(
                self.bound.net, self.ledger, found.samples * position.epoch, position.step
            ),
        }
        position.rows.append(row | self.bound.figures())
        position.samples, position.loss = 0, 0.0
        position.done = position.epoch == self.config.epochs
        if position.done:
            for path, after in histograms(self.bound.net, "after").items():
                position.histograms[path] |= after

    def _tensors(self) -> dict[str, Tensor]:
        rule = {f"rule/{name}": value for name, value in self.bound.state().items()}
        return self.bound.net.state() | rule

    def _save(self, folder: Path, fingerprint: str) -> None:
        position = self.position
        now = time.monotonic()
        position.wall_s += now - self._began
        self._began = self._saved = now
        position.ledger = self.ledger.rows()
        rows = "".join(json.dumps(row) + "\n" for row in position.rows)
        # The checkpoint last: once it says that the trial is done, nobody writes the others again.
        write_file(folder / "metrics.jsonl", rows)
        save_checkpoint(folder, self._tensors(), asdict(position), fingerprint)

    def restore(self, folder: Path, fingerprint: str) -> None:
        """Go to where the checkpoint in ``folder`` stands; RunError if it is damaged or another run's."""
        tensors, position = load_checkpoint(folder, fingerprint)
        self.position = Position(**position)
        self.ledger.restore(self.position.ledger)
        self.bound.net.restore(tensors)
        self.bound.restore(
            {name.removeprefix("rule/"): v for name, v in tensors.items() if name.startswith("rule/")}
        )


def order_of(seed: int, epoch: int, n: int) -> np.ndarray:
    """The order in which an epoch of a trial takes n samples."""
    return Streams(seed).stream(Purpose.SHUFFLE).at(epoch).permutation(n)


def cards_of(config: TrainConfig) -> dict[str, Any]:
    """Every card of a run, by the pattern of the layers that it is for."""
    return {pattern: card(name) for pattern, name in device_map(config.device).items()}


def _finite(value: float) -> float | None:
    """None for the loss of a run that diverged: JSON has no word for it."""
    return value if math.isfinite(value) else None


def _tensors(x: np.ndarray, labels: np.ndarray, device: torch.device) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(x).to(device), torch.from_numpy(labels).to(device)
