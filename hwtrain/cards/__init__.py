"""Device cards: a TOML file that describes a device, strictly read.

A card says ``schema = 1`` and its ``kind``; every key carries its unit in its name, its meaning and
how one measures it (``hwtrain devices show CARD`` prints them). What a card leaves out is unknown
or ideal as its meaning says; nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

from hwtrain.cards.base import key
from hwtrain.cards.digital import FixedCard, Fp16Card, IdealCard, LatentCard, ShiftCard
from hwtrain.cards.fpga import FpgaCard
from hwtrain.cards.mcu import Constant, McuCard
from hwtrain.cards.physical import PhysicalCard
from hwtrain.cards.synapse import SynapseCard, check_expectations, without_scatter
from hwtrain.errors import CardError, UnknownNameError, nearest
from hwtrain.shipped import shipped
from hwtrain.strict_toml import read_toml, validate

__all__ = [
    "Card",
    "Constant",
    "FixedCard",
    "Fp16Card",
    "FpgaCard",
    "IdealCard",
    "LatentCard",
    "McuCard",
    "PhysicalCard",
    "ShiftCard",
    "SynapseCard",
    "card",
    "card_files",
    "card_id",
    "cards",
    "check_expectations",
    "key",
    "learning_cards",
    "read_card",
    "without_scatter",
]

SCHEMA = 1

Card = SynapseCard | IdealCard | FixedCard | LatentCard | PhysicalCard | Fp16Card | McuCard | FpgaCard
_KINDS: dict[str, type[Card]] = {
    "synapse": SynapseCard,
    "ideal": IdealCard,
    "fixed": FixedCard,
    "shift": ShiftCard,
    "physical": PhysicalCard,
    "fp16": Fp16Card,
    "mcu": McuCard,
    "fpga": FpgaCard,
}


def card_files() -> dict[str, Path]:
    """Id to file, for every card that ships or that an entry point's folder brings."""
    folders = [shipped("devices")]
    folders += [Path(str(point.load())) for point in entry_points(group="hwtrain.cards")]
    files = [file for folder in folders for file in sorted(folder.rglob("*.toml"))]
    return {file.stem: file for file in sorted(files, key=lambda file: file.stem)}


def cards() -> Iterator[tuple[str, Card]]:
    """Every card; a broken one is an error that names its file, never left out."""
    for name, file in card_files().items():
        yield name, read_card(file)


def learning_cards() -> Iterator[tuple[str, Card]]:
    """The cards that a net can be trained on: no microcontroller or FPGA, no synapse without known pulses."""
    for name, its in cards():
        if not isinstance(its, McuCard | FpgaCard) and (not isinstance(its, SynapseCard) or its.response):
            yield name, its


def card(name: str) -> Card:
    """The card with this id, or at this path."""
    files = card_files()
    if name in files:
        return read_card(files[name])
    if name.endswith(".toml") or "/" in name or "\\" in name:
        return read_card(Path(name))
    raise UnknownNameError(
        f"no device card is called {name!r}: {nearest(name, files)}; or give the path of a .toml file"
    )


def card_id(name: str) -> str:
    """The id of a card given by id or by path."""
    return Path(name).name.removesuffix(".toml")


def read_card(file: Path) -> Card:
    """A card from its file."""
    values, text = read_toml(file, CardError)
    schema = values.get("schema")
    if isinstance(schema, int) and schema > SCHEMA:  # first: a newer schema may have other kinds
        raise CardError(
            f"{file}: schema = {schema} is newer than this hwtrain reads ({SCHEMA}): update hwtrain"
        )
    kind = values.get("kind")
    if not isinstance(kind, str) or kind not in _KINDS:
        choice = nearest(str(kind), _KINDS)
        raise CardError(f"{file}: kind = {kind!r} is no kind of card: {choice}")
    # Of kind shift are whole numbers, masters included, and levels with floats behind them.
    model: type[Card] = LatentCard if kind == "shift" and "latent" in values else _KINDS[kind]
    return validate(model, values, where=str(file), text=text, error=CardError)
