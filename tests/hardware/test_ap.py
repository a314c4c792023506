"""The program in ap_int and ap_fixed, by the headers that hls4ml brings: the integers of C."""

from __future__ import annotations

import ctypes
import re
import subprocess
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hwtrain.export.host_c import identifiers
from hwtrain.export.printers import hls
from hwtrain.export.run import Memory, NativeRunner, Runner
from hwtrain.kernels.fixed import halvings
from hwtrain.program.ir import Entry, Program
from hwtrain.sim.verilator import cxx
from tests.differential.test_speculative import LR, MODES, compare
from tests.hardware.test_hls import export, run


def ap_types() -> Path:
    """The folder of ap_int.h."""
    spec = find_spec("hls4ml")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "templates" / "vivado" / "ap_types"


class ApRunner(Runner):
    """The exported C++ behind a bridge of plain arrays."""

    def __init__(self, program: Program, folder: Path) -> None:
        super().__init__(program)
        folder.mkdir()
        x, labels = (program.buffers[name] for name in ("x", "labels"))
        samples = {"x": np.zeros((1, *x.shape), np.int16), "labels": np.zeros((1, *labels.shape), np.int32)}
        hls._write(program, samples, LR, folder)
        header = (folder / "hwt_net_ap.h").read_text()
        lines = ['#include "hwt_net_ap.h"', 'extern "C" {']
        self.order: dict[str, list[str]] = {}
        names = {made: name for name, made in identifiers(iter(program.buffers)).items()}
        for entry, said in re.findall(r"void hwt_ap_(\w+)\((.*), int32_t lr", header):
            arguments = re.findall(r"(?:const )?([\w<>]+) (\w+)\[(\d+)\]", said)
            self.order[entry] = [names[made] for _, made, _ in arguments]
            lines += [f"void many_{entry}(int64_t n, void *const *buffers, int32_t lr, uint32_t step)", "{"]
            calls, back = [], []
            for place, (kind, made, size) in enumerate(arguments):
                buffer = program.buffers[names[made]]
                plain = hls.TYPES[buffer.format]
                total = f"{size}{' * n' if buffer.windowed else ''}"
                lines += [
                    f"{plain} *p{place} = ({plain} *)buffers[{place}];",
                    f"{kind} *a{place} = new {kind}[{total}];",
                    f"for (int64_t i = 0; i < {total}; i++) a{place}[i] = p{place}[i];",
                ]
                calls.append(f"a{place}{f' + k * {size}' if buffer.windowed else ''}")
                back += [
                    f"for (int64_t i = 0; i < {total}; i++) p{place}[i] = a{place}[i];",
                    f"delete[] a{place};",
                ]
            lines.append("for (int64_t k = 0; k < n; k++)")
            lines.append(f"hwt_ap_{entry}({', '.join(calls)}, lr, step + (uint32_t)k);")
            lines += [*back, "}"]
        (folder / "bridge.cpp").write_text("\n".join([*lines, "}", ""]))
        command = [cxx(), "-std=c++11", "-O2", "-w", "-fPIC", "-shared", "-Iinclude", f"-I{ap_types()}"]
        command += ["bridge.cpp", "hwt_net_ap.cpp", "-o", "ap.so"]
        subprocess.run(command, cwd=folder, check=True, timeout=300)
        self.library = ctypes.CDLL(str(folder / "ap.so"))

    def run(self, entry: Entry, n: int, memory: Memory, lr: float = 0.0, step: int = 0) -> None:
        pointers = [memory[name].ctypes.data for name in self.order[entry]]
        buffers = (ctypes.c_void_p * len(pointers))(*pointers)
        rate = ctypes.c_int32(halvings(lr) if lr > 0 else 0)
        self.library[f"many_{entry}"](ctypes.c_int64(n), buffers, rate, ctypes.c_uint32(step))


@pytest.mark.slow
@pytest.mark.parametrize("spec", ["784-128-10", "37-23-11-5"])
def test_by_hand_is_c_is_c_on_threads_is_ap_for_a_thousand_steps(spec: str, tmp_path: Path) -> None:
    runners: list[Any] = [partial(NativeRunner, threads=threads) for threads in (1, 2, 4)]
    runners.append(partial(ApRunner, folder=tmp_path / "ap"))
    oracle = compare(MODES["shadow"] | {"threshold": 0.25}, "fixed16", spec, 1000, runners, lr=LR / 8)
    assert 0.1 < np.mean(oracle.trace) < 0.9


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "device"),
    [("speculative", "fixed16"), ("lookahead", "fixed8"), ("sequential", "shift4")],
)
def test_bench_in_ap_passes_and_sees_another_rounding(mode: str, device: str, tmp_path: Path) -> None:
    folder = tmp_path / "hls"
    export(folder, mode, device)
    found = run(folder, "make", "test-ap", f"AP_TYPES={ap_types()}")
    assert found.returncode == 0, found.stdout + found.stderr
    assert "values compared in ap_int, 0 differ" in found.stdout
    header = folder / "include" / "hwt_ap.h"
    header.write_text(header.read_text().replace("mode = AP_RND;", "mode = AP_TRN;"))
    found = run(folder, "make", "test-ap", f"AP_TYPES={ap_types()}")
    assert found.returncode != 0
    assert "values differ" in found.stdout
