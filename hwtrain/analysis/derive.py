"""A pulse card from a compact model: one pulse of a given height and width from every conductance.

Models are equations of a state that a voltage moves; solved inside training they would cost a million times
what a table costs, and say the same. So each is solved here, once, from conductances all over the range, and
becomes the law ``cdf-table``. A positive voltage need not mean LTP; ``up`` below is the pulse that raises G.

    vteam               S. Kvatinsky et al., VTEAM, IEEE TCAS-II 62(8):786, 2015
    linear-ion-drift    ions that drift linearly, with Joglekar's window
    data-driven         a data-driven Verilog-A ReRAM model, eprints.soton.ac.uk/411693
    data-driven-2021    its later form, arXiv 2012.02267
    stanford-pku        the Stanford-PKU RRAM model (nano.stanford.edu/stanford-rram-model) without chance

Equations and default parameters are those of MemTorch 1.1.6 (memtorch/bh/memristor). Pulses are not part of a
model; they are the caller's choice.
"""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from hwtrain.errors import ConfigError, nearest

Values = NDArray[np.float64]

_LEAST = 1e-4
"""Smallest step, share of the range, that still counts as a step."""


@dataclass(frozen=True)
class Pulse:
    """One rectangular pulse."""

    v_V: float
    t_s: float


class Model(ABC):
    """A device: its range of conductances in siemens, and what a pulse makes of one."""

    source: str
    up: Pulse
    down: Pulse

    @abstractmethod
    def ends(self) -> tuple[float, float]:
        """(lowest, highest) conductance."""

    @abstractmethod
    def after(self, g: Values, pulse: Pulse) -> Values:
        """The conductances after one pulse, within the ends."""


@dataclass(frozen=True)
class Vteam(Model):
    """dx/dt = k (v/v_th - 1)^alpha beyond a threshold, R = r_on + (r_off - r_on) x/d: R moves evenly."""

    r_off: float = 1000.0
    r_on: float = 50.0
    d: float = 3e-9
    k_on: float = -10.0
    k_off: float = 5e-4
    alpha_on: float = 3.0
    alpha_off: float = 1.0
    v_on: float = -0.2
    v_off: float = 0.02

    source = "S. Kvatinsky et al., VTEAM, IEEE TCAS-II 62(8):786, 2015"
    up = Pulse(-0.21, 2.4e-8)
    down = Pulse(0.03, 1.2e-7)

    def ends(self) -> tuple[float, float]:
        """1/r_off and 1/r_on."""
        return 1 / self.r_off, 1 / self.r_on

    def after(self, g: Values, pulse: Pulse) -> Values:
        """The speed does not depend on x."""
        v, speed = pulse.v_V, 0.0
        if v >= self.v_off:
            speed = self.k_off * (v / self.v_off - 1) ** self.alpha_off
        elif v <= self.v_on:
            speed = self.k_on * (v / self.v_on - 1) ** self.alpha_on
        moved = 1 / g + (self.r_off - self.r_on) * speed * pulse.t_s / self.d
        return np.asarray(1 / moved.clip(self.r_on, self.r_off))


@dataclass(frozen=True)
class LinearIonDrift(Model):
    """dx/dt = u_v r_on / d^2 I (1 - (2x - 1)^(2p)), R = r_on x + r_off (1 - x); none below the thresholds."""

    u_v: float = 1e-14
    d: float = 10e-9
    r_on: float = 100.0
    r_off: float = 16e3
    threshold_V: float = 0.55
    p: float = 1.0
    x_low: float = 0.02
    x_high: float = 0.98

    source = "linear ion drift with the window of Joglekar, as MemTorch has it"
    up = Pulse(1.0, 10e-3)
    down = Pulse(-1.0, 10e-3)

    def ends(self) -> tuple[float, float]:
        """The window stops x at 0 and 1 for ever; the range lies between two x inside."""
        return 1 / float(self._ohm(self.x_low)), 1 / float(self._ohm(self.x_high))

    def after(self, g: Values, pulse: Pulse) -> Values:
        """By Runge and Kutta."""
        if abs(pulse.v_V) < self.threshold_V:
            return g

        def speed(x: Values) -> Values:
            current = pulse.v_V / self._ohm(x)
            window = 1 - np.abs(2 * x - 1) ** (2 * self.p)
            return np.asarray(self.u_v * self.r_on / self.d**2 * current * window)

        x = _solved(speed, (self.r_off - 1 / g) / (self.r_off - self.r_on), pulse.t_s, 0.0, 1.0)
        return (1 / np.asarray(self._ohm(x))).clip(*self.ends())

    def _ohm(self, x: Values | float) -> Values | float:
        return self.r_on * x + self.r_off * (1 - x)


