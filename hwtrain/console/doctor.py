"""What this machine offers."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version

from rich.console import Console
from rich.table import Table

from hwtrain.errors import DataError, NativeError


def print_doctor() -> None:
    """Versions, processors, compilers and data sets that hwtrain would use here."""
    import torch

    from hwtrain.data import load
    from hwtrain.native import cache_folder, compiler

    table = Table(show_header=False)
    for name in ("hwtrain", "torch", "numpy", "pydantic", "safetensors", "matplotlib"):
        table.add_row(name, version(name))
    table.add_row("python", sys.version.split()[0])
    table.add_row("processors", str(os.cpu_count()))
    table.add_row("torch computes with", torch.backends.cpu.get_cpu_capability())
    try:
        table.add_row("C compiler", f"{compiler()}, keeps what it builds in {cache_folder()}")
    except NativeError as problem:
        table.add_row("C compiler", str(problem))
    for data in ("digits", "fashion-mnist"):
        try:
            table.add_row(f"data {data}", f"{len(load(data).train_y)} training samples")
        except DataError as problem:
            table.add_row(f"data {data}", str(problem))
    Console().print(table)
