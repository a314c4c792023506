"""Where the time of a training step in C goes: which thread is in which kernel, and when."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hwtrain.analysis.programs import next_samples, program_of
from hwtrain.errors import ConfigError
from hwtrain.export.run import Memory, NativeRunner
from hwtrain.training.rebuild import rebuild

STEPS = 255
"""Of a turn; odd, so that one of them is the median."""
_TURNS = 5
"""After one to warm up; the kernels of the last are what is shown."""


@dataclass(frozen=True)
class Span:
    """A thread is in a kernel; microseconds, from the first kernel of the step on."""

    thread: int
    where: str
    kernel: str
    start_us: float
    us: float


@dataclass(frozen=True)
class StepTime:
    """The step of median length; and a step's mean where kernels are not timed, the best of five turns."""

    trial: str
    threads: int
    steps: int
    step_us: float
    untimed_us: float
    spans: list[Span]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return vars(self) | {"spans": [vars(span) for span in self.spans]}


def step_time(run: Path, threads: int = 1) -> StepTime:
    """Train on what would come next, from the trial's weights, and time every kernel of every step.

    Raises:
        HwtrainError: no such run, no kernels in C for its device, too many threads, or no compiler.
    """
    if not 1 <= threads <= 64:
        raise ConfigError(f"--threads {threads}: from 1 to 64")
    trial = rebuild(run)
    program, samples = program_of(trial), next_samples(trial, STEPS)

    def trained(runner: NativeRunner) -> float:
        memory: Memory = runner.memory(STEPS, {name: values.copy() for name, values in samples.items()})
        took = []
        for turn in range(1 + _TURNS):
            if runner.timed_calls:
                runner.clock()[...] = 0
            began = time.perf_counter()
            runner.run("step", STEPS, memory, trial.spec.lr, turn * STEPS)
            took.append(time.perf_counter() - began)
        return min(took[1:]) / STEPS

    untimed = trained(NativeRunner(program, threads))
    runner = NativeRunner(program, threads, keep_steps=STEPS)
    trained(runner)
    clock = runner.clock()
    ran = clock[..., 0] > 0
    first = np.where(ran, clock[..., 0], np.iinfo(np.int64).max).min((1, 2))
    length = clock[..., 1].max((1, 2)) - first
    middle = int(np.argsort(length)[STEPS // 2])
    spans = [
        Span(
            thread=int(thread),
            where=runner.timed_calls[place].where or "loss",
            kernel=runner.timed_calls[place].kernel,
            start_us=(clock[middle, thread, place, 0] - first[middle]) / 1e3,
            us=(clock[middle, thread, place, 1] - clock[middle, thread, place, 0]) / 1e3,
        )
        for thread, place in np.argwhere(ran[middle])
    ]
    spans.sort(key=lambda span: (span.start_us, span.thread))
    return StepTime(trial.spec.name, threads, STEPS, length[middle] / 1e3, untimed * 1e6, spans)