@dataclass(frozen=True)
class DataDriven(Model):
    """V > 0: dR/dt = s (e^(k_p (r - R)) - 1) up to r = r_p0, with s = A_p (e^(t_p V) - 1).

    V < 0: dR/dt = s (e^(k_n (R - r)) - 1) down to r = r_n0 + r_n1 V, with s = A_n (e^(t_n |V|) - 1).
    """

    r_off: float = 17e3
    r_on: float = 1280.0
    A_p: float = 743.47
    A_n: float = -68012.28374
    t_p: float = 6.51
    t_n: float = 0.31645
    k_p: float = 5.11e-4
    k_n: float = 1.17e-3
    r_p0: float = 16719.0
    r_n0: float = 29304.82557
    r_n1: float = 23692.77225

    source = "a data-driven Verilog-A ReRAM model, eprints.soton.ac.uk/411693"
    up = Pulse(-1.2, 1e-3)
    down = Pulse(1.0, 1e-4)

    def ends(self) -> tuple[float, float]:
        """The model's own bounds, where the voltages reach them."""
        return 1 / min(self.r_off, self.r_p0), 1 / max(self.r_on, self.r_n0 + self.r_n1 * self.up.v_V)

    def after(self, g: Values, pulse: Pulse) -> Values:
        """The published solution for a constant voltage."""
        v, r = pulse.v_V, 1 / g
        if v > 0:
            s = self.A_p * (math.exp(self.t_p * v) - 1)
            left = np.exp(-self.k_p * s * pulse.t_s) * np.expm1(self.k_p * (r - self.r_p0))
            moved = np.where(r < self.r_p0, self.r_p0 + np.log1p(left) / self.k_p, r)
        else:
            s, bound = self.A_n * (math.exp(-self.t_n * v) - 1), self.r_n0 + self.r_n1 * v
            left = np.exp(self.k_n * s * pulse.t_s) * np.expm1(-self.k_n * (r - bound))
            moved = np.where(r > bound, bound - np.log1p(left) / self.k_n, r)
        return np.asarray((1 / moved.clip(self.r_on, self.r_off)).clip(*self.ends()))


@dataclass(frozen=True)
class DataDriven2021(Model):
    """dR/dt = s (r - R)^2 towards r = r_0 + r_1 V, with s = A (e^(|V|/t) - 1)."""

    A_p: float = 600.10075
    A_n: float = -34.5988399
    t_p: float = -0.0212028
    t_n: float = -0.05343997
    r_p0: float = 2699.2336
    r_p1: float = -672.930205
    r_n0: float = 649.413746
    r_n1: float = -1474.32358
    r_off: float = 3000.0
    r_on: float = 1600.0

    source = "the data-driven model of arXiv 2012.02267"
    up = Pulse(1.2, 1e-6)
    down = Pulse(-1.2, 1e-5)

    def ends(self) -> tuple[float, float]:
        """What the two voltages reach."""
        high, low = self._bound(self.down.v_V), self._bound(self.up.v_V)
        return 1 / min(self.r_off, high), 1 / max(self.r_on, low)

    def after(self, g: Values, pulse: Pulse) -> Values:
        """1/|R - r| grows evenly."""
        v, r = pulse.v_V, 1 / g
        s = (self.A_p if v > 0 else self.A_n) * (math.exp(abs(v) / (self.t_p if v > 0 else self.t_n)) - 1)
        bound, way = self._bound(v), 1.0 if v > 0 else -1.0  # V > 0 lowers R
        off = (way * (r - bound)).clip(min=0)
        moved = np.where(off > 0, bound + way * off / (1 + abs(s) * pulse.t_s * off), r)
        return np.asarray((1 / moved.clip(self.r_on, self.r_off)).clip(*self.ends()))

    def _bound(self, v: float) -> float:
        return self.r_p0 + self.r_p1 * v if v > 0 else self.r_n0 + self.r_n1 * v


