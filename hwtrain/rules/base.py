"""What a training rule is: it decides which signal reaches which layer, through ports alone."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from jaxtyping import Int, Real
from torch import Tensor

from hwtrain.errors import ConfigError, IncompatibleRule
from hwtrain.net import Net
from hwtrain.strict_toml import Strict, validate
from hwtrain.substrates.base import missing_port


class Bound(ABC):
    """A rule at work on a placed net.

    Attributes:
        batch: the only number of samples a step that it takes; None for any.
        batch_min: the least.
        parallel: whether the native engine may give rows of a matrix to threads of their own.
    """

    batch: ClassVar[int | None] = None
    batch_min: ClassVar[int] = 1
    parallel: bool = False

    def __init__(self, net: Net) -> None:
        self.net = net

    @abstractmethod
    def step(
        self, x: Real[Tensor, "batch *features"], labels: Int[Tensor, "batch"], lr: float
    ) -> Real[Tensor, "batch"]:
        """Learn from one batch; the loss of each sample as it was before."""

    def predict(self, x: Real[Tensor, "batch *features"]) -> Real[Tensor, "batch classes"]:
        """The net's outputs."""
        return self.net.fw(x)[0]

    def flush(self, lr: float) -> Real[Tensor, "n"] | None:
        """Learn what ``step`` has put off, at the end of an epoch; losses that it still owes."""
        return None

    def live(self) -> dict[str, Tensor]:
        """What the rule itself keeps from step to step; a program has it as buffers."""
        return {}

    def figures(self) -> dict[str, Any]:
        """What it has counted since the start of training, for metrics.jsonl."""
        return {}

    def state(self) -> dict[str, Tensor]:
        """A copy of what it keeps."""
        return {name: value.clone() for name, value in self.live().items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Undo of ``state``."""
        for name, value in self.live().items():
            value.copy_(state[name])


class Rule(ABC):
    """A training rule, before it has a net. ``Options`` are its own settings, ``--rule-options``.

    Class attribute ``floats_only``: whether it works on floating-point signals alone.
    """

    floats_only: ClassVar[bool] = False

    class Options(Strict):
        """None."""

    def __init__(self, **given: Any) -> None:
        if given and not self.Options.model_fields:
            raise ConfigError(f"rule_options: rule {self.name} has none: leave them out")
        self.options: Any = validate(self.Options, given, where="rule_options", text="", error=ConfigError)

    @property
    def name(self) -> str:
        """What the command line calls it."""
        return re.sub("(?<=[a-z])(?=[A-Z])", "-", type(self).__name__).lower()

    @abstractmethod
    def needs(self, net: Net) -> dict[str, frozenset[str]]:
        """The ports that it will use, by path of the array."""

    @abstractmethod
    def work(self, net: Net) -> Bound:
        """The rule at work on a net that has the ports."""

    def bind(self, net: Net) -> Bound:
        """``work``, once every array has the ports; else IncompatibleRule before the first step."""
        arrays = dict(net.arrays())
        if self.floats_only and net.loss.numbers is not None:
            raise IncompatibleRule(
                f"layer {net.trained()[0]}: {self.name} needs floating-point signals, and its device has "
                "whole numbers: choose another rule, or another --device"
            )
        for path, ports in self.needs(net).items():
            for port in sorted(ports - arrays[path].ports):
                raise missing_port(arrays[path], port, self.name)
        return self.work(net)


def tape_bytes(tape: Any) -> int:
    """Bytes of the tensors in a tape, each counted once."""
    held: dict[int, int] = {}

    def walk(part: Any) -> None:
        if isinstance(part, Tensor):
            held[part.untyped_storage()._cdata] = part.nbytes
        elif isinstance(part, Mapping):
            for inner in part.values():
                walk(inner)
        elif isinstance(part, tuple | list):
            for inner in part:
                walk(inner)

    walk(tape)
    return sum(held.values())
