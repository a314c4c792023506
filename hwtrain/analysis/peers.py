"""A card as the files that a peer reads, and what of it the peer cannot express.

``aihwkit``    a Python file with a device of its configuration;
``neurosim``   the lines of C++ that fill MLP+NeuroSim's RealDevice;
``crosssim``   its two lookup tables, LTP and LTD.

Names and meanings are those of aihwkit 1.2, MLP+NeuroSim V3.0 and CrossSim V2.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import torch
from numpy.typing import NDArray

from hwtrain.analysis.compare import Way, facts, synapse
from hwtrain.cards import SynapseCard, card_id
from hwtrain.errors import ConfigError, nearest

_NODES = 32
"""Steps of a piecewise device."""
_BINS, _QUANTILES = 48, 65
"""Conductances and points of the distribution of a lookup table."""
_DRAWN = "the distribution of steps: a normal of the same mean variance everywhere"


@dataclass(frozen=True)
class Exported:
    """Text by file name; ``missing``: what the peer will not do as the card says."""

    files: dict[str, str]
    missing: list[str]


def export_card(name: str, peer: str) -> Exported:
    """The card for a peer; ConfigError for one that is not known."""
    found = synapse(name)
    if peer not in PEERS:
        raise ConfigError(f"--to {peer}: {nearest(peer, PEERS)}")
    return PEERS[peer](name, found)


def steps(found: SynapseCard, way: Way, nodes: int) -> NDArray[np.float64]:
    """The step of the typical device at conductances from g_min to g_max, as a share of the range."""
    law = found.law()
    g = torch.linspace(0, 1, nodes, dtype=torch.float64)
    travel = g if way == "up" else 1 - g
    moved = law.advance(travel, torch.ones(nodes, dtype=torch.long), law.typical(way)) - travel
    size: NDArray[np.float64] = moved.clamp(min=0).numpy()
    return size


def _aihwkit(name: str, found: SynapseCard) -> Exported:
    """Weights run from -1 to 1, so every share of the range counts twice."""
    law, spread, p = str(found.response["law"]), found.variation, found.law().params
    missing = _unsaid(found, "aihwkit")
    up, down = steps(found, "up", _NODES), steps(found, "down", _NODES)
    middle = {"up": _middle(found, "up"), "down": _middle(found, "down")}
    values: dict[str, object] = {}
    scale = 2.0
    if law == "linear":
        kind = "ConstantStepDevice"
    elif law == "affine" and min(found.law().nominal(way)[1] for way in ("up", "down")) >= 0:
        kind = "LinearStepDevice"
        for way in ("up", "down"):
            bend = found.law().nominal(way)[1]
            values[f"gamma_{way}"] = bend / (2 - bend)
            values[f"gamma_{way}_dtod"] = 0.0
        values["mult_noise"] = spread.c2c_kind == "mult"
    elif law == "exp-step" and p.amp_down is not None:
        kind = "ExpStepDevice"
        values |= {"A_up": p.amp_up, "A_down": p.amp_down, "gamma_up": p.gamma_up, "gamma_down": p.gamma_down}
        values |= {"a": p.a, "b": p.b}
        scale = p.w_max - p.w_min
        middle = {
            "up": p.dw_min * (1 + min(p.up_down, 0)) / scale,
            "down": p.dw_min * (1 - max(p.up_down, 0)) / scale,
        }
    else:
        kind = "PiecewiseStepDevice"
        values["piecewise_up"] = [float(f"{step / middle['up']:.6g}") for step in up]
        values["piecewise_down"] = [float(f"{step / middle['down']:.6g}") for step in down]
        if law != "piecewise":
            missing.append(f"the law {law}: its steps at {_NODES} conductances, lines between them")
    largest = max(middle.values())
    top = p.w_max if kind == "ExpStepDevice" else 1.0
    bottom = p.w_min if kind == "ExpStepDevice" else -1.0
    values |= {
        "dw_min": scale * largest,
        "up_down": (middle["up"] - middle["down"]) / largest,
        "w_max": top,
        "w_min": bottom,
        "w_max_dtod": scale * found.range.g_max_dtod / abs(top) if top else 0.0,
        "w_min_dtod": scale * found.range.g_min_dtod / abs(bottom) if bottom else 0.0,
        "dw_min_dtod": spread.step_dtod,
        "dw_min_dtod_log_normal": spread.step_dist == "lognormal",
        "up_down_dtod": spread.bias_dtod,
        "dw_min_std": math.hypot(
            spread.c2c_rel_step, spread.c2c_rel_range / largest, found.law().spread / largest
        ),
        "corrupt_devices_prob": found.faults.stuck_random,
    }
    if kind != "LinearStepDevice" and spread.c2c_rel_step > 0 and spread.c2c_kind == "mult":
        missing.append("scatter in proportion to the step taken: that of the middle step everywhere")
    if found.law().draws:
        missing.append(_DRAWN)
    if spread.label_dtod > 0:
        missing.append("the spread of labels")
    if found.faults.stuck_on > 0 or found.faults.stuck_off > 0:
        missing.append("cells stuck at an end: stuck_random alone has a counterpart")
    lines = [
        f'"""{found.device.title}, from the hwtrain card {card_id(name)}: {found.provenance.citation}"""',
        "",
        f"from aihwkit.simulator.configs.devices import {kind}",
        "",
        f"device = {kind}(",
        *(f"    {key}={value!r}," for key, value in values.items()),
        ")",
        "",
    ]
    return Exported({f"{card_id(name).replace('-', '_')}.py": "\n".join(lines)}, missing)


def _neurosim(name: str, found: SynapseCard) -> Exported:
    """It knows levels and labels alone; another law is given by the label of its curve."""
    said, law = facts(name), str(found.response["law"])
    if None in (said.levels_up, said.levels_down, said.label_up, said.label_down):
        raise ConfigError(
            f"{name}: a branch of it never crosses the whole range, and NeuroSim needs its levels: "
            "export to aihwkit or crosssim"
        )
    missing = _unsaid(found, "neurosim")
    if law not in ("linear", "affine"):
        missing.append(f"the law {law}: an exponential curve of the same label and number of pulses")
    if found.range.stand_in:
        missing.append("the ends, which this card does not know: they stand in, and energy depends on them")
    spread, middle = found.variation, (_middle(found, "up") + _middle(found, "down")) / 2
    if spread.c2c_rel_step > 0:
        missing.append("scatter in proportion to a step: given as a share of the range, at mid-range")
    if found.law().draws:
        missing.append(_DRAWN)
    if spread.step_dtod > 0 or spread.bias_dtod > 0:
        missing.append("the spread of steps from device to device: labels alone spread there")
    pulse, span = found.pulse, found.range.g_max_S - found.range.g_min_S
    c2c = math.hypot(spread.c2c_rel_range, spread.c2c_rel_step * middle, found.law().spread)
    values: dict[str, object] = {
        "maxConductance": found.range.g_max_S,
        "minConductance": found.range.g_min_S,
        "maxNumLevelLTP": said.levels_up,
        "maxNumLevelLTD": said.levels_down,
        "NL_LTP": said.label_up,
        "NL_LTD": said.label_down,
        "sigmaDtoD": spread.label_dtod,
        "sigmaCtoC": f"{c2c!r} * (maxConductance - minConductance)",
        "nonlinearWrite": "true",
        "readNoise": "true" if found.read.noise_rel > 0 else "false",
        "sigmaReadNoise": found.read.noise_rel,
        "conductanceRangeVar": "true" if found.range.g_max_dtod + found.range.g_min_dtod > 0 else "false",
        "maxConductanceVar": found.range.g_max_dtod * span,
        "minConductanceVar": found.range.g_min_dtod * span,
        "writeVoltageLTP": pulse.v_up_V,
        "writeVoltageLTD": pulse.v_down_V,
        "writePulseWidthLTP": pulse.t_up_s,
        "writePulseWidthLTD": pulse.t_down_s,
        "readVoltage": found.read.v_read_V,
    }
    unknown = [key for key, value in values.items() if value is None]
    if unknown:
        missing.append(f"{', '.join(unknown)}: this card does not say, NeuroSim's own values stay")
    lines = [
        f"// {found.device.title}, from the hwtrain card {card_id(name)}: {found.provenance.citation}",
        "// For the constructor of RealDevice in Cell.cpp, in place of the lines of the same names.",
        *(f"{key} = {value};" for key, value in values.items() if value is not None),
        "",
    ]
    return Exported({f"{card_id(name)}.cpp": "\n".join(lines)}, missing)


def _crosssim(name: str, found: SynapseCard) -> Exported:
    """Steps in siemens; their distribution is normal, as the card's scatter is."""
    missing = _unsaid(found, "crosssim")
    if found.range.stand_in:
        missing.append("the ends, which this card does not know: they stand in")
    spread, span = found.variation, found.range.g_max_S - found.range.g_min_S
    if max(spread.step_dtod, spread.bias_dtod, spread.label_dtod, found.range.g_min_dtod) > 0 or (
        found.range.g_max_dtod > 0
    ):
        missing.append("spread from device to device: one table is one device")
    if found.faults != type(found.faults)():
        missing.append("stuck cells")
    if found.law().draws:
        if spread.c2c_rel_range > 0:
            missing.append("variation.c2c_rel_range on top of the table's own scatter")
        return Exported(_own_tables(name, found), missing)
    g = np.linspace(found.range.g_min_S, found.range.g_max_S, _BINS)
    p = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
    normal = np.array([NormalDist().inv_cdf(share) for share in p])
    normal /= np.sqrt(np.trapezoid(normal**2, p) / (p[-1] - p[0]))  # what is cut off is given back
    files = {}
    for way, sign, title in (("up", 1, "increasing"), ("down", -1, "decreasing")):
        size = steps(found, way, _BINS)  # type: ignore[arg-type]
        of_step = size if spread.c2c_kind == "mult" else _middle(found, way)  # type: ignore[arg-type]
        deviation = np.hypot(spread.c2c_rel_range, spread.c2c_rel_step * of_step)
        table = span * (sign * size + normal[:, None] * deviation)
        files[f"dG_{title}.txt"] = _lookup(name, found, title, [g, p, *table])
    return Exported(files, missing)


