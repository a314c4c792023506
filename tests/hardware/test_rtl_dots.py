"""Ten million dot products of lanes and tree under Verilator, each beside a sum of whole numbers in C."""

from pathlib import Path

import numpy as np
import pytest

from hwtrain.shipped import shipped
from hwtrain.sim import verilator

RTL = shipped("fpga") / "rtl"
BENCH = Path(__file__).parent / "rtl"
BLOCKS = ("hwt_shift_lane", "hwt_mult_lane", "hwt_adder_tree")


def dots(folder: Path, cycles: int, optimize: str, **wrong: str) -> tuple[int, np.ndarray]:
    """Exit code; of each array the dot products, mismatches, extreme words, pairs of codes never met.

    ``wrong`` are blocks by name, as texts that stand in for those of the tree.
    """
    for block in BLOCKS:
        (folder / f"{block}.sv").write_text(wrong.get(block, (RTL / f"{block}.sv").read_text()))
    sources = [BENCH / "dots_bench.sv", *(folder / f"{block}.sv" for block in BLOCKS)]
    program = verilator.build(sources, "dots_bench", BENCH / "dots_bench.cpp", optimize, lint=False)
    done = verilator.run(program, [str(cycles)], 300)
    return done.returncode, np.array(done.stdout.split(), np.int64).reshape(8, 4)


@pytest.mark.slow
def test_ten_million_dot_products_equal_those_of_whole_numbers(tmp_path: Path) -> None:
    code, found = dots(tmp_path, 5_200_000, "-O2")
    compared, mismatches, extremes, never = found.T
    assert compared.sum() >= 10_000_000
    assert compared.min() >= 1_250_000
    assert (code, mismatches.tolist(), never.tolist()) == (0, [0] * 8, [0] * 8)
    assert extremes.min() > 100_000


@pytest.mark.slow
def test_what_is_wrong_at_the_lowest_codes_alone_is_seen(tmp_path: Path) -> None:
    lowest = "signal_i < 0 && signal_i[SignalBits-2:0] == '0"
    faults = {  # not negated; nothing where the weight is the lowest, too
        "hwt_shift_lane": ("negative && !none;", f"negative && !none && !({lowest});"),
        "hwt_mult_lane": (
            "weight * signal_i;",
            f"{lowest} && weight < 0 && weight[WeightBits-2:0] == '0 ? '0 : weight * signal_i;",
        ),
    }
    texts = {block: (RTL / f"{block}.sv").read_text() for block in faults}
    assert all(texts[block].count(right) == 1 for block, (right, _) in faults.items())
    wrong = {block: texts[block].replace(*fault) for block, fault in faults.items()}
    code, found = dots(tmp_path, 100_000, "-O0", **wrong)
    assert code == 1
    assert found[:, 1].min() > 4_000
