"""Every rule on every physics, beside all controls, 5 seeds: what `hwtrain physical study` prints, kept.

A part of the digits of scikit-learn; every contestant has the same budget. Each is trained once and kept in
runs/studies, so a study that was stopped goes on.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import asdict

from _study import Figures, work

from hwtrain.analysis import physical_study
from hwtrain.analysis.physical_study import CONTROLS, Budget, Contestant, Found, Row, study
from hwtrain.files import make_folder, write_file

BUDGET = Budget("digits", samples=300, epochs=3, tuning=1)


def main() -> int:
    """Run what is not there yet, write all rows."""
    folder = work("physical_study")
    make_folder(folder)
    train = physical_study.compete

    def compete(one: Contestant, budget: Budget) -> Found:
        file = folder / f"{'-'.join(str(value) for value in asdict(one).values())}.json"
        if not file.exists():
            print(f"physical_study: {file.stem}", file=sys.stderr, flush=True)
            write_file(file, json.dumps(asdict(train(one, budget))))
        kept = json.loads(file.read_text())
        return Found(**kept | {"accuracies": tuple(kept["accuracies"])})

    physical_study.compete = compete
    rows = study(budget=BUDGET)
    figures = Figures("physical_study")
    figures.detail = {"budget": asdict(BUDGET), "rows": [row.as_dict() for row in rows]}
    ran = [row for row in rows if row.found is not None]
    figures.add("cells", len(rows), "1")
    figures.add("refused", len(rows) - len(ran), "1")
    for name in CONTROLS:
        said = Counter(_said(row, name) for row in ran)
        for word in ("above", "below", "neither"):
            figures.add(f"{word}_{name}", said[word], "cells")
    return figures.finish()


def _said(row: Row, control: str) -> str:
    """Whether the 95 % interval of the paired difference lies above 0, below it, or on both sides."""
    gap = row.difference(control)
    assert gap.low is not None
    assert gap.high is not None
    return "above" if gap.low > 0 else "below" if gap.high < 0 else "neither"


if __name__ == "__main__":
    sys.exit(main())
