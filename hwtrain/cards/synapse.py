"""Cards of electronic synapses: a conductance between two ends, moved by pulses."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from hwtrain.cards.base import Fraction, Identity, Provenance, chosen, key, known
from hwtrain.cards.instrument import Instrument
from hwtrain.errors import CardError
from hwtrain.strict_toml import Strict

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Values = NDArray[np.float64]


def _cell(name: str) -> str:
    return known("cells", name)


class Range(Strict):
    """Between which conductances the device moves."""

    g_min_S: float = key("lowest conductance", "mean of the fully depressed state", gt=0)
    g_max_S: float = key("highest conductance", "mean of the fully potentiated state", gt=0)
    stand_in: Literal["scale", "ends", "low"] | None = key(
        "what the source does not give: the absolute scale, both ends, or the low end, which then only stand "
        "in; no training result depends on it, on/off ratio and energy do and are unknown",
        "measure the ends",
        default=None,
    )
    g_min_dtod: Fraction = key(
        "sd of the lower end from device to device, share of the range",
        "sd over >= 20 devices",
        default=0.0,
    )
    g_max_dtod: Fraction = key(
        "sd of the upper end from device to device, share of the range",
        "sd over >= 20 devices",
        default=0.0,
    )

    up_from: Fraction = key(
        "where LTP begins, share of the range: a cell below jumps there with its first LTP pulse; steps, "
        "levels and label of LTP are then those between there and g_max",
        "first LTP pulse after full depression",
        default=0.0,
        lt=0.9,
    )
    down_from: Fraction = key(
        "where LTD begins, share of the range: a cell above drops there with its first LTD pulse; steps, "
        "levels and label of LTD are then those between there and g_min",
        "first LTD pulse after full potentiation",
        default=1.0,
        gt=0.1,
    )

    @property
    def on_off(self) -> float | None:
        """g_max / g_min; None where an end stands in."""
        return None if self.stand_in in ("ends", "low") else self.g_max_S / self.g_min_S

    @property
    def middle_S(self) -> float | None:
        """The conductance at mid-range; None where the scale stands in."""
        return (self.g_min_S + self.g_max_S) / 2 if self.stand_in is None else None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.g_min_S >= self.g_max_S:
            raise ValueError(
                f"g_min_S = {self.g_min_S:g} is not below g_max_S = {self.g_max_S:g}: exchange them"
            )
        return self


class Variation(Strict):
    """How pulses and devices scatter, in either published convention."""

    c2c_rel_range: Fraction = key(
        "sd added by one pulse, share of the range; n pulses add sqrt(n) times that (NeuroSim)",
        "residual sd of a measured response about its fit",
        default=0.0,
    )
    c2c_rel_step: float = key(
        "sd of one pulse, share of the mid-range step (aihwkit's dw_min_std)",
        "sd of the step at mid-range over its mean",
        default=0.0,
        ge=0,
    )
    c2c_kind: Literal["add", "mult"] = key(
        "whether c2c_rel_step scatters the mid-range step (add) or the step taken there (mult)",
        "compare the scatter at both ends of the range",
        default="add",
    )
    step_dtod: Fraction = key(
        "sd of the step from device to device, share of the step; for lognormal, sd of its logarithm",
        "sd of the mean step over >= 20 devices",
        default=0.0,
    )
    step_dist: Literal["normal", "lognormal"] = key(
        "distribution of step_dtod", "histogram over devices", default="normal"
    )
    bias_dtod: Fraction = key(
        "sd of the up-down imbalance; it shrinks the weaker direction only (aihwkit's up_down_dtod)",
        "sd of 1 - step_down/step_up over devices",
        default=0.0,
    )
    label_dtod: float = key(
        "sd of the nonlinearity label from device to device, in labels (NeuroSim)",
        "fit a label for each of >= 20 devices",
        default=0.0,
        ge=0,
        le=5,
    )


class Read(Strict):
    """What a read adds; a converter that is left out is ideal."""

    noise_rel: Fraction = key(
        "sd of one read, share of the conductance", "read one state 1000 times", default=0.0
    )
    v_read_V: float | None = key("read voltage for a full-scale input", "set it", default=None, gt=0)
    t_read_s: float | None = key("time for which that voltage is applied", "set it", default=None, gt=0)
    line_ohm: float = key(
        "resistance of a line from one cell to the next; what it costs a read is taken to first order",
        "resistance of a line over the cells on it",
        default=0.0,
        ge=0,
    )
    lines: int | None = key(
        "most lines of an array in either direction; what is larger is cut into tiles, whose digital outputs "
        "are added",
        "know it",
        default=None,
        ge=2,
    )
    dac_bits: int | None = key("bits of the input converter", "set it", default=None, ge=2, le=16)
    adc_bits: int | None = key("bits of the output converter", "set it", default=None, ge=2, le=16)
    adc_range_cells: float = key(
        "full scale of the output converter in currents of one fully switched cell",
        "set it",
        default=12.0,
        gt=0,
    )
    adc_range_share: float | None = key(
        "full scale as a share of what all lines of an array give at the largest weight, instead of "
        "adc_range_cells; NeuroSim has 1",
        "set it",
        default=None,
        gt=0,
    )
    adc_range_A: float | None = key(
        "full scale as a fixed current, instead of adc_range_cells; needs v_read_V",
        "set it",
        default=None,
        gt=0,
    )

    @model_validator(mode="after")
    def _range_needs_voltage(self) -> Self:
        if self.adc_range_A is not None and self.v_read_V is None:
            raise ValueError("adc_range_A is a current and needs v_read_V: add v_read_V")
        ranges = sorted(self.model_fields_set & {"adc_range_cells", "adc_range_share", "adc_range_A"})
        if len(ranges) > 1:
            raise ValueError(f"{' and '.join(ranges)} are both a full scale: leave one out")
        return self


class Faults(Strict):
    """Shares of cells that never move."""

    stuck_on: Fraction = key("share of cells stuck at g_max", "count them", default=0.0)
    stuck_off: Fraction = key("share of cells stuck at g_min", "count them", default=0.0)
    stuck_random: Fraction = key("share of cells stuck anywhere", "count them", default=0.0)

    @model_validator(mode="after")
    def _shares(self) -> Self:
        total = self.stuck_on + self.stuck_off + self.stuck_random
        if total > 1:
            raise ValueError(f"the stuck shares add up to {total:g}, which is more than all cells")
        return self


class Pulse(Strict):
    """What a programming pulse costs; a device without these numbers has no energy or time."""

    v_up_V: float | None = key("amplitude of an LTP pulse", "set it", default=None)
    t_up_s: float | None = key("width of an LTP pulse", "set it", default=None, gt=0)
    v_down_V: float | None = key("amplitude of an LTD pulse", "set it", default=None)
    t_down_s: float | None = key("width of an LTD pulse", "set it", default=None, gt=0)
    energy_J: float | None = key(
        "energy of one pulse, where it was measured; else it is V^2 G t at mid-range",
        "integrate V I over the pulse",
        default=None,
        gt=0,
    )
    gate_F: float | None = key(
        "capacitance that a pulse charges, of a device that is written through a gate: it costs V^2 C then",
        "measure it",
        default=None,
        gt=0,
    )
    v_up_step_V: float = key(
        "growth of the amplitude from one LTP pulse of the branch to the next; the state of a cell is read "
        "before it is written, and says which pulse is due",
        "set it",
        default=0.0,
    )
    v_down_step_V: float = key("the same for LTD", "set it", default=0.0)
    endurance: float | None = key(
        "pulses that a cell survives: one that has taken so many stays where it is",
        "cycle to failure",
        default=None,
        ge=1,
    )

    @property
    def incremental(self) -> bool:
        """Whether pulses grow along a branch, so that states must be known."""
        return self.v_up_step_V != 0 or self.v_down_step_V != 0


class Periphery(Strict):
    """What the circuits around an array cost. A part that is left out is unknown, and so is every sum with
    it."""

    source: str = key("where these constants come from", "read it", min_length=1)
    slots: int = key("read pulses that one input takes, bit after bit", "know it", default=1, ge=1, le=16)
    dac_J: float | None = key("energy of driving one line for one slot", "read it", default=None, ge=0)
    dac_m2: float | None = key("area of a line's driver", "read it", default=None, ge=0)
    adc_J: float | None = key("energy of one conversion", "read it", default=None, ge=0)
    adc_s: float | None = key("time of one conversion", "read it", default=None, ge=0)
    adc_m2: float | None = key("area of a converter", "read it", default=None, ge=0)
    adc_shared_by: int = key("lines that take turns at one converter", "know it", default=1, ge=1)
    line_F: float | None = key(
        "capacitance of a line from one cell to the next", "length of a cell times capacitance a length",
        default=None, ge=0,
    )  # fmt: skip
    cell_m2: float | None = key("area of a cell", "read it", default=None, gt=0)


class Ageing(Strict):
    """What time does to conductances while a net learns. Both parts are on for every training step."""

    lifetime_steps: float | None = key(
        "training steps after which a conductance has come 1/e of the way to ``rest``",
        "watch it leak", default=None, gt=1,
    )  # fmt: skip
    lifetime_dtod: Fraction = key(
        "sd of the lifetime from device to device, share", "sd over cells", default=0.0
    )
    rest: Fraction = key("where it leaks to, share of the range", "wait", default=0.5)
    step_s: float | None = key(
        "time from one training step to the next; conductances drift by the exponents of [retention] from "
        "their last pulse on",
        "know it",
        default=None,
        gt=0,
    )


Ends = tuple[float, float]
Bend = Annotated[list[float], Field(min_length=2)]


class Retention(Strict):
    """What becomes of a conductance after it was written, for ``hwtrain deploy``; g is G / g_max."""

    write_sd: list[float] = key(
        "sd of a written conductance, share of g_max: coefficients of 1, g, g^2 ...",
        "write levels by write-verify and fit the scatter",
        min_length=1,
    )
    t0_s: float = key("time after writing of the first read", "note it", gt=0)
    drift: float = key("mean drift exponent at g = 1", "fit ln G against ln t", default=0.0)
    drift_ln: float = key("change of the mean exponent with ln g", "fit it over levels", default=0.0)
    drift_ends: Ends = key("smallest and largest mean exponent", "read the fit", default=(0.0, 1.0))
    drift_sd: float = key("sd of the exponent between cells at g = 1", "sd over cells", default=0.0)
    drift_sd_ln: float = key("change of that sd with ln g", "fit it over levels", default=0.0)
    drift_sd_ends: Ends = key("smallest and largest sd of the exponent", "read it", default=(0.0, 1.0))
    flicker: float = key("1/f noise at g = 1, share of G", "fit read noise over time", default=0.0)
    flicker_power: float = key("power of g by which flicker falls", "fit it over levels", default=0.0, ge=0)
    flicker_ln: float = key("change of flicker with ln g", "fit it over levels", default=0.0)
    flicker_least: float = key("smallest flicker, share of G", "read the fit", default=0.0, ge=0)
    flicker_most: float = key("largest flicker, share of G", "read the fit", default=1.0, gt=0)
    drift_high: Bend | None = key(
        "[g, c0, c1 ...]: from this g on the mean exponent is c0 + c1 g + ...", "fit it", default=None
    )
    drift_sd_high: Bend | None = key("the same of the sd of the exponent", "fit it", default=None)
    flicker_high: Bend | None = key("the same of flicker", "fit it", default=None)
    t_read_s: float = key("time that one read takes", "set it", default=250e-9, gt=0)

    def exponents(self, g: Values) -> tuple[Values, Values]:
        """Mean and sd of the drift exponent at g = G / g_max > 0."""
        import numpy as np

        log = np.log(g)
        mean = (self.drift + self.drift_ln * log).clip(*self.drift_ends)
        sd = (self.drift_sd + self.drift_sd_ln * log).clip(*self.drift_sd_ends)
        return _from_there(g, mean, self.drift_high), _from_there(g, sd, self.drift_sd_high)

    def flickers(self, g: Values) -> Values:
        """1/f noise at g, share of G."""
        import numpy as np

        falling = self.flicker / np.maximum(g**self.flicker_power, 1e-3)
        low = falling + self.flicker_ln * np.log(np.maximum(g, 1e-7))
        return _from_there(g, low.clip(self.flicker_least, self.flicker_most), self.flicker_high)


def _from_there(g: Values, low: Values, high: list[float] | None) -> Values:
    """``low``, but from g = high[0] on the polynomial high[1] + high[2] g + ..."""
    import numpy as np

    if high is None:
        return low
    found: Values = np.where(g < high[0], low, np.polyval(high[:0:-1], g))
    return found


class Relaxation(Strict):
    """The same where the source gives no law but figures at some times: straight lines between them in g and
    in ln(1 s + t). g is G / g_max, and so are ``shift`` and the standard deviations."""

    times_s: list[float] = key(
        "times after writing; nothing is known of later ones, earlier ones are like the first",
        "note them",
        min_length=1,
    )
    g: list[float] = key("conductances, from 0 on", "choose levels", min_length=2)
    sd: list[list[float]] = key("sd about the mean: by time, at each g", "sd over cells")
    shift: list[list[float]] = key(
        "how far the mean has moved: by time, at each g", "mean over cells", default=[]
    )
    read_sd: list[float] = key("sd of one read at each g", "read again and again", default=[])

    @model_validator(mode="after")
    def _rows(self) -> Self:
        if sorted(set(self.times_s)) != self.times_s or sorted(set(self.g)) != self.g or self.g[0] != 0:
            raise ValueError("times_s and g must rise, g from 0 on: sort them")
        for name, rows in (("sd", self.sd), ("shift", self.shift or self.sd)):
            if len(rows) != len(self.times_s) or any(len(row) != len(self.g) for row in rows):
                raise ValueError(f"{name} needs a row for each of times_s, with a figure for each of g")
        if self.read_sd and len(self.read_sd) != len(self.g):
            raise ValueError("read_sd needs a figure for each of g")
        return self


class CellChoice(Strict):
    """The cell that suits the device; ``--cell`` and ``--refresh`` override it."""

    kind: Annotated[str, AfterValidator(_cell)] = key(
        "how conductances make a weight", "choose it", default="unidirectional-ltp"
    )
    refresh: Literal["threshold", "periodic", "full-init", "none"] = key(
        "when a unidirectional pair is reset and rewritten", "choose it", default="threshold"
    )


class Expect(Strict):
    """Published figures; ``devices check`` holds on/off ratio and on-resistance against the card
    and its simulated response."""

    on_off: float | None = key("published on/off ratio", "read it", default=None, gt=1)
    r_on_ohm: float | None = key("published on-resistance", "read it", default=None, gt=0)
    accuracy: Fraction | None = key(
        "published accuracy of online learning on NeuroSim's 400-100-10 task",
        "read it",
        default=None,
    )


class SynapseCard(Strict):
    """An electronic synapse: conductance between two ends, moved by identical pulses."""

    schema_: Literal[1] = Field(alias="schema", description="version of the card format")
    kind: Literal["synapse"] = Field(description="what the card describes")
    device: Identity
    provenance: Provenance
    range: Range
    response: dict[str, Any] = Field(
        {},
        description="the conductance law and its parameters; none where only writing and reading are known",
    )
    variation: Variation = Variation()
    read: Read = Read()
    faults: Faults = Faults()
    pulse: Pulse = Pulse()
    retention: Retention | None = key(
        "what time does to a written conductance", "write levels and read them again and again", default=None
    )
    relaxation: Relaxation | None = key(
        "the same, as figures at some times", "write levels and read them again and again", default=None
    )
    ageing: Ageing | None = key("what time does while a net learns", "watch conductances", default=None)
    periphery: Periphery | None = key(
        "what the circuits around an array cost", "read data sheets", default=None
    )
    uncertainty: dict[str, float] = key(
        "half widths of the 95 % intervals of fitted numbers, by key, such as response.label_up",
        "hwtrain devices fit writes them",
        default={},
    )
    cell: CellChoice = CellChoice()
    instrument: Instrument | None = key(
        "an array in the laboratory: it is read and pulsed in place of emulated cells (docs/physical.md)",
        "write it",
        default=None,
    )
    expect: Expect = Expect()

    @model_validator(mode="after")
    def _real_ends(self) -> Self:
        if self.range.stand_in == "ends" and self.read.noise_rel > 0:
            raise ValueError(
                "read.noise_rel depends on the on/off ratio, but the ends stand in: measure them"
            )
        return self

    @model_validator(mode="after")
    def _needs(self) -> Self:
        """Parts of the card that say nothing without another part."""
        if not self.response and self.retention is None and self.relaxation is None:
            raise ValueError(
                "response is missing: say how pulses move the conductance, or what time does to it"
            )
        if self.retention is not None and self.relaxation is not None:
            raise ValueError("retention and relaxation are two sources of one thing: remove one")
        if self.ageing is not None and self.ageing.step_s is not None and self.retention is None:
            raise ValueError("ageing.step_s needs the drift exponents of [retention]: add it")
        if self.range.stand_in is not None and self.read.line_ohm > 0:
            raise ValueError("read.line_ohm needs true conductances, but they stand in: measure the ends")
        for way in ("up", "down"):
            if getattr(self.pulse, f"v_{way}_step_V") != 0:
                if self.response.get(f"levels_{way}") is None:
                    raise ValueError(
                        f"pulse.v_{way}_step_V needs response.levels_{way}: a branch of so many pulses"
                    )
                if getattr(self.pulse, f"v_{way}_V") is None:
                    raise ValueError(f"pulse.v_{way}_step_V needs pulse.v_{way}_V, the first amplitude")
        return self

    @model_validator(mode="after")
    def _uncertain(self) -> Self:
        for name, half in self.uncertainty.items():
            table, _, field = name.partition(".")
            found = getattr(self, table, None)
            value = found.get(field) if isinstance(found, dict) else getattr(found, field, None)
            if not isinstance(value, int | float) or isinstance(value, bool):
                raise ValueError(f"uncertainty.{name!r} names no number of this card: write table.key")
            if not 0 <= half < math.inf:
                raise ValueError(f"uncertainty.{name!r} = {half:g}: a half width is 0 or more")
        return self

    @model_validator(mode="after")
    def _law(self) -> Self:
        if not self.response:
            return self
        if self.variation.label_dtod > 0 and not self.law().labelled:
            raise ValueError(
                f"variation.label_dtod shifts a label, which the law {self.response['law']} is not "
                "given here: use label_up and label_down of the law affine, or remove label_dtod"
            )
        if self.law().draws and self.variation.c2c_rel_step > 0:
            raise ValueError(
                "variation.c2c_rel_step scatters steps that the quantiles of response draw already: "
                "leave it out"
            )
        return self

    def pulse_energy_J(self, way: Literal["up", "down"]) -> float | None:
        """Energy of one pulse: the card's own figure, else V^2 C of a gate, else V^2 G t at mid-range.

        Where the amplitude grows, V^2 is its mean over the pulses of the branch. None if not known.
        """
        pulse = self.pulse
        if pulse.energy_J is not None:
            return pulse.energy_J
        up = way == "up"
        volt, second = (pulse.v_up_V, pulse.t_up_s) if up else (pulse.v_down_V, pulse.t_down_s)
        if volt is None:
            return None
        growth, square = pulse.v_up_step_V if up else pulse.v_down_step_V, volt**2
        if growth != 0:
            levels = int(self.response[f"levels_{way}"])
            square = sum((volt + growth * number) ** 2 for number in range(levels)) / levels
        if pulse.gate_F is not None:
            return square * pulse.gate_F
        if second is None or self.range.middle_S is None:
            return None
        return square * self.range.middle_S * second

    def law(self) -> Any:
        """The conductance law with this card's parameters; CardError where pulses are not known."""
        if not self.response:
            raise CardError(
                f"{self.device.title}: the card knows writing and reading alone, no pulses: "
                "use it with hwtrain deploy"
            )
        law, params = chosen("laws", "response", "law", self.response)
        return law(params)


def without_scatter(card: SynapseCard) -> SynapseCard:
    """The typical device: no scatter from pulse to pulse or device to device, no stuck cell."""
    ends = card.range.model_copy(update={"g_min_dtod": 0.0, "g_max_dtod": 0.0})
    return card.model_copy(update={"range": ends, "variation": Variation(), "faults": Faults()})


def check_expectations(name: str, card: Strict) -> None:
    """Hold a card to the published figures it carries; CardError for one that is off by over 2 %."""
    if not isinstance(card, SynapseCard):
        return
    found = {
        "on_off": card.range.g_max_S / card.range.g_min_S,
        "r_on_ohm": 1 / card.range.g_max_S,
    }
    for key_, value in found.items():
        published = getattr(card.expect, key_)
        if published is not None and abs(value / published - 1) > 0.02:
            raise CardError(
                f"{name}: range gives {key_} = {value:.4g} and expect.{key_} is {published:.4g}: "
                "one of them is mistyped"
            )
