"""RISC-V cores on Spike: with vectors of 16-bit floats (Zvfh), or with pairs of them in its registers."""

from __future__ import annotations

import hashlib
import os
import sys
from importlib.util import find_spec
from pathlib import Path

from hwtrain.errors import NativeError
from hwtrain.native import cache_folder
from hwtrain.sim.base import FLAGS, Core, compile_with, mcu_folder, tool

MEMORY = "-m0x80000000:0x1000000"
INSTRUCTIONS = 20_000_000_000
"""Where a program that has lost its way is stopped even if nobody watches the clock."""


class _Spike(Core):
    isa: str

    def command(self, elf: Path) -> list[str]:
        """Spike counts instructions retired (minstret)."""
        tool("dtc", "Debian: apt install device-tree-compiler")
        spike = _data() / "bin" / "spike"
        return [str(spike), f"--isa={self.isa}", MEMORY, f"--instructions={INSTRUCTIONS}", str(elf)]

    def start_up(self) -> list[str]:
        """The same for both."""
        sim = mcu_folder() / "sim"
        return [str(sim / "rv32.c"), str(sim / "freestanding.c"), f"-Wl,-T,{sim / 'rv32.ld'}"]


class Rvv(_Spike):
    """RV32 with V, Zfh and Zvfh; vectors of ``vlen`` bits, which change no result."""

    title = "RV32 with Zvfh"

    def __init__(self, vlen: int = 128) -> None:
        self.isa = f"rv32imafcv_zfh_zvfh_zicntr_zvl{vlen}b"

    def compiler(self) -> list[str]:
        """The clang inside the ziglang wheel: GCC knows vector intrinsics from 13 on."""
        if find_spec("ziglang") is None:
            raise NativeError("no clang for RISC-V vectors: install it (PyPI: pip install ziglang)")
        target = ["-target", "riscv32-freestanding-none", "-mcpu=generic_rv32+m+a+c+f+v+zfh+zvfh"]
        return [sys.executable, "-m", "ziglang", "cc", *target, "-mabi=ilp32f", "-mcmodel=medany", *FLAGS]


class V2f16(_Spike):
    """RV32 with our own packed-half instructions (devices/mcu/sim/v2f16.cc): a model of the PULP class."""

    title = "RV32 with pairs of halves"
    isa = "rv32imfc_zicntr_xv2f16"

    def compiler(self) -> list[str]:
        """GNU's; the instructions are written as numbers."""
        gcc = tool("riscv64-unknown-elf-gcc", "Debian: apt install gcc-riscv64-unknown-elf")
        target = ["-march=rv32imfc_zicsr", "-mabi=ilp32f", "-mcmodel=medany", "-mno-relax", "-Wl,--no-relax"]
        # GCC's first scheduler moves loads apart until what just fits in registers is spilled.
        tuning = ["-fno-schedule-insns", "-nostartfiles", "-DHWT_V2F16"]
        return [gcc, *FLAGS, *target, *tuning]

    def start_up(self) -> list[str]:
        """And what GNU's compiler calls."""
        return [*super().start_up(), "-lgcc"]

    def command(self, elf: Path) -> list[str]:
        """As usual, with the extension."""
        spike, *rest = super().command(elf)
        return [spike, f"--extlib={extension()}", *rest]


def extension() -> Path:
    """The instruction extension as a library, built once.

    Raises:
        NativeError: no C++ compiler, or it refuses the source.
    """
    source, data = mcu_folder() / "sim" / "v2f16.cc", _data()
    name = hashlib.sha256(source.read_bytes() + str(data).encode()).hexdigest()[:16]
    made = cache_folder() / f"v2f16-{name}.so"
    if not made.exists():
        gxx = tool("g++", "Debian: apt install g++")
        made.parent.mkdir(parents=True, exist_ok=True)
        # The wheel is built with the old C++ library's types: with the new ones the extension would load, and
        # write to wrong registers.
        flags = ["-std=c++20", "-O2", "-D_GLIBCXX_USE_CXX11_ABI=0", "-shared", "-fPIC"]
        include = [f"-I{data / 'include'}", f"-I{data / 'include' / 'riscv'}"]
        scratch = made.with_suffix(f".{os.getpid()}.tmp")
        compile_with(
            [gxx, *flags, *include, str(source), f"-L{data / 'lib'}", f"-Wl,-rpath,{data / 'lib'}"], scratch
        )
        scratch.replace(made)
    return made


def softfloat() -> Path:
    """Spike's library, which exports Berkeley SoftFloat: an independent judge of arithmetic."""
    return _data() / "lib" / "libriscv.so"


def _data() -> Path:
    spec = find_spec("riscv")
    if spec is None or not spec.submodule_search_locations:
        raise NativeError("no spike: install it (PyPI: pip install spike)")
    return Path(next(iter(spec.submodule_search_locations))) / "data"
