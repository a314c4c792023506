"""The simulated cores by name."""

from __future__ import annotations

from hwtrain.errors import UnknownNameError, nearest
from hwtrain.sim.base import Core
from hwtrain.sim.qemu import M55
from hwtrain.sim.spike import Rvv, V2f16

CORES: dict[str, type[Core]] = {"m55": M55, "rvv": Rvv, "v2f16": V2f16}


def core(name: str) -> Core:
    """The core of a name; UnknownNameError with the nearest one."""
    if name not in CORES:
        raise UnknownNameError(f"no simulated core is called {name!r}: {nearest(name, CORES)}")
    return CORES[name]()