def _own_tables(name: str, found: SynapseCard) -> dict[str, str]:
    """The quantiles of the card itself; what falls has the highest step at the lowest p."""
    params, low = found.law().params, found.range.g_min_S
    span = found.range.g_max_S - low
    g, p = low + span * np.array(params.g), np.array(params.p)
    rising, falling = span * np.array(params.up_quantiles), -span * np.array(params.down_quantiles)[::-1]
    return {
        "dG_increasing.txt": _lookup(name, found, "increasing", [g, p, *rising]),
        "dG_decreasing.txt": _lookup(name, found, "decreasing", [g, 1 - p[::-1], *falling]),
    }


def _lookup(name: str, found: SynapseCard, title: str, rows: list[NDArray[np.float64]]) -> str:
    head = f"# {found.device.title}, {title}; hwtrain card {card_id(name)}; siemens"
    return "\n".join([head, *(" ".join(repr(float(value)) for value in row) for row in rows), ""])


PEERS: dict[str, Callable[[str, SynapseCard], Exported]] = {
    "aihwkit": _aihwkit,
    "neurosim": _neurosim,
    "crosssim": _crosssim,
}


def _middle(found: SynapseCard, way: Way) -> float:
    law = found.law()
    return float(law.middle_step(law.typical(way)))


def _unsaid(found: SynapseCard, peer: str) -> list[str]:
    """What no device of this peer holds: it is said elsewhere there, or nowhere."""
    missing = []
    if peer != "neurosim" and found.read.noise_rel > 0:
        missing.append("read.noise_rel: a matter of the peer's periphery, not of its device")
    if found.read.dac_bits is not None or found.read.adc_bits is not None:
        missing.append("read.dac_bits and adc_bits: set the peer's converters")
    for name, given in (
        ("read.line_ohm", found.read.line_ohm > 0),
        ("read.lines", found.read.lines is not None),
        ("ageing", found.ageing is not None),
        ("retention", found.retention is not None),
        ("range.up_from and down_from", (found.range.up_from, found.range.down_from) != (0, 1)),
        ("pulses that grow", found.pulse.incremental),
    ):
        if given:
            missing.append(name)
    if peer != "neurosim":
        if found.pulse != type(found.pulse)():
            missing.append("pulse: amplitudes, widths, energy and endurance")
    elif found.pulse.endurance is not None or found.pulse.energy_J is not None:
        missing.append("pulse.energy_J and endurance")
    if peer == "aihwkit":
        missing.append("g_min_S and g_max_S: its weights have no unit")
    missing.append(f"cell.kind {found.cell.kind}: choose the peer's unit cell")
    return missing
