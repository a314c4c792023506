"""The program of a trial: what it costs, what it computes natively, and whether that is exact."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hwtrain.errors import ConfigError, ProgramError, nearest
from hwtrain.export.printers.base import Printer
from hwtrain.export.run import IntegerRunner, InterpretRunner, Memory, NativeRunner, Runner
from hwtrain.program.cost import cost, traffic
from hwtrain.program.ir import Program
from hwtrain.program.lower import lower
from hwtrain.program.plan import plan
from hwtrain.registry import lookup
from hwtrain.strict_toml import validate
from hwtrain.training.rebuild import Rebuilt, rebuild
from hwtrain.training.trial import order_of

ENGINES: dict[str, type[Runner]] = {
    "native": NativeRunner,
    "integer": IntegerRunner,
    "reference": InterpretRunner,
}

REFERENCE_SAMPLES = 100
"""The interpreter is slow: it predicts so many."""

_TIMED_S = 0.2


@dataclass(frozen=True)
class Figures:
    """What a program takes, in bytes, and what a step costs.

    ``buffers`` are all but temporaries, which lie in the arena; ``bound`` is the least that any arena
    could need. ``macs`` and ``traffic`` are those of one step, None where they depend on the data.
    """

    buffers: int
    arena: int
    bound: int
    macs: int | None
    traffic: int | None


@dataclass(frozen=True)
class Prediction:
    """What ``predict`` came to; ``recorded`` is the run's own accuracy after its epoch ``epoch``.

    ``since``: samples that a stopped trial has trained on after that epoch.
    """

    trial: str
    engine: str
    eval_name: str
    samples: int
    of: int
    accuracy: float
    samples_per_s: float
    recorded: float | None
    epoch: int
    since: int


@dataclass(frozen=True)
class Check:
    """C beside the interpreter: ``changed`` is the share of weights that the steps changed."""

    steps: int
    compared: int
    changed: float
    mismatches: int


def program_of(trial: Rebuilt, batch: int | None = None) -> Program:
    """The program of a trial, its batches as large as in training if not told otherwise."""
    batch = batch or trial.config.batch
    return lower(trial.bound, trial.data.input_shape, batch, trial.spec.name)


def show(run: Path) -> tuple[Program, Figures]:
    """The program of a run's trial, and its figures."""
    program = program_of(rebuild(run))
    layout = plan(program)
    buffers = sum(buffer.nbytes for buffer in program.buffers.values() if buffer.role != "temp")
    macs: int | None = None
    moved: int | None = None
    try:
        macs = sum(counts.get("macs", 0) for counts in cost(program, "step").values())
        moved = traffic(program, "step")
    except ProgramError:  # a `when`
        pass
    return program, Figures(buffers, layout.size, layout.bound, macs, moved)


def predict(run: Path, engine: str = "native") -> Prediction:
    """Run ``predict`` over the split that the run was evaluated on.

    Raises:
        HwtrainError: no such run or engine, no kernels in C for its device, or no compiler.
    """
    if engine not in ENGINES:
        raise ConfigError(f"engine = {engine!r}: {nearest(engine, ENGINES)}")
    trial = rebuild(run)
    runner = ENGINES[engine](program_of(trial, 1))
    data = trial.data
    of = len(data.eval_y)
    n = min(of, REFERENCE_SAMPLES) if engine == "reference" else of
    memory = runner.memory(n, {"x": _codes(trial, data.eval_x[:n])})
    began, runs = time.perf_counter(), 0
    while runs == 0 or (engine == "native" and time.perf_counter() - began < _TIMED_S):
        runner.run("predict", n, memory)  # every time the same
        runs += 1
    speed = runs * n / (time.perf_counter() - began)
    hits = memory["z"].reshape(n, -1).argmax(1) == data.eval_y[:n]
    rows = trial.position.rows
    return Prediction(
        trial=trial.spec.name,
        engine=engine,
        eval_name=data.eval_name,
        samples=n,
        of=of,
        accuracy=float(hits.mean()),
        samples_per_s=speed,
        recorded=rows[-1]["accuracy"] if rows else None,
        epoch=len(rows),
        since=trial.position.samples,
    )


def check(run: Path, steps: int = 20) -> Check:
    """Train so many steps in the interpreter and in C, from the trial's weights, on what would come next.

    After them both predict the same samples, and every buffer of one is held to that of the other, bit
    for bit. The learning rate is that of the first epoch, the largest.

    Raises:
        HwtrainError: no such run, no kernels in C for its device, or no compiler.
    """
    trial = rebuild(run)
    program = program_of(trial)
    position = trial.position
    samples = next_samples(trial, steps)
    found: list[Memory] = []
    for runner in (NativeRunner(program), InterpretRunner(program)):
        memory = runner.memory(steps, {name: values.copy() for name, values in samples.items()})
        with np.errstate(all="ignore"):  # weights that diverged must agree, too
            runner.run("step", steps, memory, trial.spec.lr, position.step)
            runner.run("predict", steps, memory)
        found.append(memory)
    native, reference = found
    weights = [name for name, buffer in program.buffers.items() if buffer.role == "weight"]
    changed = sum(differences(native[name], program.contents[name]) for name in weights)
    return Check(
        steps,
        sum(values.size for values in reference.values()),
        changed / sum(program.contents[name].size for name in weights),
        sum(differences(native[name], reference[name]) for name in reference),
    )


def differences(these: NDArray[Any], those: NDArray[Any]) -> int:
    """How many values differ in any bit; NaN is NaN, for no standard says which bits it has."""
    bits = f"u{these.itemsize}"
    apart: NDArray[np.bool_] = these.view(bits) != those.view(bits)
    return int((apart & ((these == these) | (those == those))).sum())


def _codes(trial: Rebuilt, x: NDArray[np.float32]) -> NDArray[Any]:
    """Samples as the net's signals."""
    codes: NDArray[Any] = trial.bound.net.encode(torch.from_numpy(x)).contiguous().numpy()
    return codes


def printer(name: str, **options: str) -> Printer:
    """The printer of a name with the flags that it was given.

    Raises:
        HwtrainError: no such printer, or a flag that it does not take.
    """
    made: type[Printer] = lookup("printers", name)
    return made(validate(made.Options, options, where=f"--to {name}", text="", error=ConfigError))


def export(run: Path, out: Path, to: Printer, steps: int = 20) -> int:
    """Write the trial's program and run what was written; how many values that compared.

    Raises:
        HwtrainError: no such run, or a program that this printer cannot write; nothing is written then.
    """
    trial = rebuild(run)
    batch = trial.config.batch
    x, labels = next_samples(trial, steps).values()
    samples = {"x": x.reshape(steps, batch, *x.shape[1:]), "labels": labels.reshape(steps, batch)}
    return to.write(program_of(trial), samples, trial.spec.lr, out)


def next_samples(trial: Rebuilt, steps: int) -> Memory:
    """What the trial would train on next."""
    if steps < 1:
        raise ConfigError(f"steps = {steps}: at least 1")
    data, position = trial.data, trial.position
    order = order_of(trial.spec.seed, position.epoch, len(data.train_y))
    taken = np.resize(np.roll(order, -position.samples), steps * trial.config.batch)
    return {"x": _codes(trial, data.train_x[taken]), "labels": data.train_y[taken].astype(np.int32)}
