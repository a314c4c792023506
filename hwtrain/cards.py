"""Device cards: a TOML file that describes a device, strictly read.

A card says ``schema = 1`` and its ``kind``; every key carries its unit in its name, its meaning and
how one measures it (``hwtrain devices show CARD`` prints them). What a card leaves out is unknown
or ideal as its meaning says; nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from hwtrain.arith.fixed import Numbers, Rounding
from hwtrain.errors import CardError, UnknownNameError, nearest
from hwtrain.registry import lookup, names, unknown
from hwtrain.shipped import shipped
from hwtrain.strict_toml import Strict, explain, read_toml, validate

SCHEMA = 1


def _fraction(value: float) -> float:
    if not 0 <= value <= 1:
        hint = f": write {value / 100:g} for {value:g} %" if 1 < value <= 100 else ""
        raise ValueError(f"must be a fraction between 0 and 1{hint}")
    return value


Fraction = Annotated[float, AfterValidator(_fraction)]


def _known(kind: str, name: str) -> str:
    if name not in names(kind):
        raise ValueError(unknown(kind, name))
    return name


def _cell(name: str) -> str:
    return _known("cells", name)


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


class Range(Strict):
    """Between which conductances the device moves."""

    g_min_S: float = key("lowest conductance", "mean of the fully depressed state", gt=0)
    g_max_S: float = key("highest conductance", "mean of the fully potentiated state", gt=0)
    stand_in: Literal["scale", "ends"] | None = key(
        "what the source does not give: the absolute scale, or both ends, which then only stand in; no "
        "training result depends on it, on/off ratio and energy do and are unknown",
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

    @property
    def on_off(self) -> float | None:
        """g_max / g_min; None where the ends stand in."""
        return None if self.stand_in == "ends" else self.g_max_S / self.g_min_S

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
    dac_bits: int | None = key("bits of the input converter", "set it", default=None, ge=2, le=16)
    adc_bits: int | None = key("bits of the output converter", "set it", default=None, ge=2, le=16)
    adc_range_cells: float = key(
        "full scale of the output converter in currents of one fully switched cell",
        "set it",
        default=12.0,
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
    endurance: float | None = key(
        "pulses that a cell survives: one that has taken so many stays where it is",
        "cycle to failure",
        default=None,
        ge=1,
    )


Ends = tuple[float, float]


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
    flicker: float = key("1/f noise at g = 1, share of G", "fit read noise over time", default=0.0, ge=0)
    flicker_power: float = key("power of g by which flicker falls", "fit it over levels", default=0.0, ge=0)
    flicker_most: float = key("largest flicker, share of G", "read the fit", default=1.0, gt=0)
    t_read_s: float = key("time that one read takes", "set it", default=250e-9, gt=0)


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
    response: dict[str, Any] = Field(description="the conductance law and its parameters")
    variation: Variation = Variation()
    read: Read = Read()
    faults: Faults = Faults()
    pulse: Pulse = Pulse()
    retention: Retention | None = key(
        "what time does to a written conductance", "write levels and read them again and again", default=None
    )
    cell: CellChoice = CellChoice()
    expect: Expect = Expect()

    @model_validator(mode="after")
    def _real_ends(self) -> Self:
        if self.range.stand_in == "ends" and self.read.noise_rel > 0:
            raise ValueError(
                "read.noise_rel depends on the on/off ratio, but the ends stand in: measure them"
            )
        return self

    @model_validator(mode="after")
    def _law(self) -> Self:
        if self.variation.label_dtod > 0 and not self.law().labelled:
            raise ValueError(
                f"variation.label_dtod shifts a label, which the law {self.response['law']} is not "
                "given here: use label_up and label_down of the law affine, or remove label_dtod"
            )
        self.law()
        return self

    def pulse_energy_J(self, way: Literal["up", "down"]) -> float | None:
        """Energy of one pulse: the card's own figure, else V^2 G t at mid-range; None if not known."""
        pulse = self.pulse
        if pulse.energy_J is not None:
            return pulse.energy_J
        volt, second = (pulse.v_up_V, pulse.t_up_s) if way == "up" else (pulse.v_down_V, pulse.t_down_s)
        if volt is None or second is None or self.range.middle_S is None:
            return None
        return volt**2 * self.range.middle_S * second

    def law(self) -> Any:
        """The conductance law with this card's parameters."""
        law, params = _chosen("laws", "response", "law", self.response)
        return law(params)


