"""The walk in C of laws without a closed form is a scalar loop, for parameters that no one has chosen."""

from __future__ import annotations

import ctypes
import random
from functools import cache
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hwtrain.native import build
from hwtrain.shipped import shipped
from hwtrain.synapse.laws.base import Branch, Stepwise
from tests.differential.test_synapse_laws import LAWS, SOME, scalar
from tests.helpers import synapse_card
from tests.programs import O1

SOURCE = """
#include "hwt_laws.h"
void walk(int32_t law, const float *bent, int32_t terms, float travel, float step, int32_t n, float sigma,
          float middle, double *found)
{
    found[0] = hwt_walk(law, bent, terms, travel, step, n, sigma, middle, found + 1);
}
"""
SIGMA, LONGEST = 0.3, 31
FIRST = 2  # of the walked laws in C: after linear and affine


@cache
def library() -> ctypes.CDLL:
    return build(SOURCE, (shipped("fpga") / "include", shipped("devices") / "synapse" / "src"), O1)


def in_c(law: Stepwise, number: int, way: Any, travel: float, n: int, kind: str) -> tuple[float, float]:
    """Travel and variance after n pulses."""
    step, bend = law.nominal(way)
    middle = float(law.middle_step(Branch(torch.tensor(step), torch.tensor(bend)))) if kind == "add" else 0.0
    bent, found = np.array(law.terms(way), np.float32), np.empty(2)
    library().walk(
        FIRST + number,
        ctypes.c_void_p(bent.ctypes.data),
        len(bent),
        ctypes.c_float(travel),
        ctypes.c_float(step),
        n,
        ctypes.c_float(SIGMA),
        ctypes.c_float(middle),
        ctypes.c_void_p(found.ctypes.data),
    )
    return float(found[0]), float(found[1])


@pytest.mark.parametrize("law", LAWS)
@given(
    seed=st.integers(0, 1 << 32),
    way=st.sampled_from(["up", "down"]),
    start=st.floats(0, 1, width=32),
    n=st.integers(1, LONGEST),
    kind=st.sampled_from(["add", "mult"]),
)
def test_a_walk_in_c_is_a_scalar_loop(
    law: str, seed: int, way: Literal["up", "down"], start: float, n: int, kind: Literal["add", "mult"]
) -> None:
    parameters = SOME[law](random.Random(f"{law} {seed}"))
    made, step = synapse_card(parameters).law(), scalar(parameters, way)
    assert isinstance(made, Stepwise)
    travel = start
    for _ in range(n):
        at = min(travel, 1.0)
        travel += step(at if way == "up" else 1 - at)
    found, variance = in_c(made, LAWS.index(law), way, start, n, kind)
    assert found == pytest.approx(travel, abs=1e-6 * n, rel=0)
    first = torch.tensor([start], dtype=torch.float64)
    expected = made.step_variance(first, torch.tensor([n]), made.typical(way), SIGMA, kind)
    deviation = float(expected) ** 0.5  # can be many ranges where the slope of a law has no bound
    assert variance**0.5 == pytest.approx(deviation, abs=1e-6 * n * max(deviation, 1), rel=0)
