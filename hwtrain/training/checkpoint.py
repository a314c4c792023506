"""A trial's checkpoint: one safetensors file, so that tensors and position cannot disagree.

The position (step, metrics so far, ledger) travels as JSON in the file's metadata; ``state.json``
beside it is a copy for people.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from hwtrain.errors import RunError
from hwtrain.files import write_file

FORMAT = 1
FILE = "checkpoint.safetensors"


def save_checkpoint(
    folder: Path, tensors: Mapping[str, Tensor], position: Mapping[str, Any], fingerprint: str
) -> None:
    """Write both files, each whole."""
    state = json.dumps(position)
    plain = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    metadata = {"format": str(FORMAT), "fingerprint": fingerprint, "state": state}
    write_file(folder / FILE, save(plain, metadata))
    write_file(folder / "state.json", json.dumps(position, indent=1) + "\n")


def load_checkpoint(folder: Path, fingerprint: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and position; RunError for a damaged file, or one of another run."""
    tensors, position, its = read_checkpoint(folder / FILE)
    if its != fingerprint:
        raise RunError(
            f"{folder / FILE}: belongs to a run with other settings, data or versions: "
            "resume the run that made it, or start a new one"
        )
    return tensors, position


def read_checkpoint(file: Path) -> tuple[dict[str, Tensor], dict[str, Any], str]:
    """Tensors, position and fingerprint of any checkpoint."""
    try:
        with safe_open(file, "pt") as opened:
            metadata = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        if metadata.get("format") != str(FORMAT):
            raise RunError(f"{file}: not a checkpoint of this hwtrain (format {FORMAT}): start anew")
        return tensors, json.loads(metadata["state"]), metadata["fingerprint"]
    except (SafetensorError, KeyError, ValueError) as problem:
        raise RunError(
            f"{file}: damaged checkpoint ({problem}): remove it to train this trial anew"
        ) from None
    except OSError as problem:
        raise RunError(f"{file}: cannot read: {problem.strerror or problem}: check the path") from None
