"""Cards of physics: a layer that can be driven and measured, and nothing else."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from hwtrain.cards.base import Fraction, Identity, Provenance, chosen, key
from hwtrain.cards.instrument import Instrument
from hwtrain.strict_toml import Strict


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
        return chosen("emulators", "physics", "emulator", self.physics)
