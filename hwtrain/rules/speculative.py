"""Speculative backpropagation: the backward pass does not wait for the forward pass to end.

After Park and Suh, IEEE Access 8:215365, 2020, and Centeno et al., arXiv 2511.11640: outputs of samples with
the same label are alike, so the error of the last one is taken for that of the next. Only their abstracts
were read; the modes are our own definitions of what these describe. d are errors by W x + b, c is the label.

    sequential     forward, backward, update
    speculative    d_L and h of the last sample of label c stand for this sample's, if its own d_L comes out
                   within the threshold of the kept one (a hit); else the exact step (a miss)
    delayed        forward(i) beside backward(i - 1), then update(i - 1); no weights are stashed, so
                   backward(i - 1) reads the weights that forward(i) reads
    delayed-reuse  delayed; within the threshold the whole gradient kept for the label is written again
    fused-sweep    update(i - 1) of a layer in one sweep with forward(i); the bits of sequential
    neuron         fused-sweep, the rows of a matrix going to the native engine's threads; the same bits
    lookahead      update(i - 2) and forward(i) of the first layer beside all else of i - 1; what
                   update(i - 1) would have added is a rank-one correction: sequential in real numbers

Of a batch, ``speculative`` alone takes several samples; each is held to what was kept before the batch.
The distance is that of the errors d_L, which is that of the outputs, for both lack the same target.
Updates that are put off (``flush``) are made at the end of an epoch.
"""

from __future__ import annotations

from hwtrain.errors import ConfigError
from hwtrain.net import Net
from hwtrain.rules._schedules.delayed import DelayedBound
from hwtrain.rules._schedules.delayed_reuse import ReuseBound
from hwtrain.rules._schedules.lookahead import LookaheadBound
from hwtrain.rules._schedules.settings import Settings
from hwtrain.rules._schedules.shadow import ShadowBound
from hwtrain.rules._schedules.speculative import SpeculativeBound
from hwtrain.rules._schedules.sweep import SweepBound
from hwtrain.rules.backprop import Backprop
from hwtrain.rules.base import Bound


class Speculative(Backprop):
    """Backpropagation by one of the schedules above, each a module of hwtrain/rules/_schedules."""

    class Options(Settings):
        """Those of hwtrain/rules/_schedules/settings.py."""

    def needs(self, net: Net) -> dict[str, frozenset[str]]:
        """Those of backpropagation; with a shadow, propose."""
        ports = super().needs(net)
        return {path: found | {"propose"} for path, found in ports.items()} if self._shadow else ports

    @property
    def _shadow(self) -> bool:
        return bool(self.options.shadow and self.options.mode == "speculative")

    def work(self, net: Net) -> Bound:
        """The schedule that was asked for, on a net of dense layers."""
        options = self.options
        self._check(net)
        match options.mode:
            case "sequential":
                return super().work(net)
            case "speculative":
                return (ShadowBound if options.shadow else SpeculativeBound)(net, self.name, options)
            case "delayed":
                return DelayedBound(net, self.name)
            case "delayed-reuse":
                return ReuseBound(net, self.name, options)
            case "lookahead":
                return LookaheadBound(net, self.name)
        return SweepBound(net, self.name, parallel=options.mode == "neuron")

    def _check(self, net: Net) -> None:
        """ConfigError for settings that do not fit each other."""
        options = self.options
        if options.miss == "correct" and not self._shadow:
            raise ConfigError(
                "rule_options: miss = correct corrects a shadow: add mode=speculative,shadow=true"
            )
        guesses = options.mode in ("speculative", "delayed-reuse")
        for name, is_given, is_used in (
            ("warm_up", options.warm_up > 0, guesses),
            ("hit_share", options.hit_share > 0, guesses),
            ("prototypes", options.prototypes > 1, guesses),
            ("distance", options.distance != "l1", guesses),
            ("store", options.store != "fresh", options.mode == "speculative"),
            ("shadow", options.shadow, options.mode == "speculative"),
        ):
            if is_given and not is_used:
                raise ConfigError(
                    f"rule_options: {name}: mode {options.mode} has no use for it: leave it out"
                )
        if options.distance == "cross-entropy" and net.loss.numbers is not None:
            raise ConfigError("rule_options: distance = cross-entropy takes floats: use l1 on this device")
