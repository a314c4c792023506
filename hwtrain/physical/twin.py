"""Digital twins: differentiable models of a piece of physics, fitted to measured pairs.

A twin answers as the physics does (``respond``) and gives what the physics cannot, J^T d (``respond_t``),
by hand-written derivatives: no autograd is at work here but in ``Copy``.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from hwtrain.errors import ConfigError, nearest
from hwtrain.physical.emulators.base import Emulator

KINDS = ("linear", "quadratic", "mlp")
_WIDEST = 4000
"""Features of a quadratic twin beyond which it is not tried: its normal equations grow with their cube."""


class Twin(ABC):
    """A model from the drive of the physics to its response; ``macs`` is what a sample costs."""

    macs: int

    @abstractmethod
    def respond(self, x: Float[Tensor, "batch drives"]) -> Float[Tensor, "batch out"]:
        """What the physics would answer."""

    @abstractmethod
    def respond_t(
        self, d: Float[Tensor, "batch out"], at: Float[Tensor, "batch drives"]
    ) -> Float[Tensor, "batch drives"]:
        """J^T d at a drive."""


class Zero(Twin):
    """No physics at all: the control that shows what the rest of a net does."""

    macs = 0

    def __init__(self, out: int) -> None:
        self.out = out

    def respond(self, x: Float[Tensor, "batch drives"]) -> Float[Tensor, "batch out"]:
        """Nothing."""
        return x.new_zeros(len(x), self.out)

    def respond_t(
        self, d: Float[Tensor, "batch out"], at: Float[Tensor, "batch drives"]
    ) -> Float[Tensor, "batch drives"]:
        """Nothing."""
        return torch.zeros_like(at)


class Copy(Twin):
    """The emulator itself as it is now: the best twin that there could be, and only an emulator has it.

    Its J^T d is autograd's, inside this class alone.
    """

    macs = 0

    def __init__(self, emulator: Emulator, controls: Float[Tensor, "controls"]) -> None:
        self.emulator, self.controls = copy.deepcopy(emulator), controls.clone()

    def respond(self, x: Float[Tensor, "batch drives"]) -> Float[Tensor, "batch out"]:
        """The emulator's response, without a detector's noise."""
        with torch.no_grad():
            return self.emulator.respond(x, self.controls)

    def respond_t(
        self, d: Float[Tensor, "batch out"], at: Float[Tensor, "batch drives"]
    ) -> Float[Tensor, "batch drives"]:
        """The emulator's own slope."""
        with torch.enable_grad():
            x = at.detach().clone().requires_grad_()
            (found,) = torch.autograd.grad(self.emulator.respond(x, self.controls), x, d)
        return found


class Linear(Twin):
    """y = A x + b by least squares: the linear part of the physics on what it was measured with."""

    def __init__(self, x: Float[Tensor, "pairs drives"], y: Float[Tensor, "pairs out"]) -> None:
        self.A, self.b = _least_squares(x, y, 1e-6)
        self.macs = self.A.numel()

    def respond(self, x: Float[Tensor, "batch drives"]) -> Float[Tensor, "batch out"]:
        """A x + b."""
        return x @ self.A.T + self.b

    def respond_t(
        self, d: Float[Tensor, "batch out"], at: Float[Tensor, "batch drives"]
    ) -> Float[Tensor, "batch drives"]:
        """A^T d."""
        return d @ self.A


