"""A program for a microcontroller with 16-bit float vectors."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from hwtrain.export.mcu import write_mcu
from hwtrain.export.printers.base import Printer
from hwtrain.export.run import Memory
from hwtrain.program.ir import Program
from hwtrain.sim.cores import core


class Mcu(Printer):
    """``hwtrain export --to mcu``."""

    about = "C11 for a microcontroller: one arena, a self test, storage that survives power cuts"
    then = "build it with make, or prove it with hwtrain mcu run"

    class Options(Printer.Options):
        """``--target``."""

        target: str = Field("m55", description="core it is for: m55, rvv or v2f16")

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._title = core(options.target).title

    def write(self, program: Program, samples: Memory, lr: float, out: Path) -> int:
        """A folder, its self test run; how many values that compares."""
        return write_mcu(program, samples, lr, out, self._title)
