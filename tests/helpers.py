"""What tests of several folders build and compare; found as ``tests.helpers`` in importlib mode."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import torch

from hwtrain.cards import SynapseCard

NAMES = {
    "device": {"title": "t", "technology": "t"},
    "provenance": {
        "kind": "synthetic",
        "citation": "none",
        "location": "here",
        "licence": "none",
        "verified": True,
    },
}
"""The tables that say nothing of the device itself."""
JUMPS: dict[str, Any] = {
    "law": "cdf-table",
    "g": [0.0, 0.3, 1.0],
    "p": [0.1, 0.25, 0.5, 1.0],
    "up_quantiles": [[-0.01, 0.0, 0.0], [0.01, 0.005, 0.001], [0.02, 0.02, 0.01], [0.05, 0.03, 0.02]],
    "down_quantiles": [[0.0, 0.0, -0.01], [0.01, 0.005, 0.001], [0.02, 0.02, 0.01], [0.05, 0.03, 0.05]],
}
"""A response whose steps have a distribution of their own."""


def synapse_card(response: dict[str, Any], **tables: dict[str, Any]) -> SynapseCard:
    """A card with this response; ``range`` may leave out the ends."""
    ends = {"g_min_S": 1e-7, "g_max_S": 1e-6} | tables.pop("range", {})
    given = {"schema": 1, "kind": "synapse", **NAMES, "range": ends, "response": response, **tables}
    return SynapseCard.model_validate(given)


def write_csv(path: Path, rows: int) -> Path:
    """Three classes that a small net tells apart."""
    generator = torch.Generator().manual_seed(5)
    labels = torch.arange(rows) % 3
    x = torch.rand(rows, 4, generator=generator) * 0.4
    x[torch.arange(rows), labels] += 0.6
    lines = [",".join(f"{v:.4f}" for v in row) + f",{label}" for row, label in zip(x, labels, strict=True)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def listing(folder: Path) -> dict[str, str]:
    """Every path below a folder with the hash of its content; empty if there is no folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        for path in sorted(folder.rglob("*"))
    }


def assert_equal(these: dict[str, torch.Tensor], those: dict[str, torch.Tensor]) -> None:
    """Bit for bit, names, types and shapes included."""
    assert these.keys() == those.keys()
    for name, value in these.items():
        assert value.dtype == those[name].dtype
        assert torch.equal(value, those[name]), name


def place_of(text: str, function: str, line: str) -> int:
    """Where the line stands in the function, which must still hold it."""
    start = re.search(rf"^(static.* |#define )?{re.escape(function)}", text, re.M)
    assert start is not None, f"no {function}"
    end = re.compile(r"^}|^$", re.M).search(text, start.end())
    assert end is not None
    assert line in text[start.start() : end.start()], f"{function} holds no {line!r}"
    return text.index(line, start.start())
