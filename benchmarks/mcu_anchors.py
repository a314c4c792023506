"""The cost model of microcontrollers beside what was published, nothing tuned: the constants came first.

Published figures are from abstracts (Nadalini et al., FGCS 149, 2023, arXiv 2305.19167; Nadalini et al.,
PULP-TrainLib, SAMOS 2022). Their kernels are not ours, so products by their tiles (as their source has
them: FP16 nine instructions for eight multiply-adds, FP32 fourteen) stand beside ours. Their networks'
shapes, which layers learn, their clock and the layers of the single ratios are not in the abstracts: our nets
stand in.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

from _study import Figures

from hwtrain.analysis.mcu_plan import Ask, program_of
from hwtrain.cards import McuCard, card
from hwtrain.program.cycles import Code, costs, machine, total
from hwtrain.program.ir import Program, walk
from hwtrain.program.lean import lean

WITHIN = 0.15
FP16_TILE, FP32_TILE = 9.0, 14.0
"""Instructions a term of a tile of 2 by 4: 4 pairs' multiply-adds, 3 loads, 2 shuffles; 8 and 6 loads."""


def by_tile(instructions: float, kernels: Any) -> Code:
    """Code whose products take so many instructions a term of 2 rows by 4 columns and nothing else."""
    terms = [(instructions, "term", "strip", "tile")]
    shape = {"rows": 2, "columns": 4, "depth": 1 << 20, "copies": "tall"}
    products = dict.fromkeys(("nn", "nt", "tn", "gradient"), terms)
    return Code.model_validate(shape | {"products": products, "kernels": kernels})


def only(program: Program, layer: str) -> Program:
    """The step of one layer: of the calls those that belong to it."""
    calls = tuple(call for call in walk(program.entries["step"]) if call.where == layer)
    listing = program.listing.model_copy(update={"entries": {"step": calls}})
    made = object.__new__(Program)  # parts of a step read what other parts write: nothing to check
    made.listing, made.contents = listing, program.contents
    made.buffers, made.entries = listing.buffers, listing.entries
    return made


def main() -> int:
    """Each anchor, what the model says of it, and the deviation."""
    figures = Figures("mcu_anchors")
    gap9, m4f = card("gap9"), card("cortex-m4f")
    assert isinstance(gap9, McuCard)
    assert isinstance(m4f, McuCard)
    images = Ask("resnet8", (3, 32, 32), 10)
    halves, floats = program_of(images, "fp16"), program_of(images, "float32")
    ours = machine(gap9, moves=False)
    half = replace(ours, code=by_tile(FP16_TILE, ours.code.kernels))
    single = replace(ours, code=by_tile(FP32_TILE, ours.code.kernels), macs=ours.macs / 2)

    def add(name: str, says: float, published: float, unit: str) -> None:
        low, high = published * (1 - WITHIN), published * (1 + WITHIN)
        figures.add(name, round(says, 3), unit, f"{low:.3g} to {high:.3g}")
        figures.add(f"{name}_deviation", round(100 * (says / published - 1), 1), "%")

    layer = "block1_1.conv2"
    conv16, conv32 = only(halves, layer), only(floats, layer)
    ratio = total(costs(conv32, "step", single))["cycles"] / total(costs(conv16, "step", half))["cycles"]
    add("conv2d_step_fp16_over_fp32", ratio, 1.72, "times (published: at most)")
    found = [one for one in costs(only(floats, layer), "step", single) if one.kernel == "dense.read"]
    gemm = total(found)
    add("gemm_fp32", gemm["macs"] / gemm["cycles"], 4.39, "MAC/cycle (published: peak)")
    for name, ask, published in (
        ("resnet8", images, 3.11),
        ("ds_cnn", Ask("ds-cnn", (1, 28, 28), 10), 0.81),
    ):
        program = program_of(ask, "fp16")
        for how, on in (
            ("their_tile", half),
            ("our_code", ours),
            ("our_code_dma", replace(ours, moves=True)),
        ):
            step = total(costs(program, "step", on))
            add(f"{name}_step_{how}", step["macs"] / step["cycles"], published, "MAC/cycle")
        printed = total(costs(lean(program), "step", ours))  # the step that an export prints
        add(f"{name}_step_as_printed", printed["macs"] / printed["cycles"], published, "MAC/cycle")
        step = total(costs(program, "step", half))
        figures.add(f"{name}_step_macs", step["macs"], "multiply-adds")
    small = total(
        [one for one in costs(only(floats, layer), "step", machine(m4f, False)) if one.kernel == "dense.read"]
    )
    add("fp32_gemm_over_stm32l4_cycles", small["cycles"] / gemm["cycles"], 36.6, "times, in cycles")
    clocks = gap9.core.clock_Hz.value / m4f.core.clock_Hz.value
    add("fp32_gemm_over_stm32l4_time", clocks * small["cycles"] / gemm["cycles"], 36.6, "times, in seconds")
    return figures.finish()


if __name__ == "__main__":
    sys.exit(main())
