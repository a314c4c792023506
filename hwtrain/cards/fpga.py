"""Cards of FPGAs: what there is of tables, multipliers and memory, and what was synthesised for them."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, PositiveInt, model_validator

from hwtrain.cards.base import Identity, Provenance, key
from hwtrain.cards.mcu import Constant
from hwtrain.strict_toml import Strict


class FpgaMemory(Strict):
    """Blocks that can be written and read in the same cycle; no other memory serves the RTL."""

    blocks: Constant = key("blocks of memory", "read the data sheet")
    forms: list[tuple[PositiveInt, PositiveInt]] = key(
        "words and bits of each form that a block takes", "read the data sheet", min_length=1
    )
    forms_source: str = key("where the forms are from", "note it", min_length=1)
    small: list[tuple[PositiveInt, PositiveInt]] = key(
        "bits and words: a memory that is no wider and no deeper than one of these is made of look-up tables "
        "or flip-flops",
        "synthesise memories of many depths",
        min_length=1,
    )
    small_source: str = key("what drew that line", "note it", min_length=1)


class FpgaFigure(Strict):
    """Look-up tables of one whole block."""

    net: str = key("widths", "choose")
    lanes: PositiveInt = key("lanes", "choose")
    lut: PositiveInt = key("look-up tables, with those that carry and those that are memory", "synthesise it")
    blocks: int | None = key("memory blocks that it has", "synthesise it", default=None)


class FpgaSynthesis(Strict):
    """Whole blocks of one arithmetic: a straight line in the lanes goes through them."""

    signal_bits: PositiveInt = key("bits of a signal", "choose")
    weight_bits: PositiveInt = key("bits of a weight that learns", "choose")
    code_bits: int = key("bits of its power of two; 0 where weights are multiplied", "choose", ge=0)
    noise: bool = key("whether updates are rounded at random", "choose")
    source: str = key("the tool and its stage", "note it", min_length=1)
    line: list[FpgaFigure] = key("blocks of one net, of which the line is", "synthesise them", min_length=2)
    checks: list[FpgaFigure] = key("blocks that the line is held against", "synthesise them", default=[])

    @model_validator(mode="after")
    def _of_one_net(self) -> Self:
        if len({one.net for one in self.line}) > 1 or len({one.lanes for one in self.line}) < 2:
            raise ValueError("synthesis.line: give two lane counts or more of one net")
        return self


class FpgaCard(Strict):
    """A part: what ``hwtrain fpga plan`` must know to say which block fits."""

    schema_: Literal[1] = Field(alias="schema", description="version of the card format")
    kind: Literal["fpga"] = Field(description="what the card describes")
    device: Identity
    provenance: Provenance
    luts: Constant = key("look-up tables", "read the data sheet")
    multipliers: Constant = key("multiplier blocks, one a product of 17 by 17 bits", "read the data sheet")
    memory: FpgaMemory
    synthesis: list[FpgaSynthesis] = key("what was synthesised for its family", "hwtrain synth", default=[])
