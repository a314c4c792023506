"""Every card holds what it promises, and every registered module is what its name says."""

from __future__ import annotations

import ast
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

import hwtrain
from hwtrain import registry
from hwtrain.analysis.expect import check_card, sweep
from hwtrain.cards import SynapseCard, card, card_files

HOME = Path(hwtrain.__file__).parent
MODULES = [
    (kind, file)
    for kind, folder in registry._FOLDERS.items()
    for file in sorted((HOME / folder).glob("*.py"))
    if file.stem != "base" and not file.stem.startswith("_")
]


def test_card_agrees_with_the_published_figures(card_name: str) -> None:
    check_card(card_name, card(card_name))


def test_card_id_is_its_file_name_and_unique(card_name: str) -> None:
    file = card_files()[card_name]
    assert file.stem == card_name
    assert card_name == card_name.lower()
    assert [other.stem for other in card_files().values()].count(card_name) == 1


FUNCTIONS = {"kernels": None, "nets": "make", "commands": "add"}
"""Kinds whose modules hold functions, and the one that each must have."""


def test_card_says_where_its_numbers_come_from(card_name: str) -> None:
    found = card(card_name)
    said = found.provenance
    assert all(text.strip() for text in (said.citation, said.location, said.licence))
    assert found.device.title
    assert said.verified or said.kind == "synthetic"


def test_noise_free_trace_runs_from_end_to_end(synapse: str) -> None:
    found = card(synapse)
    assert isinstance(found, SynapseCard)
    (_, rise), (_, fall) = sweep(found, "up"), sweep(found, "down")
    g = [*rise, *fall]
    span = found.range.g_max_S - found.range.g_min_S
    assert all(a <= b for a, b in pairwise(rise))
    assert all(a >= b for a, b in pairwise(fall))
    assert max(g) <= found.range.g_max_S * (1 + 1e-12)
    assert min(g) >= found.range.g_min_S * (1 - 1e-12)
    assert rise[-1] - rise[0] > 0.9 * span
    assert fall[0] - fall[-1] > 0.9 * span


@pytest.mark.parametrize(("kind", "file"), MODULES, ids=lambda value: getattr(value, "stem", value))
def test_module_has_a_docstring_and_what_its_name_says(kind: str, file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree)
    if kind in FUNCTIONS:
        functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
        assert FUNCTIONS[kind] in (None, *(function.name for function in functions))
        assert all(ast.get_docstring(function) for function in functions if function.name[0] != "_")
        return
    wanted = registry._camel(file.stem)
    found = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == wanted]
    assert len(found) == 1, f"{file.name} holds no class {wanted}"
    assert ast.get_docstring(found[0])
    assert registry.lookup(kind, file.stem.replace("_", "-")).__name__ == wanted


@pytest.mark.parametrize("kind", registry._FOLDERS)
def test_every_listed_name_is_found(kind: str) -> None:
    assert registry.names(kind)
    for name in registry.names(kind):
        assert registry.lookup(kind, name) is not None


def test_listing_imports_neither_torch_nor_what_it_lists() -> None:
    program = (
        "import sys; from hwtrain import registry; before = set(sys.modules);"
        "found = [registry.names(kind) for kind in registry._FOLDERS]; assert all(found);"
        "new = {name for name in set(sys.modules) - before if name.startswith('hwtrain')};"
        "assert not new, new; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_reading_every_card_imports_no_torch() -> None:
    program = (
        "import sys; from hwtrain.cards import cards; assert len(list(cards())) > 1;"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
