"""Device cards: those that ship are right, and what a card may not say is refused."""

from __future__ import annotations

import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from hwtrain import cards as module
from hwtrain.cards import (
    FixedCard,
    Fp16Card,
    FpgaCard,
    IdealCard,
    LatentCard,
    McuCard,
    PhysicalCard,
    ShiftCard,
    SynapseCard,
    card,
    card_files,
    card_id,
    cards,
    check_expectations,
    read_card,
)
from hwtrain.config import make_config
from hwtrain.errors import CardError, UnknownNameError
from hwtrain.registry import lookup, names
from hwtrain.training.trial import specs


def edited(tmp_path: Path, *changes: tuple[str, str], name: str = "taox-tio2") -> Path:
    text = card_files()[name].read_text(encoding="utf-8")
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    file = tmp_path / "card.toml"
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize("name", sorted(card_files()))
def test_a_shipped_card_holds_what_was_published(name: str) -> None:
    found = card(name)
    check_expectations(name, found)
    assert found.schema_ == 1
    assert found.provenance.licence
    if isinstance(found, SynapseCard) and found.response:
        given = found.law().params.model_dump(exclude_unset=True)
        assert given == {key: value for key, value in found.response.items() if key != "law"}


def test_every_card_is_listed_once_with_its_file() -> None:
    assert [name for name, _ in cards()] == list(card_files())
    assert all(file.stem == name for name, file in card_files().items())
    assert {type(found) for _, found in cards()} == {
        *(SynapseCard, IdealCard, FixedCard, Fp16Card, LatentCard, ShiftCard, PhysicalCard, McuCard, FpgaCard)
    }


def models(model: type[BaseModel], path: str = "") -> Iterator[tuple[str, Any]]:
    for name, field in model.model_fields.items():
        tables = [
            part
            for part in (field.annotation, *get_args(field.annotation))
            if isinstance(part, type) and issubclass(part, BaseModel)
        ]
        for table in tables:
            yield from models(table, f"{path}{name}.")
        if not tables:
            yield path + name, field


@pytest.mark.parametrize(
    "model",
    [
        SynapseCard,
        IdealCard,
        LatentCard,
        McuCard,
        FpgaCard,
        *(lookup("laws", law).Params for law in names("laws")),
    ],
)
def test_every_key_says_what_it_means_and_how_it_is_measured(model: type[BaseModel]) -> None:
    found = dict(models(model))
    assert found
    for name, field in found.items():
        assert field.description, name
        if name not in ("schema_", "kind", "response"):
            assert field.json_schema_extra["measured"], name
    # A quantity carries its unit; a share, ratio or count has none.
    for name in found:
        last = name.rpartition(".")[2]
        assert last not in ("g_min", "g_max", "v_up", "v_down", "t_up", "t_down", "energy"), name


def test_a_card_is_found_by_id_or_by_path(tmp_path: Path) -> None:
    file = edited(tmp_path)
    assert card(str(file)) == card("taox-tio2")
    plain = tmp_path / "plain"
    plain.write_bytes(file.read_bytes())
    assert card(str(plain)) == card("taox-tio2")
    with pytest.raises(UnknownNameError, match="did you mean 'taox-tio2'"):
        card("taox-tio")
    with pytest.raises(CardError, match="No such file"):
        card("taox-tio2.toml")  # a path


@pytest.mark.parametrize(
    ("name", "expected"),
    [("pcmo", "pcmo"), ("a/b.toml", "b"), ("/a/b/c", "c"), ("b.toml", "b"), ("/a/b.c.toml", "b.c")],
)
def test_the_id_of_a_card_is_fit_for_the_name_of_a_folder(name: str, expected: str) -> None:
    assert card_id(name) == expected
    assert specs(make_config(device=name))[0].name == f"backprop-{expected}-s0"


