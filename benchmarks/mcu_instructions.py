"""Instructions of the FP16 products on simulated microcontrollers, from call to return, packing included.

QEMU and Spike count instructions, not cycles. ``nt`` is what a layer's forward pass calls, ``nn`` the
gradient by its input, ``gradient`` the one by its weights (sums of 64 halves added up in float32).
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from _study import Figures

from hwtrain.sim.base import Core, mcu_folder
from hwtrain.sim.qemu import M55
from hwtrain.sim.spike import Rvv, V2f16

CORES: dict[str, tuple[Core, float]] = {
    "m55": (M55(), 3.3),
    "rvv128": (Rvv(128), 5.5),
    "v2f16": (V2f16(), 1.0),
}
"""Each with the MACs an instruction that its forward product must reach at 64^3."""
SQUARE, ODD = (64, 64, 64), (61, 45, 37)
OF_TARGET, OF_FORWARD = 0.7, 0.8


def rates(core: Core) -> dict[tuple[str, tuple[int, ...]], float]:
    """MACs an instruction by form and size."""
    with tempfile.TemporaryDirectory() as scratch:
        elf = Path(scratch) / "count.elf"
        core.build([mcu_folder() / "sim" / "count16.c"], elf)
        lines = core.run(elf).text.splitlines()
    found = {}
    for line in lines:
        form, *numbers = line.split()
        m, n, k, count = map(int, numbers)
        found[form, (m, n, k)] = m * n * k * core.per_instruction / count
    return found


def main() -> int:
    """A line a core, form and size."""
    figures = Figures("mcu_instructions")
    for name, (core, target) in CORES.items():
        found = rates(core)
        forward = found["nt", SQUARE]
        for (form, size), rate in found.items():
            least = None
            if size == SQUARE:
                least = f">= {target if form == 'nt' else round(OF_FORWARD * forward, 3)}"
            elif size == ODD and form == "nt":
                least = f">= {round(OF_TARGET * target, 3)}"
            figures.add(f"{name}_{form}_{'x'.join(map(str, size))}", round(rate, 3), "MAC/instruction", least)
    return figures.finish()


if __name__ == "__main__":
    sys.exit(main())
