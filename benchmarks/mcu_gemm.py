"""Speed of the exact FP16 products on this machine, on shapes of real nets, one thread.

Each output is a chain of fused multiply-adds rounded to half after every term: what a microcontroller's
vector unit computes, bit for bit. NumPy's form of the same, through float64, stands beside it.
"""

from __future__ import annotations

import sys
import time

import numpy as np
from _study import Figures

from hwtrain.arith import fp16
from hwtrain.arith.fp16_native import library

SHAPES = {
    "resnet8 conv1 forward": ("nt", 1024, 16, 144),
    "resnet8 conv2 forward": ("nt", 256, 32, 288),
    "resnet8 conv3 forward": ("nt", 64, 64, 576),
    "resnet8 conv1 input gradient": ("nn", 1024, 144, 16),
    "resnet8 conv3 input gradient": ("nn", 64, 576, 64),
    "resnet8 conv1 weight gradient": ("gradient", 16, 144, 1024),
    "resnet8 conv3 weight gradient": ("gradient", 64, 576, 64),
    "ds-cnn pointwise forward": ("nt", 125, 64, 64),
    "autoencoder forward, batch 32": ("nt", 32, 128, 640),
    "784-128 forward, batch 16": ("nt", 16, 128, 784),
}
"""Form, rows, columns and terms."""
LEAST, ROUNDS = 10.0, 40


def main() -> int:
    """The best of many short rounds: the machine may have other work."""
    figures = Figures("mcu_gemm")
    rng = np.random.default_rng(0)
    made = library()
    if made is None:
        raise SystemExit("mcu_gemm: no C compiler: install one (Debian: apt install gcc)")
    figures.detail["back_end"] = made.name
    for shape, (form, m, n, k) in SHAPES.items():
        sides = {"nn": ((m, k), (k, n)), "nt": ((m, k), (n, k)), "gradient": ((k, m), (k, n))}[form]
        a, b = (rng.normal(size=side).astype(np.float16) for side in sides)
        c = np.zeros((m, n), np.float32 if form == "gradient" else np.float16)
        repeats = max(1, int(2e7 / (m * n * k)))
        best = np.inf
        for _ in range(ROUNDS):
            began = time.perf_counter()
            for _ in range(repeats):
                made.product(form, a, b, c)
            best = min(best, (time.perf_counter() - began) / repeats)
        figures.add(
            shape.replace(" ", "_").replace(",", ""), m * n * k / best / 1e9, "GMAC/s", f">= {LEAST:g}"
        )
    a, b = rng.normal(size=(64, 64)).astype(np.float16), rng.normal(size=(64, 64)).astype(np.float16)
    began = time.perf_counter()
    fp16.chain(a, b)
    figures.add("numpy_64x64x64", 64**3 / (time.perf_counter() - began) / 1e9, "GMAC/s")
    return figures.finish()


if __name__ == "__main__":
    sys.exit(main())
