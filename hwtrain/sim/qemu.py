"""Cortex-M55 with Helium on QEMU's model of Arm's MPS3 AN547 board (Corstone-300).

QEMU counts instructions, not cycles: it models no pipeline, no overlap of beats and no wait states.
"""

from __future__ import annotations

from pathlib import Path

from hwtrain.sim.base import FLAGS, Core, mcu_folder, tool


class M55(Core):
    """``-icount shift=5`` gives each instruction 32 ns of virtual time; SysTick runs at 32 MHz there."""

    title = "Cortex-M55 with Helium"
    per_instruction = 1.024

    def compiler(self) -> list[str]:
        """GNU's."""
        gcc = tool("arm-none-eabi-gcc", "Debian: apt install gcc-arm-none-eabi")
        return [gcc, *FLAGS, "-mcpu=cortex-m55", "-mthumb", "-mfloat-abi=hard"]

    def start_up(self) -> list[str]:
        """Of the board."""
        sim = mcu_folder() / "sim"
        return [str(sim / "m55.c"), str(sim / "freestanding.c"), "-T", str(sim / "m55.ld"), "-lgcc"]

    def command(self, elf: Path) -> list[str]:
        """Deterministic: virtual time is the number of instructions."""
        qemu = tool("qemu-system-arm", "Debian: apt install qemu-system-arm")
        machine = ["-M", "mps3-an547", "-nographic", "-monitor", "none", "-icount", "shift=5"]
        return [qemu, *machine, "-semihosting-config", "enable=on,target=native", "-kernel", str(elf)]
