"""Cards of arithmetic: plain numbers, fixed point, powers of two, FP16."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from hwtrain.arith.fixed import Numbers, Rounding
from hwtrain.cards.base import Identity, Provenance, key
from hwtrain.strict_toml import Strict


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


class Levels(Strict):
    """Which levels a weight may have that is kept beside a float."""

    bits: int = key("bits of a code, the sign included", "choose it", ge=2, le=7)
    zero: bool = key(
        "whether 0 is a level; without it the code has one more power of two", "choose it", default=True
    )
    rounding: Literal["linear", "log"] = key(
        "which level is the nearest: by difference, or by exponent", "choose it", default="linear"
    )
    scale: Literal["tensor", "channel"] = key(
        "what has an exponent of its own: a whole array, or each of its outputs",
        "choose it",
        default="tensor",
    )
    terms: int = key(
        "how many powers of two add up to a level (APoT); two take 5 bits and three take 7",
        "choose it",
        default=1,
        ge=1,
        le=3,
    )


class Latent(Strict):
    """How the float weights behind the levels learn."""

    gradient: Literal["ste", "clipped-ste", "blend", "shift-and-sign"] = key(
        "ste: the gradient passes the rounding; clipped-ste: not beyond the largest level; blend: what is "
        "read goes from the floats to the levels, and the gradient is its own; shift-and-sign: exponent and "
        "sign learn by themselves (DeepShift-PS)",
        "choose it",
        default="ste",
    )
    blend_steps: int | None = key(
        "blend: steps of training in which the levels' share grows from 0 to 1",
        "choose it",
        default=None,
        ge=1,
    )


class LatentSignal(Strict):
    """How what a layer reads is rounded: to whole numbers of 2^-frac."""

    bits: int = key("bits of a signal, the sign included", "choose it", ge=2, le=16)
    frac: int = key("bits after the point, at first", "choose it", ge=-15, le=15)
    learn: bool = key(
        "whether the place of the point follows its gradient, at the rate of the weights",
        "choose it",
        default=False,
    )


class LatentCard(Strict):
    """Powers of two that float weights stand behind, as training for shift hardware has them."""

    schema_: Literal[1] = Field(alias="schema", description="version of the card format")
    kind: Literal["shift"] = Field(description="what the card describes")
    device: Identity
    provenance: Provenance
    latent: Latent
    pot: Levels
    signal: LatentSignal | None = None

    @model_validator(mode="after")
    def _fit(self) -> LatentCard:
        pot, latent = self.pot, self.latent
        if (latent.gradient == "blend") != (latent.blend_steps is not None):
            raise ValueError("latent.blend_steps belongs to latent.gradient = blend: give both, or neither")
        if pot.terms == 1 and pot.bits > 5:
            raise ValueError(f"pot.bits = {pot.bits}: one power of two has 2 to 5")
        if pot.terms > 1 and pot.bits != 1 + 2 * pot.terms:
            raise ValueError(f"pot.bits = {pot.bits}: {pot.terms} terms take {1 + 2 * pot.terms}")
        if pot.terms > 1 and (latent.gradient != "ste" or not pot.zero or pot.rounding != "linear"):
            raise ValueError("pot.terms: sums of powers of two take ste, linear rounding and a zero")
        if latent.gradient == "shift-and-sign" and pot.rounding != "linear":
            raise ValueError("pot.rounding: shift-and-sign rounds exponents: leave it out")
        return self
