"""Forward-forward: large activity for right labels, small for wrong ones (Hinton, 2022).

Goodness G = mean z^2 of a block's output, threshold theta:

    loss = ln(1 + exp(theta - G_right)) + ln(1 + exp(G_wrong - theta))

A block's output is scaled to mean square 1 before the next, which so sees only its direction.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor
from torch.nn.functional import softplus

from hwtrain.net import Net
from hwtrain.rules._blocks import Block
from hwtrain.rules._goodness import GoodnessBound, GoodnessRule
from hwtrain.strict_toml import Strict


class ForwardForward(GoodnessRule):
    """Every block but the last learns; every block's goodness counts in a prediction."""

    class Options(Strict):
        """The threshold of goodness."""

        theta: float = Field(2.0, gt=0)

    def work(self, net: Net) -> ForwardForwardBound:
        """Forward-forward in every block but the last."""
        return ForwardForwardBound(net, *self.parts(net), self.options.theta)


class ForwardForwardBound(GoodnessBound):
    """Goodness against a threshold."""

    def __init__(self, net: Net, learning: list[Block], classes: int, theta: float) -> None:
        super().__init__(net, learning, classes)
        self.theta = theta

    def goodness(self, z: Float[Tensor, "batch out"], place: int) -> Float[Tensor, "batch"]:
        """mean z^2."""
        return (z**2).mean(1)

    def local(
        self, right: Float[Tensor, "batch out"], wrong: Float[Tensor, "batch out"], place: int
    ) -> tuple[Float[Tensor, "batch"], Float[Tensor, "pairs out"]]:
        """dG/dz = 2 z / width."""
        short = self.theta - (right**2).mean(1)
        over = (wrong**2).mean(1) - self.theta
        slope = 2 / right.shape[1]
        d = torch.cat([-torch.sigmoid(short)[:, None] * right, torch.sigmoid(over)[:, None] * wrong])
        return softplus(short) + softplus(over), slope * d

    def passed(self, z: Tensor) -> Tensor:
        """The direction of z."""
        return z / (z**2).mean(1, keepdim=True).sqrt().clamp(min=1e-6)
