"""What cards of every kind are made of: keys with a meaning, the device, where the numbers come from."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError
from pydantic_core import PydanticCustomError

from hwtrain.registry import lookup, names, unknown
from hwtrain.strict_toml import Strict, explain


def _fraction(value: float) -> float:
    if not 0 <= value <= 1:
        hint = f": write {value / 100:g} for {value:g} %" if 1 < value <= 100 else ""
        raise ValueError(f"must be a fraction between 0 and 1{hint}")
    return value


Fraction = Annotated[float, AfterValidator(_fraction)]


def key(meaning: str, measured: str, **rules: Any) -> Any:
    """A card key: its meaning, and how one measures it. Without ``default=`` it must be given."""
    return Field(description=meaning, json_schema_extra={"measured": measured}, **rules)


class Identity(Strict):
    """What the device is."""

    title: str = key("name of the device as its paper gives it", "read it", min_length=1)
    technology: str = key("what stores the conductance", "read it", min_length=1)


class Provenance(Strict):
    """Where the numbers come from."""

    kind: Literal["published-parameters", "fit", "measured-table", "synthetic"] = key(
        "how the numbers came to be", "know it"
    )
    citation: str = key("the work to cite", "read it", min_length=1)
    location: str = key("table, figure or file with the numbers", "read it", min_length=1)
    licence: str = key("licence of the data", "read it", min_length=1)
    verified: bool = key("whether the numbers were read in the source itself", "look them up")


def known(kind: str, name: str) -> str:
    """The name, if there is something of this kind that is called so."""
    if name not in names(kind):
        raise ValueError(unknown(kind, name))
    return name


def chosen(kind: str, table: str, key_: str, given: dict[str, Any]) -> tuple[Any, Any]:
    """The registered class that a card's table names, and the table's other keys as its ``Params``."""
    values = dict(given)
    name = values.pop(key_, None)
    if not isinstance(name, str):
        raise ValueError(f"{table}.{key_} is missing: name one of {', '.join(names(kind))}")
    known(kind, name)
    found = lookup(kind, name)
    try:
        return found, found.Params.model_validate(values)
    except ValidationError as problems:
        said = explain(found.Params, problems, where=f"{table} of {key_} {name}", text="")
        place = (table, *(str(part) for part in problems.errors()[0]["loc"]))
        raise PydanticCustomError(key_, "{said}", {"said": said, "place": place}) from None
