"""A program as SystemVerilog that learns: fpga/rtl with the numbers of the net, and what cosim needs.

What is written is simulated for the given steps before it is called done, and compared with the interpreter.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from safetensors.numpy import save as write_tensors

from hwtrain.errors import ConfigError, ProgramError
from hwtrain.export.cosim import RtlSettings, cosim, vectors
from hwtrain.export.folder import render, whole_folder
from hwtrain.export.host_c import in_comment
from hwtrain.export.printers.base import Printer
from hwtrain.export.registers import place
from hwtrain.export.rtl import RtlNet, cycles, header_text, module_text, rtl_net, speculative_cycles
from hwtrain.export.run import Memory
from hwtrain.files import write_file
from hwtrain.program.ir import Program
from hwtrain.shipped import shipped
from hwtrain.sim import verilator

_README = """# {name}

A block that learns on the chip: samples in by AXI-Stream, scores and losses out, registers by AXI-Lite; the
weights live inside. `hwt_net.sv` is the top, `hwt_net.f` lists the sources.
{lanes} lanes, {cycles} cycles a step.

    hwtrain cosim .                # Verilator: 1,000 steps beside the interpreter, every weight compared

One sample is a frame: each input as a code with {frac} bits after the point, then the label with TLAST.
One result is a frame: the scores as they were before learning, then the loss with TLAST.{late}
`hwt_net.core` is for FuseSoC, `package_ip.tcl` with `hwt_net_ooc.xdc` for Vivado's IP packager; neither
was run when they were written. `verify/` asserts the handshakes in a simulation.
`driver/` holds the registers as a C header and as SystemRDL, and a bare-metal driver in C99; you give
it four functions.

`bench/` is for other simulators: golden vectors of {steps} steps, a plain bench, one in cocotb with AXI
models of others:

    iverilog -g2012 -s hwt_net_tb -o tb.vvp -f hwt_net.f bench/hwt_net_tb.sv
    vvp -n tb.vvp +vectors=bench/vectors.hex
    pip install cocotb cocotbext-axi
    python bench/test_hwt_net.py   # Icarus; SIM=... names another, none was tried
"""


_LATE = """
The result of a sample comes when the next one has been read, a weight is asked for, or learning is
turned off."""


def describe(folder: Path, net: RtlNet) -> None:
    """What tools read of the sources: a list, FuseSoC's core, an IP packager's script, constraints."""
    sources = [f"rtl/{file.name}" for file in sorted((folder / "rtl").glob("*.sv"))] + ["hwt_net.sv"]
    write_file(folder / "hwt_net.f", "".join(f"{name}\n" for name in sources))
    address, bit = place("control", "soft_reset")
    values = {"sources": sources, "sizes": net.sizes, "lanes": net.lanes, "classes": net.classes}
    values |= {"soft_address": f"8'h{address:02x}", "soft_bit": bit}
    render(shipped("fpga") / "templates" / "rtl", folder, values)
    shutil.copyfile(shipped("fpga") / "verify" / "hwt_handshakes.sv", folder / "verify" / "hwt_handshakes.sv")


def benches(folder: Path, program: Program, net: RtlNet, samples: Memory, settings: RtlSettings) -> None:
    """For simulators of the user's: a plain bench and one in cocotb, with golden vectors, a word a line."""
    (folder / "bench").mkdir()
    for name in ("hwt_net_tb.sv", "test_hwt_net.py"):
        shutil.copyfile(shipped("fpga") / "bench" / name, folder / "bench" / name)
    words, _ = vectors(program, net, samples, settings)
    write_file(folder / "bench" / "vectors.hex", "".join(f"{word:08x}\n" for word in words.tolist()))


def at_reset(program: Program) -> Program:
    """The program as the block begins: weights as they were learned, nothing kept of any label or sample."""
    kept = {name for name in program.contents if name.startswith("rule/") and name != "rule/turn"}
    contents = {
        name: np.zeros_like(values) if name in kept else values for name, values in program.contents.items()
    }
    return Program(program.listing, contents)


class Rtl(Printer):
    """``hwtrain export --to rtl``."""

    about = "SystemVerilog that learns, proved under Verilator"
    then = "hwtrain cosim compares more steps"

    class Options(Printer.Options):
        """Flags of its own."""

        lanes: str = "8"

    options: Options

    def write(self, program: Program, samples: Memory, lr: float, out: Path) -> int:
        """A folder, simulated; how many values that compared."""
        if not self.options.lanes.isdecimal():
            raise ConfigError(f"lanes = {self.options.lanes!r}: choose a power of two, at least 2")
        net = rtl_net(program, int(self.options.lanes), lr)
        program = at_reset(program)
        verilator.root(), verilator.cxx()  # missing tools are said before anything is written
        settings = RtlSettings(lanes=net.lanes, lr=lr)

        def write(made: Path) -> int:
            program.save(made)
            write_file(made / "samples.safetensors", write_tensors(samples))
            write_file(made / "rtl.json", settings.model_dump_json(indent=1) + "\n")
            write_file(made / "hwt_net.sv", module_text(net))
            shutil.copytree(shipped("fpga") / "rtl", made / "rtl")
            shutil.copytree(shipped("fpga") / "driver", made / "driver")
            write_file(made / "driver" / "hwt_net.h", header_text(net))
            shutil.copyfile(shipped("fpga") / "bench" / "cosim.cpp", made / "cosim.cpp")
            describe(made, net)
            benches(made, program, net, samples, settings)
            title = {
                "name": in_comment(program.listing.name),
                "lanes": net.lanes,
                "frac": net.numbers.signal_frac,
                "cycles": f"{cycles(net):,}",
                "steps": len(samples["x"]),
                "late": _LATE if net.late else "",
            }
            if net.mode == "speculative":
                title["cycles"] = "{:,} (a hit) or {:,} (a miss)".format(*speculative_cycles(net))
            write_file(made / "README.md", _README.format(**title))
            found = cosim(made, max(len(samples["x"]), 2 + net.late))
            if found.mismatches:
                raise ProgramError(
                    f"the RTL differs from the interpreter in {found.mismatches:,} of {found.compared:,} "
                    f"values, first in step {found.first_wrong}: nothing was written; please report it"
                )
            return found.compared

        return whole_folder(out, write)