class IdealCard(Strict):
    """Weights as plain numbers: the software baseline."""

    schema_: Literal[1] = Field(alias="schema", description="version of the card format")
    kind: Literal["ideal"] = Field(description="what the card describes")
    device: Identity
    provenance: Provenance


class Signal(Strict):
    """How signals and their gradients are written as codes: a code c stands for c / 2^frac."""

    bits: Literal[8, 16] = key("bits of a signal and of an error", "choose it")
    frac: int = key("bits after the point of a signal", "choose it", ge=0, le=15)
    error_frac: int = key("bits after the point of an error", "choose it", ge=0, le=15)
    rounding: Literal["half-up", "floor", "half-even"] = key(
        "how an accumulator is rounded to a signal", "choose it", default="half-up"
    )


class Weight(Strict):
    """How weights are written as codes."""

    bits: Literal[8, 16] = key("bits of a weight", "choose it")
    frac: int = key("bits after the point of a weight", "choose it", ge=0, le=15)
    rounding: Rounding = key(
        "how a change is rounded; stochastic keeps small changes alive", "choose it", default="stochastic"
    )


class FixedCard(Strict):
    """Integer arithmetic: weights, signals and errors are fixed-point codes."""

    schema_: Literal[1] = Field(alias="schema", description="version of the card format")
    kind: Literal["fixed"] = Field(description="what the card describes")
    device: Identity
    provenance: Provenance
    signal: Signal
    weight: Weight

    def numbers(self) -> Numbers:
        """The number formats."""
        signal, weight = self.signal, self.weight
        return Numbers(
            signal.bits,
            signal.frac,
            signal.error_frac,
            weight.bits,
            weight.frac,
            signal.rounding,
            weight.rounding,
        )


class HalfWeight(Strict):
    """How FP16 weights learn although most changes are far smaller than their last place."""

    keep: Literal["master", "compensated", "stochastic", "nearest"] = key(
        "master: a float32 beside each weight takes the changes; compensated: a second half takes what "
        "rounding lost; stochastic: changes are rounded at random; nearest: changes below half a last "
        "place are lost",
        "choose it",
    )


class LossScale(Strict):
    """The power of two by which gradients are multiplied, so that few of them vanish as FP16."""

    log2_first: int = key("its logarithm at first", "choose it", default=10, ge=0, le=15)


class Fp16Card(Strict):
    """FP16 SIMD arithmetic: weights, signals and gradients are IEEE halves, every rounding specified."""

    schema_: Literal[1] = Field(alias="schema", description="version of the card format")
    kind: Literal["fp16"] = Field(description="what the card describes")
    device: Identity
    provenance: Provenance
    weight: HalfWeight
    loss_scale: LossScale = LossScale()


class PowerOfTwo(Strict):
    """Which powers of two a weight may be."""

    bits: int = key("bits of a code: a sign, zero, and 2^(bits-1) - 1 powers", "choose it", ge=2, le=5)
    errors: bool = key(
        "whether errors become powers of two, at random and right on average, before they make a change of "
        "weights: no product of training is then a multiplication",
        "choose it",
        default=False,
    )


class ShiftCard(FixedCard):
    """Shift arithmetic: a weight is 0 or a power of two, kept beside a fixed-point master."""

    kind: Literal["shift"] = Field(description="what the card describes")  # type: ignore[assignment]
    pot: PowerOfTwo


