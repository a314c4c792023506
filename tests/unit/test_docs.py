"""The code in README.md and docs/ is run as it stands."""

from __future__ import annotations

import ctypes
import json
import re
import subprocess
import sys
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file

from hwtrain.analysis.trace import trace
from hwtrain.cards import SynapseCard, card
from hwtrain.native import build
from hwtrain.shipped import shipped

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def run(folder: Path, *arguments: str) -> None:
    """A process of its own, as a reader would start it (and free of the shape checks of pytest)."""
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow  # five epochs, twice
def test_the_snippet_ends_with_the_weights_of_the_command(tmp_path: Path) -> None:
    readme = ROOT / "README.md"
    (code,) = blocks(readme, "python")
    command = re.search(r"`\./run (train --data [^`]*) --out DIR`", readme.read_text())
    assert command is not None
    run(tmp_path, "-c", code)
    run(tmp_path, "-m", "hwtrain", *command[1].split(), "--out", "by-command", "--workers", "1")
    file = "trials/backprop-taox-tio2-s0/checkpoint.safetensors"
    ours, theirs = load_file(tmp_path / "runs/readme" / file), load_file(tmp_path / "by-command" / file)
    assert ours.keys() == theirs.keys()
    assert all((ours[name] == theirs[name]).all() for name in ours)


@pytest.mark.parametrize("page", PAGES[1:], ids=lambda page: page.name)
def test_the_python_of_a_page_runs(page: Path, tmp_path: Path) -> None:
    for code in blocks(page, "python"):
        run(tmp_path, "-c", code)


def test_the_cards_of_a_net_on_real_arrays_have_the_shapes_of_its_layers() -> None:
    page = ROOT / "docs" / "physical.md"
    (shell,) = [block for block in blocks(page, "sh") if "fc1.toml" in block]
    words = shell.split()
    widths = words[words.index("--net") + 1].split("-")
    layers = words[words.index("--device") + 1].split(",")
    commands = [tomllib.loads(block)["instrument"]["command"] for block in blocks(page, "toml")]
    served = [command for command in commands if "{layer}.log" in command]
    flags = [dict(zip(command[4::2], command[5::2], strict=True)) for command in served]
    assert [(its["--in"], its["--out"]) for its in flags] == list(pairwise(widths))
    assert layers == [f"fc{at}=fc{at}.toml" for at in range(1, len(served) + 1)]
    assert len({its["--seed"] for its in flags}) == len(served)


def test_the_table_of_rules_on_physics_is_its_result() -> None:
    result = json.loads((ROOT / "benchmarks/results/physical_study.json").read_text())
    table = re.findall(r"^\| `(.+?)` \| (\d+ \| .+ / \d+) \|$", (ROOT / "docs/physical.md").read_text(), re.M)
    ran = [row for row in result["rows"] if row["refused"] is None]
    for rule, said in table:
        rows = [row for row in ran if row["rule"] == rule]
        ends = sorted(row["accuracy"] for row in rows)
        cells = [
            str(len(rows)),
            " to ".join(dict.fromkeys(f"{100 * end:.1f}" for end in (ends[0], ends[-1]))),
        ]
        for control in ("zero", "linear", "backprop", "ridge"):
            gaps = [row[f"minus_{control}"] for row in rows]
            cells.append(f"{sum(gap['low'] > 0 for gap in gaps)} / {sum(gap['high'] < 0 for gap in gaps)}")
        assert said == " | ".join(cells), rule
    assert {rule for rule, _ in table} == {row["rule"] for row in ran}


def test_the_c_of_the_kernel_is_its_python() -> None:
    page = ROOT / "docs" / "programs.md"
    (c,) = blocks(page, "c")
    (python,) = (code for code in blocks(page, "python") if "@kernel" in code)
    found: dict[str, Any] = {"__name__": "leaky"}
    exec(python, found)
    kernel = found["forward"]
    assert f"void {kernel.c_name}(int32_t n, float slope, const float *x, float *y)" in c
    call = (
        f"void leaky(int32_t n, float slope, const float *x, float *y) {{ {kernel.c_name}(n, slope, x, y); }}"
    )
    library = build(f'#include "hwt.h"\n{c}\n{call}\n', (shipped("fpga") / "include",))
    x = np.random.default_rng(1).normal(size=1000).astype(np.float32)
    y = np.zeros_like(x)
    at = (ctypes.c_void_p(values.ctypes.data) for values in (x, y))
    library.leaky(ctypes.c_int32(x.size), ctypes.c_float(0.3), *at)
    assert (y < 0).any()
    assert (y == kernel.meaning(x, 0.3)).all()


def test_the_card_of_the_readme_is_one(tmp_path: Path) -> None:
    (text,) = blocks(ROOT / "README.md", "toml")
    (tmp_path / "my.toml").write_text(text)
    found = card(str(tmp_path / "my.toml"))
    assert isinstance(found, SynapseCard)
    assert len(trace(found, up=3, down=3)) == 7


def test_every_link_to_a_file_leads_to_one() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
