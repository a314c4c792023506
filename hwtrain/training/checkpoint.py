"""A trial's checkpoint: one safetensors file, so that tensors and position cannot disagree.

The position (step, metrics so far, ledger) travels as JSON in the file's metadata; ``state.json``
beside it is a copy for people.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
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
    """Write both files, each whole, the checkpoint itself last."""
    state = json.dumps(position)
    plain = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    metadata = {"format": str(FORMAT), "fingerprint": fingerprint, "state": state}
    metadata["digest"] = _digest(plain, metadata)
    write_file(folder / "state.json", json.dumps(position, indent=1) + "\n")
    write_file(folder / FILE, save(plain, metadata))


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
        if metadata.pop("digest") != _digest(tensors, metadata):
            raise ValueError("its digest does not fit")
        return tensors, json.loads(metadata["state"]), metadata["fingerprint"]
    except (SafetensorError, KeyError, ValueError) as problem:
        raise RunError(
            f"{file}: damaged checkpoint ({problem}): remove it to train this trial anew"
        ) from None
    except OSError as problem:
        raise RunError(f"{file}: cannot read: {problem.strerror or problem}: check the path") from None


def _digest(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """safetensors itself does not notice a changed byte."""
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
