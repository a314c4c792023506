"""A simulated microcontroller core: how C is built for it and run on it, always within a time limit."""

from __future__ import annotations

import shutil
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hwtrain.errors import NativeError
from hwtrain.shipped import shipped

FLAGS = ("-std=c11", "-O3", "-ffreestanding", "-nostdlib", "-ffp-contract=off", "-fno-math-errno")
"""No library, and no contraction: the order of every operation is part of a kernel's meaning."""
LIMIT_S = 300.0


@dataclass(frozen=True)
class Ran:
    """What a program wrote, and its exit status."""

    text: str
    status: int


class Core(ABC):
    """A core that a simulator models.

    Attributes:
        title: what it is, in a few words.
        per_instruction: by how much ``sim_count`` of devices/mcu/sim/hwt_sim.h rises with each instruction.
    """

    title: str
    per_instruction: float = 1.0

    @abstractmethod
    def compiler(self) -> list[str]:
        """The compiler and its flags; NativeError where it is missing."""

    @abstractmethod
    def start_up(self) -> list[str]:
        """Sources and flags that make a program of objects."""

    def build(
        self, sources: Sequence[Path], elf: Path, defines: Sequence[str] = (), include: Sequence[Path] = ()
    ) -> None:
        """Compile freestanding C11 for the core; its start-up code is added. ``include`` is looked in first.

        Raises:
            NativeError: a tool is missing, or refuses the sources.
        """
        command = [*self.compiler(), *includes(include), *(f"-D{name}" for name in defines)]
        compile_with([*command, *map(str, sources), *self.start_up()], elf)

    def compile(self, source: Path, to: Path, include: Sequence[Path] = ()) -> None:
        """One source into an object; NativeError as from ``build``."""
        compile_with([*self.compiler(), *includes(include), "-c", str(source)], to)

    @abstractmethod
    def command(self, elf: Path) -> list[str]:
        """What simulates the program."""

    def run(self, elf: Path, limit_s: float = LIMIT_S) -> Ran:
        """Run to the end.

        Raises:
            NativeError: the simulator is missing, or the program is not done in time.
        """
        command = self.command(elf)
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                check=False,
                timeout=limit_s,
                stdin=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired:
            raise NativeError(
                f"{Path(command[0]).name} is not done after {limit_s:g} s: try fewer steps, or a smaller net"
            ) from None
        if done.returncode and not done.stdout:
            raise NativeError(f"{Path(command[0]).name}: {(done.stderr or 'it says nothing')[:200]}")
        return Ran(done.stdout, done.returncode)


def mcu_folder() -> Path:
    """The C of microcontrollers: kernels in ``src``, start-up code and tests in ``sim``."""
    return shipped("devices") / "mcu"


def includes(first: Sequence[Path] = ()) -> list[str]:
    """Flags that find the kernels."""
    return [
        *(f"-I{folder}" for folder in first),
        f"-I{mcu_folder() / 'src'}",
        f"-I{mcu_folder() / 'sim'}",
        f"-I{shipped('fpga') / 'include'}",
    ]


def tool(name: str, package: str) -> str:
    """The path of a program, or a line that says what brings it."""
    found = shutil.which(name)
    if found is None:
        raise NativeError(f"no {name}: install it ({package})")
    return found


def compile_with(command: Sequence[str], elf: Path) -> None:
    """Run a compiler; NativeError with the memory that is too small, or its first error, where it refuses."""
    try:
        done = subprocess.run(
            [*command, "-o", str(elf)], capture_output=True, text=True, check=False, timeout=LIMIT_S
        )
    except subprocess.TimeoutExpired:
        raise NativeError(f"{Path(command[0]).name} is not done after {LIMIT_S:g} s") from None
    if done.returncode:
        lines = done.stderr.splitlines()
        telling = (line for sign in ("overflowed", "error") for line in lines if sign in line)
        said = next(telling, done.stderr[:300])
        raise NativeError(f"{Path(command[0]).name} refuses the program: {said}")
