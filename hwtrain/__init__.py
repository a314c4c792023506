"""hwtrain: a hardware-aware training emulator for edge devices.

Importing this package imports nothing heavy; torch comes with the first name that needs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hwtrain.analysis.compare import Comparison as Comparison
    from hwtrain.api import compare as compare
    from hwtrain.api import train as train
    from hwtrain.convert import from_torch as from_torch
    from hwtrain.errors import HwtrainError as HwtrainError
    from hwtrain.errors import HwtrainWarning as HwtrainWarning
    from hwtrain.net import Add as Add
    from hwtrain.net import Concat as Concat
    from hwtrain.net import Graph as Graph
    from hwtrain.net import Net as Net
    from hwtrain.net import Residual as Residual
    from hwtrain.training.metrics import Result as Result

_HOMES = {
    "compare": "hwtrain.api",
    "train": "hwtrain.api",
    "Comparison": "hwtrain.analysis.compare",
    "HwtrainError": "hwtrain.errors",
    "HwtrainWarning": "hwtrain.errors",
    "Add": "hwtrain.net",
    "Concat": "hwtrain.net",
    "Graph": "hwtrain.net",
    "Net": "hwtrain.net",
    "Residual": "hwtrain.net",
    "from_torch": "hwtrain.convert",
    "Result": "hwtrain.training.metrics",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'hwtrain' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