def test_an_entry_point_brings_a_folder_of_cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edited(tmp_path, ('title = "TaOx', 'title = "Mine, TaOx')).rename(tmp_path / "mine.toml")
    point = types.SimpleNamespace(load=lambda: tmp_path)
    monkeypatch.setattr(module, "entry_points", lambda group: [point] if group == "hwtrain.cards" else [])
    assert card("mine").device.title.startswith("Mine")
    assert "pcmo" in card_files()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([("schema = 1", "schema = 1000")], "schema = 1000 is newer than this hwtrain reads (1): update"),
        (
            [("schema = 1", "schema = 2"), ('kind = "synapse"', 'kind = "quantum"')],
            "schema = 2 is newer",  # a newer schema may have kinds that this one does not know
        ),
        ([("schema = 1\n", "")], "key schema is missing"),
        ([('kind = "synapse"\n', "")], "kind = None is no kind of card"),
        ([('kind = "synapse"', "kind = {}")], "kind = {} is no kind of card"),
        (
            [("c2c_rel_range = 0.01", "c2c_rel_range = 5")],
            ":27: variation.c2c_rel_range = 5: must be a fraction between 0 and 1: write 0.05 for 5 %",
        ),
        ([("c2c_rel_range = 0.01", "c2c_rel_range = 500")], "fraction between 0 and 1"),
        ([("c2c_rel_range = 0.01", "c2c_rel_range = -0.1")], "c2c_rel_range = -0.1"),
        ([("t_up_s = 40e-3", "t_up_s = 0")], "pulse.t_up_s = 0"),
        ([("levels_down = 102", "levels_down = 1")], ":22: response of law affine: levels_down = 1"),
        ([("levels_down = 102", "levels_down = 2.5")], "levels_down = 2.5"),
        ([('law = "affine"', 'law = "linear"')], "unknown key label_up"),
        ([('law = "affine"', "law = 3")], "response.law is missing: name one of affine"),
        ([("v_read_V = 0.5", "adc_range_A = 1e-6")], "needs v_read_V"),
        ([("v_read_V = 0.5", "v_read_V = 0.5\nadc_range_A = 1e-6\nadc_range_share = 1.0")], "leave one out"),
        ([("lines = 128", "dac_bits = 1")], "read.dac_bits = 1"),
        ([("lines = 128", "lines = 1")], "read.lines = 1"),
        ([("slots = 8", "slots = 0")], "periphery.slots = 0"),
        (
            [("v_up_V = 3.0", "v_up_V = 3.0\nv_up_step_V = 0.1"), ("levels_up = 102", "step_up = 0.01")],
            "response",
        ),
        ([("g_max_S = 2e-7", "g_max_S = 2e-7\ndown_from = 0.05")], "range.down_from = 0.05"),
        ([("[pulse]", "[ageing]\nstep_s = 1.0\n\n[pulse]")], "needs the drift exponents of [retention]"),
        ([("[pulse]", "[reed]\nnoise_rel = 0\n\n[pulse]")], "unknown key reed: did you mean 'read'?"),
        ([("v_up_V = 3.0", "v_up_V = inf")], "v_up_V"),
        ([("on_off = 2", "on_off = 2\nr_of_ohm = 3")], "did you mean 'r_on_ohm'?"),
        ([("accuracy = 0.10", "accuracy = 10")], "write 0.1 for 10 %"),
    ],
    ids=range(25),
)
def test_what_a_card_may_not_say_is_refused(
    tmp_path: Path, changes: list[tuple[str, str]], message: str
) -> None:
    file = edited(tmp_path, *changes)
    with pytest.raises(CardError) as caught:
        read_card(file)
    assert str(caught.value).startswith(str(file))
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "change",
    [
        ("on_off = 2", "on_off = 2.1"),
        ("r_on_ohm = 5e6", "r_on_ohm = 5.2e6"),
        ("g_max_S = 2e-7", "g_max_S = 2.1e-7"),
    ],
)
def test_a_card_that_misses_what_was_published_is_found_out(tmp_path: Path, change: tuple[str, str]) -> None:
    file = edited(tmp_path, change)
    with pytest.raises(CardError, match="one of them is mistyped"):
        check_expectations("card", read_card(file))
    near = edited(tmp_path, ("on_off = 2", "on_off = 2.03"))
    check_expectations("card", read_card(near))