@dataclass(frozen=True)
class StanfordPku(Model):
    """A gap x: dx/dt = -v_0 e^(-q E_a / kT) sinh(gamma a_0 q V / (t_ox kT)), I = I_0 e^(-x/g_0) sinh(V/V_0).

    T = T_0 + |V I| R_th, gamma = gamma_0 - beta (x / nm)^3, 0 where gamma |V| / t_ox < F_min.
    """

    r_off: float = 218586.0
    r_on: float = 542.0
    g_0: float = 0.25e-9
    V_0: float = 0.25
    I_0: float = 1e-3
    read_V: float = 0.1
    T_0: float = 298.0
    R_th: float = 2.1e3
    gamma_0: float = 16.0
    beta: float = 0.8
    t_ox: float = 12e-9
    F_min: float = 1.4e9
    vel_0: float = 10.0
    E_a: float = 0.6
    a_0: float = 0.25e-9

    source = "the Stanford-PKU RRAM model (nano.stanford.edu/stanford-rram-model)"
    up = Pulse(1.15, 5e-9)
    down = Pulse(-1.15, 5e-9)

    def ends(self) -> tuple[float, float]:
        """1/r_off and 1/r_on at the read voltage."""
        return 1 / self.r_off, 1 / self.r_on

    def after(self, g: Values, pulse: Pulse) -> Values:
        """By Runge and Kutta; the temperature follows the current at once."""
        q, k, v = 1.6e-19, 1.3806503e-23, pulse.v_V
        seen = self.I_0 * math.sinh(self.read_V / self.V_0) / self.read_V

        def speed(x: Values) -> Values:
            current = self.I_0 * np.exp(-x / self.g_0) * math.sinh(v / self.V_0)
            kelvin = self.T_0 + np.abs(v * current) * self.R_th
            gamma = self.gamma_0 - self.beta * (x / 1e-9) ** 3
            gamma = np.where(gamma * abs(v) / self.t_ox < self.F_min, 0.0, gamma)
            drive = gamma * self.a_0 / self.t_ox * q * v / k / kelvin
            return np.asarray(-self.vel_0 * np.exp(-q * self.E_a / k / kelvin) * np.sinh(drive))

        low, high = (self.g_0 * math.log(seen / end) for end in self.ends()[::-1])
        x = _solved(speed, self.g_0 * np.log(seen / g), pulse.t_s, low, high)
        return np.asarray((seen * np.exp(-x / self.g_0)).clip(*self.ends()))


MODELS: dict[str, type[Model]] = {
    "vteam": Vteam,
    "linear-ion-drift": LinearIonDrift,
    "data-driven": DataDriven,
    "data-driven-2021": DataDriven2021,
    "stanford-pku": StanfordPku,
}


@dataclass(frozen=True)
class Derived:
    """Steps as shares of the range at conductances that are shares of the range."""

    name: str
    model: Model
    up: Pulse
    down: Pulse
    ends_S: tuple[float, float]
    g: Values
    steps_up: Values
    steps_down: Values


