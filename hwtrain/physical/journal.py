"""A log that survives kills: one JSON line an entry, on disk before anybody hears of it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from hwtrain.errors import RunError


class Journal:
    """Entries by name, each written once; a line that a kill cut short is removed when it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: dict[str, Any] = {}
        try:
            path.touch()
            text = path.read_bytes()
            whole = text[: text.rfind(b"\n") + 1]
            for number, line in enumerate(whole.splitlines(), start=1):
                try:
                    entry = json.loads(line)
                    self.entries[entry["name"]] = entry["value"]
                except (ValueError, KeyError, TypeError):
                    raise RunError(f"{path}:{number}: no entry of a journal: remove the file") from None
            self._file = path.open("r+b")
            self._file.truncate(len(whole))
            self._file.seek(len(whole))
        except OSError as problem:
            said = problem.strerror or str(problem)
            raise RunError(f"{path}: cannot keep a log there: {said}: choose another file") from None

    def get(self, name: str) -> Any:
        """What was written under a name; None for nothing."""
        return self.entries.get(name)

    def put(self, name: str, value: Any) -> None:
        """Write an entry, and have it on disk."""
        if name in self.entries:
            raise RunError(f"{self.path}: entry {name} is there already: a pass is measured once")
        self._file.write(json.dumps({"name": name, "value": value}).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self.entries[name] = value

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self._file.close()
