"""Cards of microcontrollers: what is known of cores, memories and power, and how well."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from hwtrain.cards.base import Identity, Provenance, key
from hwtrain.strict_toml import Strict


class Constant(Strict):
    """A number of a microcontroller, with what is known of it."""

    value: float = key("the number", "look it up", ge=0)
    low: float | None = key("smallest that it may be, where that is known", "look it up", default=None, ge=0)
    high: float | None = key("largest that it may be, where that is known", "look it up", default=None, ge=0)
    status: Literal["published", "derived", "assumed"] = key(
        "published: read in the source; derived: follows from what the source says; assumed: recalled or "
        "guessed, to be measured",
        "know it",
    )
    source: str = key("where it is from, or how it follows", "note it", min_length=1)

    @property
    def ends(self) -> tuple[float, float]:
        """Smallest and largest."""
        return (
            self.value if self.low is None else self.low,
            self.value if self.high is None else self.high,
        )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        low, high = self.ends
        if not low <= self.value <= high:
            raise ValueError(f"value = {self.value:g} is not between {low:g} and {high:g}: correct one")
        return self


class McuCores(Strict):
    """The cores that compute, and the code whose instructions they execute."""

    code: Literal["m55", "rvv", "v2f16", "float32"] = key(
        "whose instructions are counted (devices/mcu/instructions.json); float32: a core without FP16 "
        "arithmetic, so that nets are planned in float32",
        "choose the nearest",
    )
    cores: Constant = key("cores that share a kernel", "read the data sheet")
    clock_Hz: Constant = key("cycles a second", "read the data sheet")
    issue_per_cycle: Constant = key("instructions that a core finishes in a cycle", "count cycles")
    fork_join_cycles: Constant = key("cycles to start and end a kernel on all cores", "time an empty kernel")
    fpus: Constant = key("units that multiply and add", "read the data sheet")
    macs_per_cycle: Constant = key(
        "multiply-adds of a unit in a cycle, in the format of the code", "time a long chain of them"
    )
    access_bytes: Constant = key("bytes that a core loads or stores in a cycle", "read the data sheet")
    contention: Constant = key("share of cycles that accesses lose to each other's banks", "count stalls")


class McuMemory(Strict):
    """A level of memory."""

    bytes_: Constant = Field(
        alias="bytes", description="its size", json_schema_extra={"measured": "data sheet"}
    )
    bytes_per_cycle: Constant | None = key(
        "bytes that pass between it and the level next to the cores in a cycle", "time a copy", default=None
    )


class McuMemories(Strict):
    """``fast`` is next to the cores; ``main`` holds what does not fit there, and is moved by DMA."""

    fast: McuMemory
    main: McuMemory | None = None
    flash: McuMemory | None = None

    @model_validator(mode="after")
    def _moves(self) -> Self:
        if self.main is not None and self.main.bytes_per_cycle is None:
            raise ValueError("memory.main has no bytes_per_cycle, so nothing can be moved: add it")
        return self


class McuEnergy(Strict):
    """What computing costs; a card without a power has no energy."""

    power_W: Constant | None = key("power while it computes", "measure the supply", default=None)
    mac_J: Constant | None = key(
        "energy of a multiply-add at the best published efficiency: a lower bound", "measure it", default=None
    )


class McuCard(Strict):
    """A class of microcontroller: what ``hwtrain mcu plan`` must know to say how fast a net trains."""

    schema_: Literal[1] = Field(alias="schema", description="version of the card format")
    kind: Literal["mcu"] = Field(description="what the card describes")
    device: Identity
    provenance: Provenance
    core: McuCores
    memory: McuMemories
    energy: McuEnergy = McuEnergy()
