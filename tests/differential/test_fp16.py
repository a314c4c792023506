"""FP16: whole numbers, NumPy, SoftFloat, portable C and AVX-512 make the same bits."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwtrain.arith import fp16
from hwtrain.native import build, compiler
from hwtrain.sim.base import mcu_folder
from tests.fp16_blocks import blocks, draws, value

FLAGS = ("-std=c11", "-O1", "-ffp-contract=off", "-Wall", "-Wextra", "-Wpedantic", "-Werror")
BACK_ENDS = {"portable": ("-DHWT_PORTABLE",), "native": ("-march=native",)}


def is_nan(bits: int) -> bool:
    return bits & 0x7FFF > 0x7C00


def on_the_host(folder: Path, flags: tuple[str, ...], cc: str | None = None) -> str:
    """What check16 says on this machine."""
    sim = mcu_folder() / "sim"
    made = folder / "check16"
    include = (f"-I{mcu_folder() / 'src'}", f"-I{sim}")
    subprocess.run(
        [cc or compiler(), *FLAGS, *flags, *include, sim / "check16.c", sim / "host.c", "-o", made],
        check=True,
        timeout=300,
    )
    return subprocess.run([made], capture_output=True, text=True, check=True, timeout=300).stdout


def test_the_judge_agrees_with_whole_numbers_and_numpy() -> None:
    from hwtrain.sim.spike import softfloat

    judge = ctypes.CDLL(str(softfloat())).f16_mulAdd
    judge.restype, judge.argtypes = ctypes.c_uint16, [ctypes.c_uint16] * 3
    operands = np.stack([value(i % 3, draws(i, 30_000)) for i in range(3)], 1)
    arrays = fp16.fma_halves(*operands.view(np.float16).T).view(np.uint16)
    finite = 0
    for (a, b, c), found in zip(operands.tolist(), arrays.tolist(), strict=True):
        whole, expected = fp16.fma(a, b, c), judge(a, b, c)
        assert whole == expected or (is_nan(whole) and is_nan(expected)), (a, b, c)
        assert found == expected or (is_nan(found) and is_nan(expected)), (a, b, c)
        finite += expected & 0x7C00 < 0x7C00
    assert finite > 10_000


@given(st.lists(st.integers(0, 2**16 - 1), min_size=3, max_size=3))
def test_whole_numbers_and_numpy_agree_anywhere(operands: list[int]) -> None:
    found = fp16.fma_halves(*(np.array([o], np.uint16).view(np.float16) for o in operands))
    expected = fp16.fma(*operands)
    assert found.view(np.uint16)[0] == expected or (is_nan(expected) and np.isnan(found[0]))


def test_c_makes_the_same_blocks(tmp_path: Path) -> None:
    """All 65,536 patterns of each operand against three pairs of partners, and products of every form."""
    lines = on_the_host(tmp_path, (*BACK_ENDS["native"], "-DCHECK_PARTNERS=3")).splitlines()
    assert lines == blocks(partners=3)


@pytest.mark.slow
@pytest.mark.parametrize("cc", ["gcc", "clang"])
@pytest.mark.parametrize("back_end", BACK_ENDS)
def test_c_makes_the_same_blocks_over_ten_million_outputs(back_end: str, cc: str, tmp_path: Path) -> None:
    """Sixteen pairs of partners, too."""
    repeats = 300
    lines = on_the_host(tmp_path, (*BACK_ENDS[back_end], f"-DCHECK_REPEATS={repeats}"), cc).splitlines()
    assert lines == blocks(repeats=repeats)
    outputs = sum(int(line.split()[2]) for line in lines)
    sys.stdout.write(f"{back_end}, {cc}: {outputs:,} outputs, 0 differ\n")
    assert outputs > 10_000_000


def test_conversions_without_hardware_are_numpys() -> None:
    source = """
    #include "hwt_half.h"
    #define EACH for (int i = 0; i < n; i++)
    void widen(int n, const hwt_half *x, float *y) { EACH y[i] = hwt_widen_bits(x[i]); }
    void narrow(int n, const float *x, hwt_half *y) { EACH y[i] = hwt_narrow_bits(x[i]); }
    void narrow2(int n, const double *x, hwt_half *y) { EACH y[i] = hwt_narrow_double(x[i]); }
    """
    library = build(source, (mcu_folder() / "src",))

    def call(name: str, x: np.ndarray, y: np.ndarray) -> None:
        getattr(library, name)(len(x), ctypes.c_void_p(x.ctypes.data), ctypes.c_void_p(y.ctypes.data))

    halves = np.arange(65536).astype(np.uint16).view(np.float16)
    wide = np.empty(65536, np.float32)
    call("widen", halves, wide)
    assert np.array_equal(wide, halves.astype(np.float32), equal_nan=True)
    assert (np.signbit(wide) == np.signbit(halves)).all()
    with np.errstate(all="ignore"):
        middle = ((wide[:-1].astype(np.float64) + wide[1:]) / 2).astype(np.float64)
        exact = np.concatenate(
            [middle, middle * (1 + 2**-40), middle * (1 - 2**-40), wide.astype(np.float64)]
        )
        bits = draws(1, 100_000).view(np.float32)
        for name, values in (
            ("narrow", np.concatenate([exact.astype(np.float32), bits])),
            ("narrow2", np.concatenate([exact, bits.astype(np.float64) * (1 + 2**-30)])),
        ):
            found = np.empty(len(values), np.float16)
            call(name, values, found)
            expected = values.astype(np.float16)
            assert np.array_equal(found, expected, equal_nan=True)
            assert (np.signbit(found) == np.signbit(expected))[~np.isnan(expected)].all()


def test_rounding_at_random_takes_a_neighbour_and_is_right_on_average() -> None:
    rng = np.random.default_rng(0)
    for value_ in (1.0, 1.0003, -3.3e-5, 7.7e-7, 2.9e-8, 65519.0, 0.0, 6e-10):
        x = np.full(20_000, value_, np.float32)
        noise = rng.integers(0, 2**32, len(x), dtype=np.uint32)
        found = fp16.narrow_at_random(x, noise).astype(np.float64)
        found = np.where(np.isinf(found), 65536.0, found)
        below = np.sort(np.unique(found))
        assert len(below) <= 2
        gap = below[-1] - below[0]
        assert abs(found.mean() - x[0]) <= 5 * gap / np.sqrt(len(x)) + 1e-12
        if np.float32(np.float16(value_)) == np.float32(value_):
            assert (found == value_).all()


def test_chunks_keep_long_sums_of_one_sign() -> None:
    rng = np.random.default_rng(1)
    a = abs(rng.normal(size=(8, 4096))).astype(np.float16)
    b = abs(rng.normal(size=(4096, 8))).astype(np.float16)
    exact = a.astype(np.float64) @ b.astype(np.float64)

    def error(found: np.ndarray) -> float:
        return float(np.sqrt((((found - exact) / exact) ** 2).mean()))

    assert error(fp16.chunked(a, b)) < 2e-4 < 0.02 < error(fp16.chain(a, b).astype(np.float64))
