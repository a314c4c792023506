"""What the commands share: progress, and the exit code of one that was stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

STOPPED = 130
"""Exit code of a run that was asked to stop: the shell's own for Ctrl-C."""


@contextmanager
def progress_bar(trials: int | None) -> Iterator[Callable[[str, int, int], None]]:
    """One bar over all trials, or over each where their number is None; only where stderr is a terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f}%"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("starting", total=None)
        samples: dict[str, int] = {}

        def hear(name: str, done: int, total: int) -> None:
            samples[name] = done
            completed = done if trials is None else sum(samples.values())
            bar.update(task, total=(trials or 1) * total, completed=completed, description=name)

        yield hear


@contextmanager
def busy(what: str) -> Iterator[None]:
    """What goes on and since when, of work that cannot say how far it is; only where stderr is a terminal."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        bar.add_task(what, total=None)
        yield