class Quadratic(Twin):
    """y = A [x; x_i x_j, i <= j] + b by regularised least squares."""

    def __init__(self, x: Float[Tensor, "pairs drives"], y: Float[Tensor, "pairs out"]) -> None:
        n = x.shape[1]
        self.i, self.j = torch.triu_indices(n, n)
        self.scale = x.std(0).mean() + 1e-12
        self.A, self.b = _least_squares(self._features(x), y, 1e-4)
        self.macs = self.A.numel() + len(self.i)

    def respond(self, x: Float[Tensor, "batch drives"]) -> Float[Tensor, "batch out"]:
        """A [x; x x^T] + b."""
        return self._features(x) @ self.A.T + self.b

    def respond_t(
        self, d: Float[Tensor, "batch out"], at: Float[Tensor, "batch drives"]
    ) -> Float[Tensor, "batch drives"]:
        """By the product rule."""
        n = at.shape[1]
        back, x = d @ self.A, at / self.scale
        found = back[:, :n].clone()
        found.index_add_(1, self.i, back[:, n:] * x[:, self.j])
        found.index_add_(1, self.j, back[:, n:] * x[:, self.i])
        return found / self.scale

    def _features(self, x: Tensor) -> Tensor:
        x = x / self.scale
        return torch.cat([x, x[:, self.i] * x[:, self.j]], 1)


