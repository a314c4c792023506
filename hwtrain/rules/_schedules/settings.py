"""What one may ask of speculation: a mode, and how it guesses."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from hwtrain.strict_toml import Strict


class Settings(Strict):
    """Settings of rule ``speculative``.

    ``shadow``: write what is speculated into a second copy of the weights, beside the forward pass. It
    changes when things are done, not what comes out.
    ``miss``: with a shadow, what a miss does: the exact step on the weights (``redo``), or what the exact
    step adds to the speculated one on the shadow (``correct``), the same but for rounding.
    ``sticky``: a hit does not renew what is kept. ``warm_up``: so many samples at first are learnt exactly,
    and counted as misses. ``hit_share``: the threshold moves, from ``threshold`` on, to where this share of
    samples are hits; 0: it stays.
    ``prototypes``: so many samples are kept of each label; the one whose input is nearest is speculated on.
    """

    mode: Literal[
        "sequential", "speculative", "delayed", "delayed-reuse", "fused-sweep", "neuron", "lookahead"
    ] = "speculative"
    threshold: float = 0.25
    hit_share: float = Field(0.0, ge=0, lt=1)
    distance: Literal["l1", "cross-entropy"] = "l1"
    store: Literal["fresh", "sticky"] = "fresh"
    prototypes: int = Field(1, ge=1, le=64)
    shadow: bool = False
    miss: Literal["redo", "correct"] = "redo"
    warm_up: int = Field(0, ge=0, lt=1 << 31)
