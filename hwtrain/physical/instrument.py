"""An instrument in the loop: physics that another process measures, or somebody in a laboratory.

Over a pipe: one JSON object a line. Request and answer, for a batch of two samples:

    {"pass": 17, "try": 0, "op": "measure", "x": [[0.1, 0.2], [0.3, 0.4]]}
    {"pass": 17, "try": 0, "y": [[1.5], [1.7]]}

Passes count up from 0 and name a measurement for good. Whoever answers keeps its answers and, asked for
the same pass and try again, gives the same answer without measuring: so either side may be killed at any
time, and no measurement is repeated or lost. A new try is a wish for a new measurement, because the answer
was no possible one.

``op`` is ``measure``, or of an array of cells (weights in units of the largest, W of (out, in_)):

    read     x: rows of in_ numbers    y: rows W x
    read_t   x: rows of out numbers    y: rows W^T x
    pulse    x: rows [weight, n], weights numbered row by row, n pulses up or -n down    y: []

A ``pulse`` is never asked for with a new try: it would land twice.

In a folder: ``request-000017-0-read.csv``, named by pass, try and op, a row a sample, waits for
``answer-000017-0-read.csv``; the answer to a pulse is an empty file.
"""

from __future__ import annotations

import contextlib
import json
import math
import queue
import subprocess
import threading
import time
import weakref
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hwtrain.cards.instrument import TRIES
from hwtrain.cards.instrument import Instrument as InstrumentCard
from hwtrain.errors import InstrumentBroken, InstrumentDied, InstrumentError, InstrumentSlow, RunError
from hwtrain.files import write_file
from hwtrain.physical.journal import Journal

Rows = list[list[float]]


class Instrument(ABC):
    """Asks for measurements by number, checks the answers, tries again."""

    def __init__(self, card: InstrumentCard, path: str, out: int) -> None:
        self.card, self.path, self.out = card, path, out
        self.number = 0
        """The next pass."""

    def measure(self, drive: Tensor) -> Tensor:
        """The response (batch, out) to a drive (batch, drives): one pass.

        Raises:
            InstrumentError: no possible answer after all retries; names the pass.
        """
        return self.ask("measure", drive, self.out)

    def ask(self, op: str, x: Tensor, width: int | None) -> Tensor:
        """One pass: an answer of a row of ``width`` numbers for each row of x, or of no rows for None.

        Raises:
            InstrumentError: no possible answer after all retries; names the pass.
        """
        sent, n = x.tolist(), 0 if width is None else len(x)
        problem: InstrumentError | None = None
        attempt = 0
        for _ in range(self.card.retries + 1):
            try:
                rows = self.request(self.number, attempt, op, sent)
                self._check(rows, n, width or 0)
            except InstrumentError as found:
                problem = found
                attempt += isinstance(found, Impossible) and op != "pulse"
                continue
            self.number += 1
            return torch.tensor(rows, dtype=x.dtype).view(n, width or 0)
        assert problem is not None
        raise problem

    @abstractmethod
    def request(self, number: int, attempt: int, op: str, x: Any) -> Rows:
        """Ask once; InstrumentError where no answer comes."""

    def hidden(self) -> dict[str, Tensor]:
        """The number of the next pass: a training that resumes from here asks for it again."""
        return {"pass": torch.tensor(self.number)}

    def restore(self, hidden: dict[str, Tensor]) -> None:
        """Undo of ``hidden``."""
        self.number = int(hidden["pass"])

    def where(self, number: int) -> str:
        """What an error begins with."""
        return f"layer {self.path}: instrument: pass {number}"

    def _check(self, rows: Any, n: int, width: int) -> None:
        where = self.where(self.number)
        if not isinstance(rows, list) or len(rows) != n:
            raise Impossible(f"{where}: the answer has not one row a sample ({n}): mend the instrument")
        for row in rows:
            if not isinstance(row, list) or len(row) != width:
                raise Impossible(f"{where}: the answer has rows of not {width} numbers: mend the instrument")
            for value in row:
                if not isinstance(value, int | float) or not math.isfinite(value):
                    raise Impossible(f"{where}: the answer holds {value!r}, no number: look at the sensor")
                if not self.card.low <= value <= self.card.high:
                    raise Impossible(
                        f"{where}: the answer holds {value!r}, outside of {self.card.low:g} to "
                        f"{self.card.high:g}: look at the sensor, or widen instrument.low and high"
                    )


class Impossible(InstrumentBroken):
    """An answer that came whole and cannot be right."""


