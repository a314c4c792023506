"""In-situ backpropagation: intensities inside a mesh give its phases' gradient (Hughes et al., 2018).

Light f of the input runs forwards, light a of the output's gradient d runs backwards; at a phase shifter
dL/dphase = -Im(a f), for outputs Re(U x). A third run of light i conj(a) with f makes it visible to
detectors that see intensities alone:

    |f + i conj(a)|^2 - |f|^2 - |a|^2 = 2 Im(a f)
"""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor

from hwtrain.direction import Controls
from hwtrain.layers.physical import Physical
from hwtrain.net import Net
from hwtrain.rules._blocks import flat, write
from hwtrain.rules.base import Bound, Rule


class InSitu(Rule):
    """Trains the phases of every mesh and the digital layers between them."""

    floats_only = True

    def needs(self, net: Net) -> dict[str, frozenset[str]]:
        """read, read_t, taps and write of physics; read, read_t and write of weights."""
        flat(net, "in-situ")
        ports = {}
        for place, (path, _) in enumerate(net.arrays()):
            back = {"read_t"} if place else set()
            if path.endswith(".medium"):
                ports[path] = frozenset({"read", "taps", "write", *back})
            elif not path.endswith(".bias"):
                ports[path] = frozenset({"read", "write", *back})
        return ports

    def work(self, net: Net) -> InSituBound:
        """Backpropagation, in the mesh by light."""
        return InSituBound(net)


class InSituBound(Bound):
    """Forward, and layer by layer back."""

    def __init__(self, net: Net) -> None:
        super().__init__(net)
        self.layers = flat(net, "in-situ")

    def step(
        self, x: Float[Tensor, "batch *features"], labels: Int[Tensor, "batch"], lr: float
    ) -> Float[Tensor, "batch"]:
        """Descend the mean loss of the batch by lr, weights and phases."""
        z, _, tapes = self.net.fw(x)
        loss, at_end = self.net.loss.fw(z, labels)
        d = self.net.loss.igrad(at_end)
        scale = -lr / len(x)
        first = next(path for path, layer in self.layers if layer.arrays)
        for path, layer in reversed(self.layers):
            tape = tapes[path]
            back = layer.igrad(d, tape) if path != first else None
            if isinstance(layer, Physical):
                medium = layer.arrays["medium"]
                forward, backward, both = medium.taps(tape[:, None], d[:, None, : layer.out])  # type: ignore[attr-defined]
                medium.write(Controls(-(both - forward - backward).sum(0) / 2).scaled(scale))
            else:
                write(layer, layer.wgrad(d, tape), scale)
            if back is None:
                break
            d = back
        return loss
