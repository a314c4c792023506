"""What this machine offers."""

from __future__ import annotations

import json
import os
import sys
from importlib.metadata import version

from rich.console import Console
from rich.table import Table

from hwtrain.errors import DataError, NativeError


def print_doctor(*, as_json: bool) -> None:
    """Versions, processors, compilers and data sets that hwtrain would use here."""
    import torch

    from hwtrain.data import load
    from hwtrain.native import cache_folder, compiler

    libraries = ("hwtrain", "torch", "numpy", "pydantic", "safetensors", "matplotlib")
    rows = {name: version(name) for name in libraries} | {
        "python": sys.version.split()[0],
        "processors": str(os.cpu_count()),
        "torch computes with": torch.backends.cpu.get_cpu_capability(),
    }
    try:
        rows["C compiler"] = f"{compiler()}, keeps what it builds in {cache_folder()}"
    except NativeError as problem:
        rows["C compiler"] = str(problem)
    for data in ("digits", "fashion-mnist"):
        try:
            rows[f"data {data}"] = f"{len(load(data).train_y)} training samples"
        except DataError as problem:
            rows[f"data {data}"] = str(problem)
    if as_json:
        print(json.dumps(rows))
        return
    table = Table(show_header=False)
    for row in rows.items():
        table.add_row(*row)
    Console().print(table)
