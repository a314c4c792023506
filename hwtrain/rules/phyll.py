"""Physical local learning: a cosine goodness tells right labels from wrong (Momeni et al., Science 2023).

As in the released code (github.com/MomeniAli/PhyLL): each block is physics, then a digital layer, the only
thing trained; nothing is differentiated but that layer. With a fixed random unit vector p for each block,

    g(z) = cos(|z|, p)        loss = ln(1 + exp(-theta (g(z_right) - g(z_wrong))))

and the label with the largest sum of g over blocks is predicted.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from hwtrain.net import Net
from hwtrain.rules._blocks import Block, draws
from hwtrain.rules._goodness import GoodnessBound, GoodnessRule
from hwtrain.strict_toml import Strict


class Phyll(GoodnessRule):
    """``inner`` updates reuse each measurement. The released scripts have theta 4 to 5 and 10 to 25 updates
    over hundreds of epochs; a larger theta learns in fewer."""

    class Options(Strict):
        """Sharpness of the contrast; updates on each measurement."""

        theta: float = Field(30.0, gt=0)
        inner: int = Field(2, ge=1)

    def work(self, net: Net) -> PhyllBound:
        """PhyLL in every block but the last."""
        return PhyllBound(net, *self.parts(net), self.options.theta, self.options.inner)


class PhyllBound(GoodnessBound):
    """Contrast of projected cosines."""

    def __init__(self, net: Net, learning: list[Block], classes: int, theta: float, inner: int) -> None:
        super().__init__(net, learning, classes)
        self.theta, self.inner = theta, inner
        self.p = []
        for place, block in enumerate(learning):
            p = torch.from_numpy(draws(net, 1).at(place).normal(block.width))
            self.p.append(p / p.norm())

    def goodness(self, z: Float[Tensor, "batch out"], place: int) -> Float[Tensor, "batch"]:
        """cos(|z|, p)."""
        return _cosine(z, self.p[place].to(z))[0]

    def local(
        self, right: Float[Tensor, "batch out"], wrong: Float[Tensor, "batch out"], place: int
    ) -> tuple[Float[Tensor, "batch"], Float[Tensor, "pairs out"]]:
        """d cos(|z|, p) / dz = sign(z) (p - g |z| / ||z||) / ||z||."""
        p = self.p[place].to(right)
        (g, slope), (h, other) = _cosine(right, p), _cosine(wrong, p)
        margin = -self.theta * (g - h)
        push = -self.theta * torch.sigmoid(margin)[:, None]
        return torch.nn.functional.softplus(margin), torch.cat([push * slope, -push * other])


def _cosine(z: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
    size = z.norm(dim=1, keepdim=True).clamp(min=1e-12)
    unit = z.abs() / size
    g = unit @ p
    return g, z.sign() * (p - g[:, None] * unit) / size
