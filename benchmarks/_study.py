"""What the studies share: runs that resume, figures as JSON lines, results with where they came from."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from hwtrain.analysis.estimate import Estimate, estimate
from hwtrain.config import make_config
from hwtrain.training.loop import environment, run
from hwtrain.training.metrics import Result

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
WORK = HERE.parent / "runs" / "studies"


class Figures:
    """Prints one JSON line a figure and keeps them; ``finish`` gives the exit code."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lines: list[dict[str, Any]] = []
        self.detail: dict[str, Any] = {}
        self.commit = commit()  # results change the tree

    def add(self, name: str, value: float | None, unit: str, target: str | None = None) -> None:
        """One figure, None where it could not be measured; ``target`` is such as ">= 0.96"."""
        line = {"name": name, "value": value, "unit": unit, "target": target, "ok": _meets(value, target)}
        self.lines.append(line)
        print(json.dumps(line), flush=True)

    def finish(self) -> int:
        """Write results/<name>.json with machine, date, commit; 1 when a target was missed."""
        document = {
            "study": self.name,
            "date": datetime.now(UTC).date().isoformat(),
            "commit": self.commit,
            "machine": _machine(),
            "load": os.getloadavg()[1],
            "environment": {k: v for k, v in environment(make_config()).items() if k != "engine"},
            "figures": self.lines,
            **self.detail,
        }
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{self.name}.json").write_text(json.dumps(document, indent=1) + "\n")
        return 0 if all(line["ok"] for line in self.lines) else 1


@cache
def commit() -> str:
    """The commit, ``-dirty`` where files that git knows had been changed when it was asked first."""
    asked = ["git", "describe", "--always", "--dirty"]
    return subprocess.run(asked, cwd=HERE, capture_output=True, text=True, check=False).stdout.strip()


@cache
def work(study: str, *more: Path) -> Path:
    """Where a study keeps what it made: other code has another folder, so nothing stale is used again.

    The name hashes ``hwtrain``, ``fpga``, ``devices``, the study's script, what scripts share, and ``more``
    files. What else a run depends on, such as its options, belongs in the name of what is kept there.
    """
    folders = [HERE.parent / name for name in ("hwtrain", "fpga", "devices")]
    files = [
        *(file for folder in folders for file in folder.rglob("*") if file.is_file()),
        *HERE.glob("_*.py"),
    ]
    hashed = hashlib.sha256()
    for file in sorted({*files, HERE / f"{study}.py", *more}):
        if file.suffix != ".pyc":
            text = file.read_bytes()
            hashed.update(f"{file.relative_to(HERE.parent).as_posix()} {len(text)}\n".encode() + text)
    return WORK / study / hashed.hexdigest()[:12]


def _machine() -> str:
    """The processor by name, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    model = f"{named.get('model name', platform.processor())}, family {named.get('cpu family', '?')}"
    return f"{model}, {os.cpu_count()} processors, {platform.system()}"


def _meets(value: float | None, target: str | None) -> bool:
    if target is None:
        return True
    if value is None:
        return False
    if " to " in target:
        low, high = map(float, target.split(" to "))
        return low <= value <= high
    sign, _, limit = target.partition(" ")
    return value >= float(limit) if sign == ">=" else value <= float(limit)


def resumed(study: str, name: str, workers: int = 2, **settings: Any) -> Result:
    """Train under runs/studies/<study>/<name>; what was done before is not done again."""
    folder = work(study) / name
    print(f"{study}: {name}", file=sys.stderr, flush=True)
    resume = (folder / "config.toml").exists()
    return run(make_config(**settings), out=folder, resume=resume, workers=workers, controls=False)


def by_seed(result: Result, role: str = "device") -> list[float]:
    """Accuracies of a role in percent, in the order of the seeds."""
    return [100 * row["accuracy"] for row in result.trials if row["role"] == role]


def difference(ours: list[float], theirs: list[float]) -> Estimate:
    """Paired difference over seeds, with its 95 % interval."""
    return estimate([a - b for a, b in zip(ours, theirs, strict=True)])
