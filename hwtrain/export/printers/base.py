"""What a printer is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from hwtrain.export.run import Memory
from hwtrain.program.ir import Program
from hwtrain.strict_toml import Strict


class Printer(ABC):
    """Writes a program in another language and runs what it wrote, before anybody else does.

    Class attributes:
        about: what it writes, for ``hwtrain export --help``.
        then: what its user does next.
    """

    about: ClassVar[str]
    then: ClassVar[str]

    class Options(Strict):
        """Flags of ``hwtrain export`` that this printer takes beside ``--out`` and ``--steps``."""

    def __init__(self, options: Options) -> None:
        self.options = options

    @abstractmethod
    def write(self, program: Program, samples: Memory, lr: float, out: Path) -> int:
        """Write it at ``out``; how many values its test compared.

        ``samples`` holds the windowed inputs of as many steps as the test shall take: ``x`` (steps, batch,
        ...) and ``labels`` (steps, batch).

        Raises:
            HwtrainError: what it cannot write, or a difference; nothing is left at ``out``.
        """
