"""Reads TOML into pydantic models, what is wrong in one line with file, line, key, repair; and writes it."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from hwtrain.errors import HwtrainError, nearest

_LARGEST = 1 << 20


class Strict(BaseModel):
    """Base of everything read from a file: frozen, unknown keys refused, numbers finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, populate_by_name=True)


Model = TypeVar("Model", bound=BaseModel)


def read_toml(path: Path, error: type[HwtrainError]) -> tuple[dict[str, Any], str]:
    """The tables of a TOML file and its text."""
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)  # a device such as /dev/zero has no size to ask for
        if len(data) > _LARGEST:
            raise error(f"{path}: larger than {_LARGEST} bytes: this is not a file of settings")
        text = data.decode("utf-8")
        return tomllib.loads(text), text
    except OSError as problem:
        raise error(f"{path}: {problem.strerror}: check the path") from None
    except UnicodeDecodeError as problem:
        raise error(f"{path}: byte {problem.start} is not UTF-8: save the file as UTF-8") from None
    except (ValueError, RecursionError) as problem:  # ValueError: also a number of 5000 digits
        raise error(f"{path}: not TOML: {problem}") from None


def dump(values: Mapping[str, Any]) -> str:
    """Keys, and tables of keys, as TOML that reads back as the same; those that are None are left out."""
    lines = [f"{_key(key)} = {_toml(value)}" for key, value in values.items() if _is_plain(value)]
    for name, table in values.items():
        if isinstance(table, Mapping):
            lines += ["", f"[{_key(name)}]"]
            lines += [f"{_key(key)} = {_toml(value)}" for key, value in table.items() if _is_plain(value)]
    return "\n".join(lines) + "\n"


def _is_plain(value: Any) -> bool:
    return value is not None and not isinstance(value, Mapping)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _toml(name)


def _toml(value: Any) -> str:
    """JSON is TOML but for surrogate pairs (as \\uD83D) and a bare delete character."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def validate(
    model: type[Model], values: dict[str, Any], *, where: str, text: str, error: type[HwtrainError]
) -> Model:
    """``model(**values)``, the first thing wrong told in one line."""
    try:
        return model.model_validate(values)
    except ValidationError as problems:
        raise error(explain(model, problems, where=where, text=text)) from None


def explain(model: type[BaseModel], problems: ValidationError, *, where: str, text: str) -> str:
    """The first problem of a validation as ``file:line: key = value: what and how to mend it``."""
    found = problems.errors()
    # Of a choice of types every branch complains; the one that came deepest is what was meant.
    alike = [one for one in found if one["loc"][:1] == found[0]["loc"][:1]]
    first = max(alike, key=lambda one: len(one["loc"]))
    place = _place(model, tuple(str(part) for part in first["loc"]))
    key = ".".join(place)
    line = line_of(text, place or first.get("ctx", {}).get("place", ()))
    start = f"{where}:{line}" if line else where
    if first["type"] == "extra_forbidden":
        known = _known_keys(model, place[:-1])
        return f"{start}: unknown key {key}: {nearest(place[-1], known)}"
    if first["type"] == "missing":
        return f"{start}: key {key} is missing: add it"
    said = first["msg"].removeprefix("Value error, ").replace("\n", " ")
    value = first["input"]
    shown = f" = {value!r}" if key and not isinstance(value, dict) else ""
    return f"{start}: {key}{shown}: {said}" if key else f"{start}: {said}"


def line_of(text: str, place: tuple[str, ...]) -> int | None:
    """The line where a key stands in TOML text: the key in its table, else the table's header."""
    table: tuple[str, ...] = ()
    header: int | None = None
    for number, line in enumerate(text.splitlines(), start=1):
        if found := re.match(r"\s*\[\s*([^\[\]]+?)\s*\]", line):
            table = tuple(part.strip(" \"'") for part in found[1].split("."))
            if table == place[: len(table)]:
                header = number
        elif found := re.match(r"\s*([\w.-]+)\s*=", line):
            full = (*table, *found[1].split("."))
            if full == place[: len(full)]:
                return number
    return header


def _place(model: type[BaseModel], loc: tuple[str, ...]) -> tuple[str, ...]:
    """The keys in a problem's location, without the names of types that pydantic puts after them."""
    for depth, part in enumerate(loc, start=1):
        fields = {field.alias or name: field for name, field in model.model_fields.items()}
        said = fields[part].annotation if part in fields else None
        tables = [
            one for one in (said, *get_args(said)) if isinstance(one, type) and issubclass(one, BaseModel)
        ]
        if len(tables) != 1:  # a table may be left out, but not be one of two
            return loc[:depth]
        model = tables[0]
    return loc


def _known_keys(model: type[BaseModel], place: tuple[str, ...]) -> list[str]:
    """The keys that a model accepts below ``place``."""
    for part in place:
        field = model.model_fields.get(part)
        inner = field.annotation if field else None
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return []
        model = inner
    return [field.alias or name for name, field in model.model_fields.items()]
