"""CIRCT, the compiler from dataflow to SystemVerilog inside the pycde wheel, in a process of its own.

What it does not like it does not refuse: it aborts. So it gets a process and a time limit, and what came out
is looked through for what is known to be wrong in this version.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from hwtrain.errors import NativeError

LIMIT_S = 300.0
WRONG = {
    r"arith_(div|rem)\w*": "divides, and CIRCT takes signed for unsigned",
    r"handshake_memory\w*|hlmem\w*": "has a memory inside, which CIRCT gets wrong",
}


def systemverilog(text: str) -> str:
    """The circuit of functions in ``cf``.

    Raises:
        NativeError: pycde is not installed, or CIRCT crashed, refused the text, took too long, or made
            something that is known to be wrong.
    """
    if find_spec("pycde") is None:
        raise NativeError("no CIRCT for C to RTL: install it (PyPI: pip install pycde)")
    with tempfile.TemporaryDirectory() as scratch:
        source, made = Path(scratch) / "in.mlir", Path(scratch) / "out.sv"
        source.write_text(text)
        command = [sys.executable, str(Path(__file__).with_name("circt_child.py")), str(source), str(made)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            raise NativeError(f"CIRCT is not done after {LIMIT_S:g} s: take a smaller net") from None
        if done.returncode < 0:
            raise NativeError(f"CIRCT crashed with signal {-done.returncode}: {_last(done.stderr)}")
        if done.returncode:
            raise NativeError(f"CIRCT does not lower it: {_last(done.stderr)}")
        found = made.read_text()
    for pattern, what in WRONG.items():
        if (name := re.search(rf"^module ({pattern})", found, re.M)) is not None:
            raise NativeError(f"the circuit {what}: {name[1]}")
    return re.sub(r"\s*// -:\d+:\d+$", "", found, flags=re.M)


def _last(text: str) -> str:
    return next((line for line in reversed(text.splitlines()) if line.strip()), "it said nothing")[:300]
