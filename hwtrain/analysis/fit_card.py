"""A fit as the text of a device card, with intervals and AIC as comments."""

from __future__ import annotations

import json
import math
import tomllib
from pathlib import Path

from hwtrain.analysis.fit import Fit, Value
from hwtrain.cards import SynapseCard
from hwtrain.errors import DataError
from hwtrain.strict_toml import validate
from hwtrain.synapse.label import LARGEST

_LEVELS = 1 << 16
_STEEPEST = 9.0
"""Largest label of a growing branch that the affine law takes."""
_SHOWN = {
    "g_min_S": "S",
    "g_max_S": "S",
    "label_up": "",
    "label_down": "",
    "levels_up": "pulses",
    "levels_down": "pulses",
    "c2c": "of the range",
    "read_noise": "of the conductance",
    "g_min_dtod": "of the range",
    "g_max_dtod": "of the range",
    "step_dtod": "of the step",
    "label_dtod": "labels",
}
_WAYS = ("up", "down")
_KEYS = {
    "range": ("g_min_S", "g_max_S", "g_min_dtod", "g_max_dtod"),
    "response": tuple(f"{what}_{way}" for what in ("levels", "label", "step", "curvature") for way in _WAYS),
    "variation": ("c2c", "step_dtod", "label_dtod"),
    "read": ("read_noise",),
}
"""Which figures of a fit stand in which table of a card."""
_RENAMED = {"c2c": "c2c_rel_range", "read_noise": "noise_rel"}


def card_text(found: Fit, *, title: str | None = None, v_read: float | None = None) -> str:
    """TOML that ``read_card`` accepts; DataError where the figures make no card."""
    source = _plain(Path(found.response.source).name)
    lines = [
        f"# hwtrain devices fit: {found.devices} device(s), {found.cycles} cycle(s).",
        "# Intervals are 95 %. AIC: "
        + ", ".join(f"{n} {v:.1f}" for n, v in found.aic.items() if v < math.inf)
        + ".",
        f"# R2 of the curve: up {found.r2['up']:.4f}, down {found.r2['down']:.4f}.",
        *(f"# Unknown: {what} ({why})." for what, why in found.unknown.items()),
        "schema = 1",
        'kind = "synapse"',
        "\n[device]",
        f"title = {_text(_plain(title) if title else source)}",
        'technology = "not stated"',
        "\n[provenance]",
        'kind = "fit"',
        f"citation = {_text(f'measurement in {source}')}",
        f"location = {_text(source)}",
        'licence = "not stated"',
        "verified = true",
        "\n[range]",
        *(_line(found, name, name) for name in ("g_min_S", "g_max_S")),
        *(_line(found, name, name) for name in ("g_min_dtod", "g_max_dtod") if name in found.figures),
        "\n[response]",
        *_response(found),
    ]
    variation = []
    if found.value("c2c") > 0:
        bound = "; upper bound: holds the read noise too" if found.c2c_is_bound else ""
        variation.append(_line(found, "c2c", "c2c_rel_range") + bound)
    if "step_dtod" in found.figures:
        variation.append(_line(found, "step_dtod", "step_dtod"))
    if "label_dtod" in found.figures and _labelled(found):
        variation.append(_line(found, "label_dtod", "label_dtod"))
    if variation:
        lines += ["\n[variation]", *variation]
    read = [] if v_read is None else [f"v_read_V = {abs(v_read):.7g}"]
    if "read_noise" in found.figures and found.value("read_noise") > 0:
        read.insert(0, _line(found, "read_noise", "noise_rel"))
    if read:
        lines += ["\n[read]", *read]
    if found.response.pulse:
        lines += ["\n[pulse]", *(f"{name} = {value:.7g}" for name, value in found.response.pulse.items())]
    lines += _uncertainty(found, "\n".join(lines))
    text = "\n".join(lines) + "\n"
    check_card(text, source)
    return text


def summary(found: Fit) -> list[tuple[str, str]]:
    """What the command prints: figure and value with interval."""
    rows = [("law", found.law if found.law != "soft-bounds" else "affine (soft bounds)")]
    for name, unit in _SHOWN.items():
        if name in found.figures:
            bound = "at most " if name == "c2c" and found.c2c_is_bound else ""
            rows.append((name, bound + _shown(found.figures[name], unit)))
    rows.append(("R2 up, down", f"{found.r2['up']:.4f}, {found.r2['down']:.4f}"))
    rows += [("AIC " + name, f"{value:.1f}") for name, value in found.aic.items() if value < math.inf]
    return rows + [(what, f"unknown: {why}") for what, why in found.unknown.items()]


def _response(found: Fit) -> list[str]:
    if found.law == "linear" and _crosses(found):
        return ['law = "linear"', *(_whole(found, f"levels_{way}") for way in ("up", "down"))]
    if _labelled(found):
        levels = [_whole(found, f"levels_{way}") for way in ("up", "down")]
        return ['law = "affine"', *levels, *(_line(found, n, n) for n in ("label_up", "label_down"))]
    names = ("step_up", "step_down", "curvature_up", "curvature_down")
    return ['law = "affine"', *(_line(found, name, name) for name in names)]


def _uncertainty(found: Fit, text: str) -> list[str]:
    """The intervals of what stands in the card, for who wants to draw other cards from the same data."""
    known = []
    for table, names in _KEYS.items():
        for name in names:
            figure, field = found.figures.get(name), _RENAMED.get(name, name)
            if figure is not None and figure.half and f"\n{field} = " in text and math.isfinite(figure.half):
                known.append(f'"{table}.{field}" = {figure.half:.4g}')
    return ["\n[uncertainty] # half widths of 95 % intervals", *known] if known else []


def _crosses(found: Fit) -> bool:
    """Whether both branches take a number of pulses that a card can say."""
    counts = [found.value(f"levels_{way}") for way in ("up", "down")]
    return all(math.isfinite(count) and 2 <= round(count) <= _LEVELS for count in counts)


def _labelled(found: Fit) -> bool:
    """Whether labels say it: both branches cross the range, and not too steeply."""
    up, down = found.value("label_up"), found.value("label_down")
    inside = -_STEEPEST <= up < LARGEST - 1 and -LARGEST + 1 < down <= _STEEPEST
    return found.law != "linear" and inside and _crosses(found)


def _line(found: Fit, name: str, key: str) -> str:
    value = found.figures[name]
    half = "" if value.half is None else f" # +- {value.half:.2g}"
    return f"{key} = {value.value:.7g}{half}"


def _whole(found: Fit, name: str) -> str:
    return f"{name} = {round(found.value(name))} # fitted: {found.value(name):.4g}"


def _shown(value: Value, unit: str) -> str:
    if not math.isfinite(value.value):
        return "never arrives"
    half = "" if value.half is None else f" ± {value.half:.2g}"
    return f"{value.value:.5g}{half} {unit}".rstrip()


def check_card(text: str, source: str) -> None:
    """DataError where the text is no card that ``read_card`` accepts."""
    validate(SynapseCard, tomllib.loads(text), where=f"{source}, as a card", text=text, error=DataError)


def _plain(text: str) -> str:
    """Without what UTF-8 cannot hold."""
    return text.encode("utf-8", "replace").decode()


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
