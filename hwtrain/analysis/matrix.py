"""Which rule runs on which device: found by binding, so that it cannot be out of date."""

from __future__ import annotations

import copy

from hwtrain.arith.threefry import Streams
from hwtrain.cards import card, learning_cards
from hwtrain.config import SOFTWARE
from hwtrain.errors import IncompatibleRule
from hwtrain.layers.physical import Physical
from hwtrain.net import Net
from hwtrain.nets.base import mlp
from hwtrain.registry import lookup, names
from hwtrain.substrates.base import Options, Trial, substrate_of


def matrix() -> dict[str, dict[str, str]]:
    """By card and rule: "runs", or the message that says what is missing.

    Cards of physics have it before each of two dense layers, others have all weights on them.
    """
    found: dict[str, dict[str, str]] = {}
    for device, _ in learning_cards():
        net = _placed(device)
        found[device] = {}
        for rule in names("rules"):
            try:
                lookup("rules", rule)().bind(copy.deepcopy(net))
                found[device][rule] = "runs"
            except IncompatibleRule as problem:
                found[device][rule] = str(problem)
    return found


def _placed(device: str) -> Net:
    its, software = card(device), substrate_of(card(SOFTWARE), Options())
    home, net = substrate_of(its, Options()), mlp("4-4-2")
    if its.kind == "physical":
        first, bend, second = net.children.values()
        net = Net({"phi1": Physical(4, 4), "fc1": first, "bend": bend, "phi2": Physical(4, 4), "fc2": second})
    net.place(
        Trial(Streams(0)),
        lambda path: software if its.kind == "physical" and not path.startswith("phi") else home,
        software,
    )
    return net