class Drive(Strict):
    """How a signal becomes the drive of the physics, and its response a signal again."""

    encode: Literal["none", "norm", "min-max", "code", "dmd"] = key(
        "what is done to each sample before it drives: nothing, equal power, stretched over the range, a "
        "binary code, or micromirrors",
        "choose it",
        default="none",
    )
    gain: float = key("drive per input in rms, for norm", "choose it", default=1.0, gt=0)
    bits: int = key("bits of a value, for code", "choose it", default=2, ge=1, le=8)
    low: float = key("smallest drive that the physics takes", "drive it until it saturates", default=-1e6)
    high: float = key("largest drive that the physics takes", "drive it until it saturates", default=1e6)
    decode: Literal["none", "standard"] = key(
        "what is done to each response: nothing, or mean 0 and sd 1", "choose it", default="none"
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low = {self.low:g} is not below high = {self.high:g}: exchange them")
        return self


class Detector(Strict):
    """What reads the response; a part that is left out is ideal."""

    noise: float = key(
        "sd of one reading, in units of the response", "read it in the dark", default=0.0, ge=0
    )
    shot_counts: float | None = key(
        "counts for a response of 1: shot noise; for responses that are never negative",
        "variance over mean of bright readings",
        default=None,
        gt=0,
    )
    adc_bits: int | None = key("bits of a reading", "know it", default=None, ge=1, le=24)
    full_scale: float = key(
        "largest response that adc_bits hold; if the response is never negative their smallest is 0",
        "know it",
        default=4.0,
        gt=0,
    )
    dead: Fraction = key("share of outputs that always read 0", "count them", default=0.0)


class Pass(Strict):
    """What one sample through the physics costs; what is left out is unknown."""

    latency_s: float | None = key("time from drive to reading", "measure it", default=None, gt=0)
    energy_J: float | None = key("energy of a drive and a reading", "measure it", default=None, gt=0)
    batch_max: int | None = key("samples that one request may hold", "know it", default=None, ge=1)
    drift_per_1000: Fraction = key(
        "strength of the disturbance drift that 1000 samples of training bring",
        "repeat a sample",
        default=0.0,
    )


class Instrument(Strict):
    """A layer in the laboratory: another process, or files that somebody carries there."""

    command: list[str] | None = key(
        "program that answers lines on its standard input (docs/physical.md)", "write it", default=None
    )
    folder: str | None = key(
        "folder where requests wait as CSV for answers as CSV, instead of command", "choose it", default=None
    )
    timeout_s: float = key("longest wait for an answer", "time it", default=10.0, gt=0)
    retries: int = key(
        "further tries after an answer that is late or no answer", "choose it", default=2, ge=0
    )
    low: float = key("smallest output that can be right", "know it", default=-1e6)
    high: float = key("largest output that can be right", "know it", default=1e6)

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.command is None) == (self.folder is None):
            raise ValueError("give command, or folder: one of the two")
        return self


class PhysicalCard(Strict):
    """A layer that is a piece of physics: it can be driven and measured, and nothing else."""

    schema_: Literal[1] = Field(alias="schema", description="version of the card format")
    kind: Literal["physical"] = Field(description="what the card describes")
    device: Identity
    provenance: Provenance
    physics: dict[str, Any] = Field(
        {}, description="the emulator and its parameters; none where there is an instrument"
    )
    instrument: Instrument | None = None
    drive: Drive = Drive()
    detector: Detector = Detector()
    pass_: Pass = Field(Pass(), alias="pass")

    @model_validator(mode="after")
    def _source(self) -> Self:
        if self.instrument is None:
            self.emulator()
        elif self.physics:
            raise ValueError("physics and instrument are two sources of one response: remove one")
        return self

    def emulator(self) -> tuple[Any, Any]:
        """The emulator's class, and this card's parameters for it."""
        return _chosen("emulators", "physics", "emulator", self.physics)


def _chosen(kind: str, table: str, key_: str, given: dict[str, Any]) -> tuple[Any, Any]:
    """The registered class that a card's table names, and the table's other keys as its ``Params``."""
    values = dict(given)
    name = values.pop(key_, None)
    if not isinstance(name, str):
        raise ValueError(f"{table}.{key_} is missing: name one of {', '.join(names(kind))}")
    _known(kind, name)
    found = lookup(kind, name)
    try:
        return found, found.Params.model_validate(values)
    except ValidationError as problems:
        said = explain(found.Params, problems, where=f"{table} of {key_} {name}", text="")
        place = (table, *(str(part) for part in problems.errors()[0]["loc"]))
        raise PydanticCustomError(key_, "{said}", {"said": said, "place": place}) from None


Card = SynapseCard | IdealCard | FixedCard | PhysicalCard | Fp16Card
_KINDS: dict[str, type[Card]] = {
    "synapse": SynapseCard,
    "ideal": IdealCard,
    "fixed": FixedCard,
    "shift": ShiftCard,
    "physical": PhysicalCard,
    "fp16": Fp16Card,
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
    return validate(_KINDS[kind], values, where=str(file), text=text, error=CardError)


def without_scatter(card: SynapseCard) -> SynapseCard:
    """The typical device: no scatter from pulse to pulse or device to device, no stuck cell."""
    ends = card.range.model_copy(update={"g_min_dtod": 0.0, "g_max_dtod": 0.0})
    return card.model_copy(update={"range": ends, "variation": Variation(), "faults": Faults()})


def check_expectations(name: str, card: Card) -> None:
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
