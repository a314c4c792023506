"""nextpnr: the clock that a placed and routed netlist reaches."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from hwtrain.errors import NativeError
from hwtrain.sim.yosys import command

TIMEOUT_S = 3600.0


@dataclass(frozen=True)
class Part:
    """A part that nextpnr knows: its tool, and how the tool is told."""

    title: str
    tool: str
    flags: tuple[str, ...]


PARTS = {
    "ecp5": Part("ECP5-25k", "nextpnr-ecp5", ("--25k", "--package", "CABGA381", "--out-of-context")),
    "ice40": Part("iCE40 HX8K", "nextpnr-ice40", ("--hx8k", "--package", "ct256")),  # the one with the pins
}


def nextpnr(part: Part) -> str:
    """The command of a part's tool, native or its wheel's.

    Raises:
        NativeError: there is none.
    """
    found = command(part.tool)
    if found is None:
        raise NativeError(f"{part.tool} is not installed: pip install yowasp-{part.tool}")
    return found


@cache
def version(part: Part) -> str:
    """Such as ``nextpnr-0.11.1``."""
    done = subprocess.run([nextpnr(part), "--version"], capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).rsplit("Version ", 1)[-1].rstrip(")\n ")


def fmax_MHz(netlist: Path, part: Part, seed: int, wanted_MHz: float) -> float | str:
    """The highest clock after routing, or why there is none.

    Raises:
        NativeError: the tool is missing, or not done in time.
    """
    with tempfile.TemporaryDirectory() as scratch:
        # By relative names: the wheel's tool lives in a sandbox.
        report = Path(scratch) / "report.json"
        shutil.copyfile(netlist, Path(scratch) / "netlist.json")
        flags = ["--seed", str(seed), "--freq", f"{wanted_MHz:g}", "--timing-allow-fail", "--quiet"]
        try:
            done = subprocess.run(
                [nextpnr(part), *part.flags, *flags, "--json", "netlist.json", "--report", report.name],
                cwd=scratch,
                capture_output=True,
                text=True,
                check=False,
                timeout=TIMEOUT_S,
            )
        except subprocess.TimeoutExpired:
            raise NativeError(f"{part.tool} is not done after {TIMEOUT_S:g} s: take fewer lanes") from None
        if done.returncode or not report.exists():
            said = next((line for line in done.stderr.splitlines() if "ERROR" in line), done.stderr[-200:])
            return f"{part.title}: {said.removeprefix('ERROR: ').strip()}"
        clocks = json.loads(report.read_text())["fmax"]
    return float(min(clock["achieved"] for clock in clocks.values()))