class Pipe(Instrument):
    """A process that answers on its standard output; started at the first pass, and again if it dies."""

    def __init__(self, card: InstrumentCard, path: str, out: int) -> None:
        super().__init__(card, path, out)
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._closing: Any = None

    def request(self, number: int, attempt: int, op: str, x: Any) -> Rows:
        """Write a line, wait for one."""
        process = self._running()
        line = json.dumps({"pass": number, "try": attempt, "op": op, "x": x})
        assert process.stdin is not None
        try:
            process.stdin.write(line + "\n")
            process.stdin.flush()
        except OSError:
            raise self._dead(number) from None
        until = time.monotonic() + self.card.timeout_s
        while True:
            try:
                answer = self._lines.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                self.close()  # whatever it is at, the next try begins with a process that listens
                raise InstrumentSlow(
                    f"{self.where(number)}: no answer within {self.card.timeout_s:g} s: look at the "
                    "instrument, or raise instrument.timeout_s"
                ) from None
            if answer is None:
                raise self._dead(number)
            found = self._parsed(answer, number)
            if (found.get("pass"), found.get("try")) == (number, attempt):
                return found.get("y")  # type: ignore[return-value]  # checked by the caller; answers to earlier passes that were given up are passed over

    def close(self) -> None:
        """End the process."""
        if self._closing is not None:
            self._closing()
        self._process = None

    def _parsed(self, line: str, number: int) -> dict[str, Any]:
        try:
            found = json.loads(line)
            if line.endswith("\n") and isinstance(found, dict):
                return found
        except ValueError:
            pass
        self.close()
        raise InstrumentBroken(
            f"{self.where(number)}: the answer is no whole line of JSON: {line[:40]!r}: mend the instrument"
        )

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            assert self.card.command is not None
            try:
                process = subprocess.Popen(
                    self.card.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
                )
            except OSError as problem:
                raise InstrumentDied(
                    f"{self.where(self.number)}: cannot start {self.card.command[0]}: {problem.strerror}: "
                    "mend instrument.command"
                ) from None
            self._lines = queue.Queue()
            threading.Thread(target=_listen, args=(process, self._lines), daemon=True).start()
            self._process, self._closing = process, weakref.finalize(self, _end, process)
        return self._process

    def _dead(self, number: int) -> InstrumentDied:
        code = None if self._process is None else self._process.poll()
        self.close()
        return InstrumentDied(
            f"{self.where(number)}: the process ended (exit code {code}): look at its own messages"
        )

    def __deepcopy__(self, memo: Any) -> Pipe:
        """A copy with a process of its own, once it needs one."""
        made = Pipe(self.card, self.path, self.out)
        made.number = self.number
        return made


class Folder(Instrument):
    """Requests and answers as CSV files; what is answered stays answered."""

    def request(self, number: int, attempt: int, op: str, x: Any) -> Rows:
        """Write the request, wait for the answer."""
        assert self.card.folder is not None
        folder = Path(self.card.folder)
        name = f"{number:06d}-{attempt}-{op}.csv"
        request, answer = folder / f"request-{name}", folder / f"answer-{name}"
        if not answer.exists():
            folder.mkdir(parents=True, exist_ok=True)
            write_file(request, "".join(",".join(map(repr, row)) + "\n" for row in x))
        until = time.monotonic() + self.card.timeout_s
        while not answer.exists():
            if time.monotonic() > until:
                raise InstrumentSlow(
                    f"{self.where(number)}: {answer} is not there after {self.card.timeout_s:g} s: measure "
                    f"{request.name}, put the answer there, and resume"
                )
            time.sleep(min(0.05, self.card.timeout_s))
        text = answer.read_text(encoding="utf-8")
        if op == "pulse" and not text.strip():
            return []
        if not text.endswith("\n"):
            raise InstrumentBroken(f"{self.where(number)}: {answer} ends within a line: write, then rename")
        try:
            return [[float(value) for value in line.split(",")] for line in text.splitlines()]
        except ValueError:
            raise Impossible(f"{self.where(number)}: {answer}: not a table of numbers: mend it") from None


def connect(card: InstrumentCard, path: str, out: int) -> Instrument:
    """The instrument of a card, as the array at ``path`` asks it."""
    if card.command is not None:
        command = [word.replace("{layer}", path) for word in card.command]
        return Pipe(card.model_copy(update={"command": command}), path, out)
    assert card.folder is not None
    return Folder(card.model_copy(update={"folder": card.folder.replace("{layer}", path)}), path, out)


def serve(log: Path, answer: Any, lines: Any, write: Any, again: Any = None) -> None:
    """The instrument's side: answer requests; ``answer(op, x, number, attempt)`` measures.

    Every request is in ``log`` with its answer before that is given, so a pass asked for again is not
    measured again. At the start ``again``, called as ``answer`` is, hears all that the log holds: an emulated
    array comes back to the state that its pulses left, which a real one keeps by itself.

    Raises:
        RunError: the log holds another request for the pass, or a line is no request.
    """
    with Journal(log) as journal:
        for name, entry in journal.entries.items() if again is not None else ():
            again(entry["op"], entry["x"], *map(int, name.split(".")))
        for line in lines:
            try:
                asked = json.loads(line)
                op, x, number, attempt = (asked[word] for word in ("op", "x", "pass", "try"))
                if not (isinstance(op, str) and type(number) is type(attempt) is int and number >= 0):
                    raise ValueError
            except (ValueError, KeyError, TypeError):
                raise RunError(
                    f"request {line.strip()[:40]!r}: no line of JSON with pass, try, op, x: docs/physical.md"
                ) from None
            if attempt not in range(TRIES):
                raise RunError(f"pass {number}: try {attempt}: tries are 0 to {TRIES - 1}: mend who asks")
            entry = journal.get(f"{number}.{attempt}")
            if entry is None:
                entry = {"op": op, "x": x, "y": answer(op, x, number, attempt)}
                journal.put(f"{number}.{attempt}", entry)
            elif (entry["op"], entry["x"]) != (op, x):
                raise RunError(
                    f"{log}: pass {number} was asked for with another request: give every training and every "
                    "layer a log of its own ({layer} in the command)"
                )
            write(json.dumps({"pass": number, "try": attempt, "y": entry["y"]}) + "\n")


def _listen(process: subprocess.Popen[str], lines: queue.Queue[str | None]) -> None:
    assert process.stdout is not None
    with contextlib.suppress(ValueError, OSError):  # closed under us
        for line in process.stdout:
            lines.put(line)
    lines.put(None)


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        with contextlib.suppress(OSError, ValueError):
            if stream is not None:
                stream.close()
