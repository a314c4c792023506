"""The products of hwtrain/arith/fp16.py in C, compiled on first use: the same bits, a hundred times as fast.

With AVX-512 the C is exact at the speed of vectors (devices/mcu/src/hwt_vec_avx512.h), elsewhere portable.
Without a C compiler NumPy serves.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

from numpy.typing import NDArray

from hwtrain.arith import fp16
from hwtrain.errors import NativeError
from hwtrain.native import FLAGS, build
from hwtrain.shipped import shipped

C_FLAGS = tuple(flag.replace("c99", "c11") for flag in FLAGS)
_SOURCE = """
#include "hwt_gemm16.h"
const char *name(void) { return HV_NAME; }
#define PRODUCT(form, call, made, a_row, b_row) \\
    void form(int32_t groups, int32_t m, int32_t n, int32_t k, const hwt_half *a, int64_t a_next, \\
              int32_t a_row, const hwt_half *b, int64_t b_next, int32_t b_row, made *c, int64_t c_next, \\
              int32_t c_row) \\
    { \\
        for (int32_t g = 0; g < groups; g++) \\
            call(m, n, k, a + g * a_next, a_row, b + g * b_next, b_row, c + g * c_next, c_row); \\
    }
PRODUCT(nn, hwt_gemm16_nn, hwt_half, a_row, b_row)
PRODUCT(nt, hwt_gemm16_nt, hwt_half, a_row, b_row)
PRODUCT(tn, hwt_gemm16_tn, hwt_half, a_row, b_row)
PRODUCT(gradient, hwt_gradient16, float, a_row, b_row)
"""


class Library:
    """The compiled products; ``name`` is the back end's."""

    def __init__(self, handle: ctypes.CDLL) -> None:
        handle.name.restype = ctypes.c_char_p
        self.name: str = handle.name().decode()
        self._handle = handle

    def product(self, form: str, a: NDArray[Any], b: NDArray[Any], c: NDArray[Any]) -> None:
        """C of A and B, as hwt_gemm16.h has it, in every group (the first axis) where there are groups.

        Rows may lie apart, their values lie side by side.
        """
        if c.ndim == 2:
            a, b, c = a[None], b[None], c[None]
        groups, m, n = c.shape
        k = a.shape[1] if form in ("tn", "gradient") else a.shape[2]
        places: list[Any] = []
        for part in (a, b, c):
            assert part.strides[2] == part.itemsize or part.shape[2] == 1
            next_, row = (stride // part.itemsize for stride in part.strides[:2])
            places += [ctypes.c_void_p(part.ctypes.data), ctypes.c_int64(next_), row]
        self._handle[form](groups, m, n, k, *places)


@cache
def library() -> Library | None:
    """The compiled products, or None where there is no compiler."""
    try:
        return Library(build(_SOURCE, (shipped("devices") / "mcu" / "src",), C_FLAGS))
    except NativeError:
        return None


def product(form: str, a: NDArray[Any], b: NDArray[Any], c: NDArray[Any]) -> None:
    """C = A B in every group; ``form`` says which are transposed; ``gradient`` adds to C, in float32."""
    made = library()
    if made is not None:
        made.product(form, a, b, c)
        return
    left = a.swapaxes(-1, -2) if form in ("tn", "gradient") else a
    right = b.swapaxes(-1, -2) if form == "nt" else b
    if form == "gradient":
        c += fp16.chunked(left, right)
    else:
        c[...] = fp16.chain(left, right)
