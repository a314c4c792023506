"""What the abstraction costs: a lowered program beside C written by hand for the same net, in turns.

784-128-10, tanh, softmax cross-entropy, batch 1, float32, one thread, the first 2,000 images of
Fashion-MNIST (or noise, where it is not installed). Both end with the same bits, which is checked.
"""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from _study import Figures

from hwtrain import data
from hwtrain.config import make_config
from hwtrain.errors import HwtrainError
from hwtrain.export.run import NativeRunner
from hwtrain.native import build
from hwtrain.nets.base import mlp
from hwtrain.program.lower import lower
from hwtrain.shipped import shipped
from hwtrain.training.trial import Spec, place

NET, LR = "784-128-10", 0.01
CHUNK, ROUNDS = 200, 100


def images() -> tuple[np.ndarray, np.ndarray, str]:
    """2,000 samples and where they come from."""
    try:
        split = data.load("fashion-mnist")
        x, labels, name = split.train_x[:2000].reshape(2000, -1), split.train_y[:2000], "fashion-mnist"
    except HwtrainError:
        rng = np.random.default_rng(0)
        x, labels, name = rng.random((2000, 784)), rng.integers(0, 10, 2000), "noise"
    return np.ascontiguousarray(x, np.float32), labels.astype(np.int32), name


def main() -> int:
    """Time both in turns; the figure is the median of the rounds' ratios."""
    figures = Figures("native_overhead")
    x, labels, name = images()
    bound, _ = place(Spec("device", "backprop", "float32", 0, LR), make_config(), mlp(NET, "tanh"))
    runner = NativeRunner(lower(bound, (784,)))
    source = Path(__file__).with_name("mlp_by_hand.c").read_text()
    by_hand = build(source, (shipped("fpga") / "include",))["train"]
    order = [f"{layer}.{kind}/weights" for layer in ("fc1", "fc2") for kind in ("weight", "bias")]
    ours = runner.memory(CHUNK, {"x": x[:CHUNK, None], "labels": labels[:CHUNK, None]})
    theirs = {key: values.copy() for key, values in ours.items()}

    def program(memory: dict[str, np.ndarray], turn: int) -> None:
        runner.run("step", CHUNK, memory, LR, turn * CHUNK)

    def hand(memory: dict[str, np.ndarray], turn: int) -> None:
        arrays = [memory[key] for key in ("x", "labels", *order, "loss")]
        pointers = [ctypes.c_void_p(array.ctypes.data) for array in arrays]
        by_hand(ctypes.c_int64(CHUNK), *pointers[:2], ctypes.c_float(LR), *pointers[2:])

    def timed(run: Callable[[dict[str, np.ndarray], int], None], turn: int) -> float:
        part = slice(turn % 10 * CHUNK, (turn % 10 + 1) * CHUNK)
        ours["x"], ours["labels"] = x[part, None], labels[part, None]
        began = time.process_time()
        run(ours, turn)
        return time.process_time() - began

    for turn in range(5):
        program(ours, turn)
        hand(theirs, turn)
    same = all(np.array_equal(ours[key], theirs[key]) for key in (*order, "loss"))
    # In turns on the same memory: where arrays happen to lie changes the speed by a fifth.
    times = [(timed(program, turn), timed(hand, turn)) for turn in range(ROUNDS)]
    ratios = [one / other for one, other in times]
    figures.detail["data"] = name
    figures.add("same_bits", float(same), "1 = all", ">= 1")
    figures.add("program_over_hand", float(np.median(ratios)), "x", "<= 1.1")
    figures.add("program", CHUNK / float(np.median([t for t, _ in times])), "samples/s")
    figures.add("by_hand", CHUNK / float(np.median([t for _, t in times])), "samples/s")
    return figures.finish()


if __name__ == "__main__":
    sys.exit(main())