class Mlp(Twin):
    """y = A x + b + m(x), m a net with SiLU units fitted to what the linear part leaves.

    Adam with a rate that falls as a cosine, on standardised pairs; backpropagation written out.
    """

    def __init__(
        self,
        x: Float[Tensor, "pairs drives"],
        y: Float[Tensor, "pairs out"],
        *,
        hidden: Sequence[int] = (128, 128),
        epochs: int = 40,
        rate: float = 3e-3,
        batch: int = 100,
        seed: int = 0,
    ) -> None:
        self.linear = Linear(x, y)
        rest = y - self.linear.respond(x)
        self.x0, self.xs = x.mean(0), x.std(0) + 1e-9
        self.ys = rest.std(0) + 1e-9
        widths = (x.shape[1], *hidden, y.shape[1])
        draw = torch.Generator().manual_seed(seed)
        self.W = [
            torch.randn(o, i, generator=draw, dtype=x.dtype) * (2 / i) ** 0.5 for i, o in pairwise(widths)
        ]
        self.W[-1] *= 0.1  # begin near the linear part
        self.b = [x.new_zeros(o) for o in widths[1:]]
        self.macs = self.linear.macs + sum(w.numel() for w in self.W)
        self._fit((x - self.x0) / self.xs, rest / self.ys, epochs, rate, batch, draw)

    def respond(self, x: Float[Tensor, "batch drives"]) -> Float[Tensor, "batch out"]:
        """The linear part and the net."""
        return self.linear.respond(x) + self.ys * self._forward((x - self.x0) / self.xs)[-1]

    def respond_t(
        self, d: Float[Tensor, "batch out"], at: Float[Tensor, "batch drives"]
    ) -> Float[Tensor, "batch drives"]:
        """Both parts backwards."""
        signals = self._forward((at - self.x0) / self.xs)
        back = self._backward(d * self.ys, signals)[0]
        return self.linear.respond_t(d, at) + back / self.xs

    def _forward(self, x: Tensor) -> list[Tensor]:
        """x, then of every layer its sum z; the last is the output."""
        found, a = [x], x
        for place, (w, b) in enumerate(zip(self.W, self.b, strict=True)):
            z = torch.addmm(b, a, w.T)
            found.append(z)
            a = z * torch.sigmoid(z) if place < len(self.W) - 1 else z
        return found

    def _backward(self, d: Tensor, signals: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Gradient by the input, and those by W and b in order."""
        found: list[Tensor] = []
        for place in reversed(range(len(self.W))):
            z = signals[place]
            s = torch.sigmoid(z)
            a = z * s if place else z
            found = [d.T @ a, d.sum(0), *found]
            d = d @ self.W[place]
            if place:
                d = d * (s * (1 + z * (1 - s)))
        return d, found

    def _fit(self, x: Tensor, y: Tensor, epochs: int, rate: float, batch: int, draw: torch.Generator) -> None:
        weights = [part for pair in zip(self.W, self.b, strict=True) for part in pair]
        first, second = ([torch.zeros_like(w) for w in weights] for _ in range(2))
        steps = epochs * -(-len(x) // batch)
        step = 0
        for _ in range(epochs):
            for chosen in torch.randperm(len(x), generator=draw).split(batch):
                step += 1
                signals = self._forward(x[chosen])
                _, gradients = self._backward(2 * (signals[-1] - y[chosen]) / len(chosen), signals)
                now = rate * 0.5 * (1 + torch.cos(torch.tensor(torch.pi * step / steps)).item())
                for w, g, m, v in zip(weights, gradients, first, second, strict=True):
                    m.mul_(0.9).add_(g, alpha=0.1)
                    v.mul_(0.999).addcmul_(g, g, value=0.001)
                    size = (v / (1 - 0.999**step)).sqrt_().add_(1e-8)
                    w.addcdiv_(m, size, value=-now / (1 - 0.9**step))


@dataclass(frozen=True)
class Report:
    """Share of the response's variance that each twin explains on held-out pairs, and the one chosen."""

    r2: dict[str, float]
    chosen: str

    @property
    def linear_share(self) -> float:
        """How linear the layer is."""
        return self.r2["linear"]

    def text(self) -> str:
        """In a line."""
        found = ", ".join(f"{kind} {value:.4f}" for kind, value in self.r2.items())
        return f"this layer is {self.linear_share:.1%} linear; R² of twins: {found}; chosen: {self.chosen}"


class DigitalTwin(Twin):
    """The best of the kinds of twin that were tried, by held-out pairs."""

    def __init__(self, model: Twin, found: Report) -> None:
        self.model, self._report, self.macs = model, found, model.macs

    @classmethod
    def fit(
        cls,
        x: Float[Tensor, "pairs drives"],
        y: Float[Tensor, "pairs out"],
        kinds: Sequence[str] = KINDS,
    ) -> DigitalTwin:
        """Fit to measured pairs; every tenth is held out. Linear is always among the kinds.

        Raises:
            ConfigError: a kind that there is not, or fewer than 20 pairs.
        """
        if len(x) < 20:
            raise ConfigError(f"twin: {len(x)} pairs are too few: measure at least 20")
        held = torch.arange(len(x)) % 10 == 9
        made: dict[str, Twin] = {}
        for kind in dict.fromkeys(("linear", *kinds)):
            if kind not in KINDS:
                raise ConfigError(f"twin: {kind!r}: {nearest(kind, KINDS)}")
            if kind == "quadratic" and x.shape[1] * (x.shape[1] + 3) // 2 > _WIDEST:
                continue
            made[kind] = {"linear": Linear, "quadratic": Quadratic, "mlp": Mlp}[kind](x[~held], y[~held])
        r2 = {kind: explained(twin.respond(x[held]), y[held]) for kind, twin in made.items()}
        chosen = max(r2, key=lambda kind: r2[kind])
        return cls(made[chosen], Report(r2, chosen))

    def report(self) -> Report:
        """How well each kind did."""
        return self._report

    def respond(self, x: Float[Tensor, "batch drives"]) -> Float[Tensor, "batch out"]:
        """The chosen model's."""
        return self.model.respond(x)

    def respond_t(
        self, d: Float[Tensor, "batch out"], at: Float[Tensor, "batch drives"]
    ) -> Float[Tensor, "batch drives"]:
        """The chosen model's."""
        return self.model.respond_t(d, at)


def explained(found: Float[Tensor, "pairs out"], y: Float[Tensor, "pairs out"]) -> float:
    """R²: 1 - squared error / squared deviation from each output's mean, over all outputs."""
    off = ((y - y.mean(0)) ** 2).sum()
    return float(1 - ((found - y) ** 2).sum() / off.clamp(min=1e-30))


def _least_squares(x: Tensor, y: Tensor, penalty: float) -> tuple[Tensor, Tensor]:
    """A and b of y = A x + b; the penalty is a share of the features' mean square."""
    x0, y0 = x.mean(0), y.mean(0)
    off = (x - x0).double()
    gram = off.T @ off
    gram.diagonal().add_(penalty * gram.diagonal().mean() + 1e-12)
    found = torch.linalg.solve(gram, off.T @ (y - y0).double()).T.to(x.dtype)
    return found, y0 - found @ x0
