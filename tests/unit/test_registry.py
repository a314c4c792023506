"""The registry: a name is a file; listing imports nothing, a lookup imports one module."""

from __future__ import annotations

import subprocess
import sys
import types
from pathlib import Path

import pytest

import hwtrain
from hwtrain import registry
from hwtrain.errors import UnknownNameError, nearest
from hwtrain.registry import lookup, names, unknown

KINDS = ("rules", "updates", "laws", "cells", "substrates", "layers", "losses", "kernels", "emulators")
HOME = Path(hwtrain.__file__).parent


@pytest.mark.parametrize("kind", KINDS)
def test_every_module_of_a_folder_is_registered_and_holds_its_class(kind: str) -> None:
    folder = {
        "updates": "synapse/updates",
        "laws": "synapse/laws",
        "cells": "synapse/cells",
        "emulators": "physical/emulators",
    }.get(kind, kind)
    files = {file.stem for file in (HOME / folder).glob("[!_]*.py")} - {"base"}
    assert files
    assert names(kind) == sorted(file.replace("_", "-") for file in files)
    for name in names(kind):
        found = lookup(kind, name)
        if kind != "kernels":
            assert isinstance(found, type)
            assert found.__name__.lower() == name.replace("-", "")
        assert (
            name.replace("-", "_")
            == (found.__name__ if kind == "kernels" else found.__module__).split(".")[-1]
        )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["", "base", "__init__", "../net", "no such", "Backprop"])
def test_an_unknown_name_is_an_error_with_the_nearest_one(kind: str, name: str) -> None:
    with pytest.raises(UnknownNameError) as caught:
        lookup(kind, name)
    one = {"losses": "loss"}.get(kind, kind[:-1])
    assert str(caught.value).startswith(f"no {one} is called {name!r}: ")
    if (kind, name) == ("rules", "Backprop"):
        assert str(caught.value).endswith("did you mean 'backprop'?")
    assert str(caught.value) == unknown(kind, name)


def test_nearest_says_one_name_or_all() -> None:
    assert nearest("sngle", ["single", "pair"]) == "did you mean 'single'?"
    assert nearest("quantum", ["single", "pair"]) == "known: pair, single"


def test_listing_imports_nothing_and_a_lookup_one_module() -> None:
    code = (
        "import sys; from hwtrain.registry import names, lookup\n"
        f"for kind in {KINDS}: names(kind)\n"
        "loaded = {m for m in sys.modules if m.startswith('hwtrain')}\n"
        "assert loaded == {'hwtrain', 'hwtrain.registry', 'hwtrain.errors'}, loaded\n"
        "assert 'torch' not in sys.modules\n"
        "lookup('laws', 'linear')\n"
        "assert 'hwtrain.synapse.laws.affine' not in sys.modules\n"
        "assert 'torch' not in sys.modules\n"  # cards are read without it
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_entry_point_adds_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Mine:
        pass

    point = types.SimpleNamespace(name="mine", load=lambda: Mine)
    monkeypatch.setattr(registry, "entry_points", lambda group: [point] if group == "hwtrain.rules" else [])
    monkeypatch.syspath_prepend(str(tmp_path))  # the scan is kept for each sys.path
    assert "mine" in names("rules")
    assert "mine" not in names("cells")
    assert lookup("rules", "mine") is Mine
    with pytest.raises(UnknownNameError, match="did you mean 'mine'"):
        lookup("rules", "mines")


def test_the_entry_points_of_a_kind_are_scanned_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scans: list[str] = []
    monkeypatch.setattr(registry, "entry_points", lambda group: scans.append(group) or [])
    monkeypatch.syspath_prepend(str(tmp_path))
    for kind in KINDS * 2:
        names(kind)
    assert scans == [f"hwtrain.{kind}" for kind in KINDS]