def derive(
    name: str, up: Pulse | None = None, down: Pulse | None = None, points: int = 33, **parameters: float
) -> Derived:
    """One pulse from ``points`` conductances all over the range, equally far apart in ln G.

    Raises ConfigError for a model or parameter that is not there, and for pulses that do not move it.
    """
    if name not in MODELS:
        raise ConfigError(f"no compact model is called {name!r}: {nearest(name, MODELS)}")
    known = [field.name for field in fields(MODELS[name])]  # type: ignore[arg-type]
    for key in parameters:
        if key not in known:
            raise ConfigError(f"{name} has no parameter {key!r}: {nearest(key, known)}")
    if not 3 <= points <= 257:
        raise ConfigError(f"--points {points}: from 3 to 257")
    model = MODELS[name](**parameters)
    pulses = {"up": up or model.up, "down": down or model.down}
    for way, pulse in pulses.items():
        if not (math.isfinite(pulse.v_V) and 0 < pulse.t_s < math.inf):
            raise ConfigError(f"a pulse {way} of {pulse.v_V:g} V and {pulse.t_s:g} s: give a finite one")
    object.__setattr__(model, "up", pulses["up"])
    object.__setattr__(model, "down", pulses["down"])
    with np.errstate(over="ignore", invalid="ignore"):
        low, high = _working_ends(model)
        g = np.geomspace(low, high, points)
        g[0], g[-1] = low, high
        rise = (model.after(g, pulses["up"]) - g) / (high - low)
        fall = (g - model.after(g, pulses["down"])) / (high - low)
    # At its own end a branch has no step left; there the table goes on as it was.
    rise[-1], fall[0] = rise[-2], fall[1]
    for way, steps in (("up", rise), ("down", fall)):
        if not np.isfinite(steps).all() or steps.min() <= 0:
            raise ConfigError(
                f"{name}: a pulse {way} of {pulses[way].v_V:g} V and {pulses[way].t_s:g} s moves it nowhere, "
                "or the wrong way, from a part of its range: change --v-up, --t-up, --v-down or --t-down"
            )
    share = (g - low) / (high - low)
    share[0], share[-1] = 0.0, 1.0
    return Derived(
        name, model, pulses["up"], pulses["down"], (low, high), share, rise.clip(max=1), fall.clip(max=1)
    )


def card_text(found: Derived) -> str:
    """The card of a derived device."""
    low, high = found.ends_S
    pulses = {"v_up_V": found.up.v_V, "t_up_s": found.up.t_s, "v_down_V": found.down.v_V}
    pulses["t_down_s"] = found.down.t_s
    said = (
        f"hwtrain devices derive {found.name}: equations and parameters as MemTorch 1.1.6 has them; pulses, "
        "and so the part of the range in which either still moves it, are our choice"
    )
    lines = [
        "schema = 1",
        'kind = "synapse"',
        "\n[device]",
        f"title = {json.dumps(found.name)}",
        'technology = "compact model of a memristor"',
        "\n[provenance]",
        'kind = "published-parameters"',
        f"citation = {json.dumps(found.model.source + '; parameters: the defaults of MemTorch')}",
        f"location = {json.dumps(said)}",
        'licence = "facts without a data file"',
        "verified = true",
        "\n[range]",
        f"g_min_S = {low:.9g}",
        f"g_max_S = {high:.9g}",
        "\n[response]",
        'law = "cdf-table"',
        *(f"{key} = [\n{_rows(row)}]" for key, row in (("g", found.g), ("up", found.steps_up))),
        f"down = [\n{_rows(found.steps_down)}]",
        "\n[pulse]",
        *(f"{key} = {value:.9g}" for key, value in pulses.items()),
    ]
    return "\n".join(lines) + "\n"


def _rows(values: Values) -> str:
    shown = [f"{value:.6g}" for value in values]
    return "".join(f"    {', '.join(shown[at : at + 8])},\n" for at in range(0, len(shown), 8))


def _working_ends(model: Model) -> tuple[float, float]:
    """Where a pulse still takes a step of ``_LEAST`` of the range: outside, a table would never arrive."""
    low, high = model.ends()
    if not 0 < low < high:
        raise ConfigError(f"{model.source}: these pulses leave it no range: change their voltages")
    g = np.geomspace(low, high, 4001)
    up, down = model.after(g, model.up) - g, g - model.after(g, model.down)
    moves_up, moves_down = g[up > _LEAST * (high - low)], g[down > _LEAST * (high - low)]
    if len(moves_up) == 0 or len(moves_down) == 0:
        return low, high  # the caller says which pulse does nothing
    return max(low, float(moves_down[0])), min(high, float(moves_up[-1]))


def _solved(speed: Callable[[Values], Values], x: Values, time_s: float, low: float, high: float) -> Values:
    """dx/dt = speed(x) from x, in 400 steps of Runge and Kutta, kept within the ends."""
    h = time_s / 400
    for _ in range(400):
        a = speed(x)
        b = speed((x + h / 2 * a).clip(low, high))
        c = speed((x + h / 2 * b).clip(low, high))
        d = speed((x + h * c).clip(low, high))
        x = (x + h / 6 * (a + 2 * b + 2 * c + d)).clip(low, high)
    return x
