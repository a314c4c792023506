"""Closed forms of instruction counts on simulated cores: found at some sizes, checked at twenty others.

Of the products of halves every instruction is counted at each size (benchmarks/_blocks.py), and the trip
count is found that is the same: those of hwtrain/program/trips.py are the loops and branches of the source of
the kernels. Figures called ``by_eight`` are of forms found at the eight sizes DESIGNED, the others of those
found at these and seventy more (drawn). trips.py was written while looking at such sizes, not at CHECKED.

What is found at all of them goes to devices/mcu/instructions.json, from which ``hwtrain mcu plan`` takes it.
``float32`` is the code of float32 programs, compiled for a Cortex-M4F and executed by QEMU's Cortex-M55,
which runs its instructions too; its three loops are fitted by least squares.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
from pathlib import Path
from typing import Any, get_args

import numpy as np
from _blocks import M55, M4f, Size, fitted, histograms, symbols
from _study import Figures
from scipy.optimize import nnls

from hwtrain.files import write_file
from hwtrain.program.cycles import Code
from hwtrain.program.trips import Form, Term, Tiling, trips
from hwtrain.sim.base import Core, mcu_folder
from hwtrain.sim.spike import Rvv, V2f16

DESIGNED: dict[str, list[Size]] = {
    "m55": [
        *[(28, 16, 193), (29, 8, 279), (10, 15, 130), (13, 39, 156)],
        *[(18, 73, 71), (9, 82, 193), (17, 98, 66), (2, 79, 159)],
    ],
    "rvv": [
        *[(4, 5, 132), (35, 12, 262), (38, 2, 131), (10, 64, 167)],
        *[(4, 111, 131), (7, 98, 264), (17, 64, 19), (1, 108, 262)],
    ],
    "v2f16": [
        *[(10, 88, 165), (6, 5, 256), (4, 16, 232), (1, 27, 86)],
        *[(3, 16, 262), (19, 75, 133), (9, 92, 197), (8, 67, 133)],
    ],
}
"""Eight sizes at which as many trip counts as possible differ, of many that were drawn."""
FLOAT: list[Size] = [
    *[(64, 64, 64), (1, 64, 64), (12, 48, 130), (31, 37, 27), (100, 9, 72), (3, 96, 16), (196, 32, 9)],
    (7, 10, 256),
]
CHECKED = [
    *[
        (61, 45, 37),
        (1, 128, 64),
        (64, 16, 27),
        (1, 10, 32),
        (1, 32, 64),
        (4, 64, 49),
        (16, 27, 64),
        (2, 18, 10),
    ],
    *[
        (5, 33, 65),
        (49, 32, 32),
        (10, 3, 100),
        (8, 72, 16),
        (96, 16, 72),
        (3, 7, 196),
        (1, 9, 100),
        (30, 20, 40),
    ],
    *[(4, 27, 100), (50, 64, 18), (13, 100, 13), (2, 64, 128)],
]
FORMS: tuple[Form, ...] = get_args(Form)
TILINGS = {
    "m55": Tiling(3, 16, 64, (2, 4), "tall"),
    "rvv": Tiling(5, 32, 128, (4,), "part"),
    "v2f16": Tiling(4, 6, 85, (2, 8), "odd"),
    "float32": Tiling(1, 1, 1 << 30, (), "never"),
}
"""HV_ROWS, HV_LANES and HV_PANEL / HV_LANES of the back ends; HV_UNROLL, and by how much compilers unroll."""
FLOAT_TERMS = (("once", "once", "once"), ("chunk", "strip", "row"), ("term", "strip", "row"))
CORES: dict[str, Core] = {"m55": M55(), "rvv": Rvv(128), "v2f16": V2f16(), "float32": M4f()}
COUNTER = 1 << 24
"""Where the counter of a Cortex-M begins anew."""
NM = {"m55": "arm-none-eabi-nm", "rvv": "riscv64-unknown-elf-nm", "v2f16": "riscv64-unknown-elf-nm"}


def drawn(tiling: Tiling) -> list[Size]:
    """Seventy sizes: small and large, odd and round, with whole tiles, strips and chunks and without."""
    found: list[Size] = []
    rng = random.Random(7)
    while len(found) < 70:
        m = rng.choice((rng.randint(1, 12), rng.randint(1, 60)))
        n = rng.choice((rng.randint(1, 70), rng.randint(1, 20), tiling.columns * rng.randint(1, 3)))
        deep = tiling.depth * rng.randint(1, 2)
        k = rng.choice((rng.randint(1, 30), rng.randint(30, 220), 4 * rng.randint(1, 40), deep, 64))
        if (m, n, k) not in CHECKED and m * n * k < 80000 and max(m, n) * k < 32768:
            found.append((m, n, k))
    return found


def products(name: str, folder: Path, sizes: list[Size]) -> dict[str, dict[Size, int]]:
    """Instructions of each form, from call to return, at each size."""
    core, elf = CORES[name], folder / "count.elf"
    text = "COUNT_SIZES=" + ",".join(f"{{{m},{n},{k}}}" for m, n, k in sizes)
    if name == "float32":
        core.build([mcu_folder() / "sim" / "count_kernels.c"], elf, ["COUNT_FLOAT", text])
    else:
        core.build([mcu_folder() / "sim" / "count16.c"], elf, [text])
    found: dict[str, dict[Size, int]] = {form: {} for form in FORMS}
    for line in core.run(elf).text.splitlines():
        what, *numbers = line.split()
        if what in FORMS:
            m, n, k, count = map(int, numbers)
            found[what][m, n, k] = round(count % COUNTER / core.per_instruction)
    return found


def kernels(name: str, folder: Path, forms: dict[Form, list[Term]]) -> dict[str, list[float]]:
    """Of what is no product: instructions a value and of a call."""
    shape = {**TILINGS[name]._asdict(), "kernels": {}}
    code = Code.model_validate(shape | {"products": forms})
    core, elf = CORES[name], folder / "kernels.elf"
    sizes = ["COUNT_FLOAT", "COUNT_SIZES={1,1,1}"] if name == "float32" else []
    core.build([mcu_folder() / "sim" / "count_kernels.c"], elf, sizes)
    counts: dict[str, list[tuple[int, float]]] = {}
    for line in core.run(elf).text.splitlines():
        what, *numbers = line.split()
        if len(numbers) == 2:
            values, count = map(int, numbers)
            counts.setdefault(_named(what), []).append((values, count % COUNTER / core.per_instruction))
    each = {}
    for what, found in counts.items():
        (few, less), (many, more) = (_beside_products(what, *one, code) for one in found)
        slope = (more - less) / (many - few)
        each[what] = [round(slope, 2), round(max(less - slope * few, 0.0))]
    return each


def _beside_products(what: str, values: int, count: float, code: Code) -> tuple[int, float]:
    """Of a convolution of count_kernels.c: values of its patches, and instructions without the product."""
    if not what.startswith("conv."):
        return values, count
    positions = values // 9
    shapes: dict[str, tuple[Form, Size]] = {
        "conv.forward": ("nn", (4, positions, 36)),
        "conv.input_gradient": ("tn", (36, min(32, positions), 4)),
        "conv.gradient": ("gradient", (4, 36, positions)),
    }
    form, size = shapes[what]
    product = trips(code.tiling, form, *size).sum(code.products[form])
    return 4 * values, count - product * (positions / 32 if form == "tn" else 1)


def _named(what: str) -> str:
    """softmax_ce_forward is softmax_ce.forward."""
    return what.replace("_", ".", 1).replace("softmax.ce_", "softmax_ce.")


def _name(term: Term) -> tuple[str, ...]:
    return term[1:]


def checked(figures: Figures, name: str, tiling: Tiling, form: Form, terms: list[Term], counts: Any) -> None:
    """How far the closed form is from the counts at CHECKED."""
    truth = np.array([counts[size] for size in CHECKED])
    off = np.array([trips(tiling, form, *size).sum(terms) for size in CHECKED]) - truth
    figures.add(f"{name}_equal", int((abs(off) < 0.5).sum()), "of 20", ">= 20")
    figures.add(f"{name}_median", round(100 * float(np.median(abs(off / truth))), 3), "% off")
    figures.add(f"{name}_worst", round(100 * float(abs(off / truth).max()), 3), "% off")


def halves(figures: Figures, name: str, folder: Path) -> dict[Form, list[Term]]:
    """Closed forms of a back end of halves."""
    tiling = TILINGS[name]
    sizes = DESIGNED[name] + drawn(tiling)
    counts = products(name, folder, sizes)
    at = symbols(NM[name], folder / "count.elf")
    starts: dict[int, str] = {at[form]: form for form in FORMS}
    ran = histograms(CORES[name], folder / "count.elf", starts, at["sim_count"])
    others = products(name, folder, CHECKED)
    found: dict[Form, list[Term]] = {}
    for form in FORMS:
        beside = {
            counts[form][size] - each.total() for size, each in zip(sizes, ran[form], strict=True)
        }  # of reading the counter
        if len(beside) != 1:
            raise SystemExit(f"mcu_closed_form: {name} {form}: trace and counter differ by {beside}")
        for few, label in ((8, f"{name}_{form}_by_eight"), (len(sizes), f"{name}_{form}")):
            terms, lost = fitted(tiling, form, sizes[:few], ran[form][:few], min(beside))
            checked(figures, label, tiling, form, terms, others[form])
            figures.add(f"{label}_unexplained", lost, "instructions of the code")
        found[form] = terms
    return found


def floats(figures: Figures, folder: Path) -> dict[Form, list[Term]]:
    """The same of float32, by least squares of relative errors."""
    tiling, found = TILINGS["float32"], {}
    counts = products("float32", folder, FLOAT + CHECKED)
    for form in FORMS:
        if not counts[form]:
            continue
        at = [trips(tiling, form, *size) for size in FLOAT]
        table = np.array([[one.sum([(1.0, *term)]) for term in FLOAT_TERMS] for one in at])
        truth = np.array([counts[form][size] for size in FLOAT])
        weights = nnls(table / truth[:, None], np.ones(len(truth)))[0]
        terms: list[Term] = [
            (round(float(each), 3), *term) for each, term in zip(weights, FLOAT_TERMS, strict=True)
        ]
        found[form] = [term for term in terms if term[0]]
        checked(figures, f"float32_{form}", tiling, form, found[form], counts[form])
    return found


def main() -> int:
    """Per core and form: how far the closed form is from counts that it was not found at."""
    figures = Figures("mcu_closed_form")
    made = []
    for name, tiling in TILINGS.items():
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            forms = floats(figures, folder) if name == "float32" else halves(figures, name, folder)
            each = kernels(name, folder, forms)
        head = json.dumps(tiling._asdict())[1:-1]
        rows = ",\n   ".join(
            f'"{form}": {json.dumps(sorted(terms, key=lambda term: term[1:]))}'
            for form, terms in forms.items()
        )
        made.append(
            f' "{name}": {{{head},\n  "products": {{\n   {rows}}},\n  "kernels": {json.dumps(each)}}}'
        )
    write_file(mcu_folder() / "instructions.json", "{\n" + ",\n".join(made) + "\n}\n")
    return figures.finish()


if __name__ == "__main__":
    sys.exit(main())
