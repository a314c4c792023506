"""A third party's distribution adds a rule, an update, a cell, a law and cards, and all of them train."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest

from hwtrain.cards import card, card_files
from hwtrain.errors import UnknownNameError
from hwtrain.registry import lookup, names

MODULE = '''
"""What a third party brings."""

from pathlib import Path

from hwtrain.rules.backprop import Backprop
from hwtrain.synapse.cells.single import Single
from hwtrain.synapse.laws.linear import Linear
from hwtrain.synapse.updates.sign_pulse import SignPulse

CARDS = Path(__file__).parent / "foreign_cards"


class ForeignRule(Backprop):
    """A rule."""


class ForeignUpdate(SignPulse):
    """An update."""


class ForeignCell(Single):
    """A cell."""


class ForeignLaw(Linear):
    """A law."""
'''
ENTRY_POINTS = """
[hwtrain.rules]
foreign-rule = foreign_parts:ForeignRule
[hwtrain.updates]
foreign-update = foreign_parts:ForeignUpdate
[hwtrain.cells]
foreign-cell = foreign_parts:ForeignCell
[hwtrain.laws]
foreign-law = foreign_parts:ForeignLaw
[hwtrain.cards]
foreign = foreign_parts:CARDS
"""


@pytest.fixture
def foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    info = tmp_path / "foreign_parts-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: foreign-parts\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(dedent(ENTRY_POINTS))
    (tmp_path / "foreign_parts.py").write_text(MODULE)
    (tmp_path / "foreign_cards" / "deep").mkdir(parents=True)
    text = card_files()["ideal-envm"].read_text().replace('"linear"', '"foreign-law"')
    (tmp_path / "foreign_cards" / "deep" / "foreign-device.toml").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "foreign_parts", raising=False)  # that of another test
    return tmp_path


PARTS = {"rules": "rule", "updates": "update", "cells": "cell", "laws": "law"}


@pytest.mark.parametrize("kind", PARTS)
def test_a_foreign_part_is_listed_and_found(kind: str, foreign: Path) -> None:
    name = f"foreign-{PARTS[kind]}"
    assert name in names(kind)
    assert lookup(kind, name).__module__ == "foreign_parts"


def test_a_foreign_card_is_found(foreign: Path) -> None:
    assert card_files()["foreign-device"].is_relative_to(foreign)
    assert card("foreign-device").kind == "synapse"


def test_foreign_parts_train_together(foreign: Path, trained: Callable[..., float]) -> None:
    x = np.random.default_rng(0).random((300, 8))
    y = (x[:, :4].sum(1) > x[:, 4:].sum(1)).astype(int)
    settings = {PARTS[kind]: f"foreign-{PARTS[kind]}" for kind in PARTS if kind != "laws"}
    settings |= {"device": "foreign-device", "net": "8-4-2"}
    data = (x[:200], y[:200], x[200:], y[200:])
    assert trained(data, epochs=4, lr=0.8, batch=5, summed=True, **settings) > 0.7


@pytest.mark.parametrize("kind", PARTS)
def test_without_the_distribution_its_parts_are_unknown(kind: str) -> None:
    with pytest.raises(UnknownNameError, match="foreign"):
        lookup(kind, f"foreign-{PARTS[kind]}")
