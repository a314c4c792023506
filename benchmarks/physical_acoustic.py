"""The acoustic cavity of the PhyLL repository: how linear it is, a twin of it, and vowels through the twin.

10,000 measured pairs and the vowel table are read from ../shared/data/phyll, and nothing is run without them.
Twins are fitted to the pairs and judged on held-out ones. Then vowels: two PhyLL blocks with the twin in the
place of the cavity and the digital skip of the released code, beside the same with nothing in its place, for
random and speaker-disjoint splits. Features are standardised with training statistics alone.
"""

from __future__ import annotations

import re
import sys
import time
import zipfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import torch
from _study import HERE, Figures, difference

from hwtrain.analysis.estimate import estimate
from hwtrain.arith.threefry import Streams
from hwtrain.cards import card
from hwtrain.config import SOFTWARE
from hwtrain.direction import Adam
from hwtrain.layers.dense import Dense
from hwtrain.layers.physical import Physical
from hwtrain.ledger import Ledger
from hwtrain.net import Net
from hwtrain.physical.twin import Linear, Mlp, Quadratic, Twin, Zero, explained
from hwtrain.rules.phyll import Phyll
from hwtrain.substrates.base import Options, Trial, substrate_of
from hwtrain.training.engine import TorchEngine

DATA = HERE.parents[1] / "shared" / "data" / "phyll"
SEEDS = 5
EPOCHS = 30
CLASSES = ("ae", "ah", "aw", "er", "ih", "iy", "uw")


def main() -> int:
    """Fit the twins, then train on vowels."""
    if not DATA.is_dir():
        print(f"{DATA} is absent: the acoustic study needs the measured pairs", file=sys.stderr)
        return 1
    torch.set_num_threads(1)
    figures = Figures("physical_acoustic")
    x, y = (
        torch.from_numpy(np.loadtxt(DATA / f, delimiter=",", dtype=np.float32)) for f in ("ax.csv", "ay.csv")
    )
    held = torch.arange(len(x)) % 10 == 9
    began = time.process_time()
    mlp = Mlp(x[~held], y[~held], epochs=20)
    figures.add("mlp_twin_fit_cpu", time.process_time() - began, "s", "<= 15")
    kinds: dict[str, Twin] = {
        "linear": Linear(x[~held], y[~held]),
        "quadratic": Quadratic(x[~held], y[~held]),
        "mlp": mlp,
    }
    for kind, its in kinds.items():
        found_y = its.respond(x[held])
        # about one mean of all outputs, as the reference figures of these data; then about each output's own
        whole = explained(found_y.reshape(-1, 1), y[held].reshape(-1, 1))
        figures.add(f"{kind}_r2", whole, "1", ">= 0.995" if kind == "mlp" else None)
        figures.add(f"{kind}_r2_by_output", explained(found_y, y[held]), "1")
    table = vowels(DATA / "Vowel_dataset.xlsx")
    for split in ("random", "speakers"):
        found: dict[str, list[float]] = {}
        for name, model in (("twin", mlp), ("linear", kinds["linear"]), ("zero", Zero(20))):
            found[name] = [accuracy(table, split, seed, model) for seed in range(SEEDS)]
            figures.add(f"vowels_{split}_{name}", estimate(found[name]).mean, "%")
        figures.detail[split] = found
        for name in ("linear", "zero"):
            gap = difference(found["twin"], found[name])
            figures.add(f"vowels_{split}_twin_minus_{name}", gap.mean, "points")
            figures.add(f"vowels_{split}_twin_minus_{name}_low", gap.low, "points")
            figures.add(f"vowels_{split}_twin_minus_{name}_high", gap.high, "points")
    return figures.finish()


def accuracy(table: list[list[str]], split: str, seed: int, model: Twin) -> float:
    """Accuracy in percent of two PhyLL blocks on the held-out fifth."""
    names = [row[0] for row in table]
    labels = torch.tensor([CLASSES.index(_vowel(name)) for name in names])
    features = torch.tensor([[float(value) for value in row[-12:]] for row in table])
    rng = np.random.default_rng(seed)
    keys = [_speaker(name) for name in names] if split == "speakers" else [str(n) for n in range(len(names))]
    every = sorted(set(keys))
    kept_out = set(rng.permutation(every)[: len(every) // 5])
    test = torch.tensor([key in kept_out for key in keys])
    mean, sd = features[~test].mean(0), features[~test].std(0)
    z = (features - mean) / sd
    z = z - z[~test].min()
    x = torch.cat([torch.zeros(len(z), 8), z], 1)  # 20 inputs, the first for the label
    net = Net({
        "phi1": Physical(20, 20, skip=True), "fc1": Dense(40, 20),
        "phi2": Physical(20, 20, skip=True), "fc2": Dense(40, 20),
        "labels": Dense(20, len(CLASSES)),
    })  # fmt: skip
    home, software = substrate_of(card("fibre"), Options()), substrate_of(card(SOFTWARE), Options())
    ledger = Ledger()
    net.place(
        Trial(Streams(seed), ledger),
        lambda path: home if path.startswith("phi") else software,
        software,
        lambda: [Adam(ledger.clock)],
    )
    for path, array in net.arrays():
        if path.endswith(".medium"):
            array.stand_in = _Driven(model)  # type: ignore[attr-defined]
    engine = TorchEngine(Phyll(theta=4.0, inner=5).bind(net), ledger, 52)
    train = torch.nonzero(~test).flatten()
    for epoch in range(EPOCHS):
        order = train[torch.from_numpy(rng.permutation(len(train)))]
        engine.run(x[order], labels[order], epoch * -(-len(train) // 52), 2e-3)
    found = engine.evaluate(x[test], labels[test], EPOCHS)
    return 100 * found.correct / found.samples


class _Driven(Twin):
    """A twin behind the drive of the released code: |x| / |x|_2."""

    def __init__(self, model: Twin) -> None:
        self.model, self.macs = model, model.macs

    def respond(self, x: torch.Tensor) -> torch.Tensor:
        """The twin's response to the normalised drive."""
        return self.model.respond(x.abs() / (x.norm(dim=1, keepdim=True) + 1e-6))

    def respond_t(self, d: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
        """Not needed by a local rule."""
        raise NotImplementedError


def vowels(path: Path) -> list[list[str]]:
    """Rows of the first sheet that end in twelve numbers; a workbook is a zip of XML."""
    space = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
    with zipfile.ZipFile(path) as book:
        shared = [
            "".join(text.text or "" for text in item.iter(f"{space}t"))
            for item in ElementTree.fromstring(book.read("xl/sharedStrings.xml"))
        ]
        sheet = ElementTree.fromstring(book.read("xl/worksheets/sheet1.xml"))

    def value(cell: Any) -> str:
        inner = cell.find(f"{space}v")
        text = "" if inner is None else inner.text
        return shared[int(text)] if cell.get("t") == "s" else text

    rows = [[value(cell) for cell in row] for row in sheet.iter(f"{space}row")]
    return [row for row in rows if len(row) >= 13 and re.fullmatch(r"[\d.]+", row[-1] or "")]


def _vowel(name: str) -> str:
    return name[-2:]


def _speaker(name: str) -> str:
    return name[:-2]


if __name__ == "__main__":
    sys.exit(main())
