"""Chaotic cavity: waves among many modes of a random Hamiltonian, in and out through ports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from hwtrain.cards import key
from hwtrain.physical.emulators.base import Emulator, Normal, decorrelated, detected
from hwtrain.strict_toml import Strict

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class CavityParams(Strict):
    """Modes, walls and ports."""

    modes: int = key("modes in the band; at least the ports", "Weyl's law for its volume", ge=8, le=4096)
    coupling: float = key(
        "strength of a port's coupling: 1 lets a wave in without reflection",
        "mean reflection of a port",
        default=1.0,
        gt=0,
    )
    absorption: float = key(
        "rate of loss Gamma, in units of half the width of the band", "decay of an echo", default=0.0, ge=0
    )
    energy: float = key(
        "frequency at which it is driven, from -1 to 1 across the band", "set it", default=0.0, gt=-1, lt=1
    )
    quadratic: float = key("a2 of the source: it emits x + a2 x^2 + a3 x^3", "distortion of it", default=0.0)
    cubic: float = key("a3 of the source", "distortion of it", default=0.0)
    detection: Literal["modulus", "intensity", "homodyne"] = key(
        "what an output is of the wave: its modulus, its square, or its real part", "know the detector"
    )


class Cavity(Emulator):
    """y = |S_oi e|, e = x + a2 x^2 + a3 x^3, S the scattering matrix of in_ + out ports.

    S(E) = 1 - 2 pi i W^T (E - H + i pi W W^T + i Gamma/2)^-1 W (the Heidelberg form), with H (modes,
    modes) from the Gaussian orthogonal ensemble, its band from -1 to 1, and orthogonal columns of W of
    norm^2 coupling / 2 pi. S is symmetric; unitary where Gamma is 0.
    """

    Params = CavityParams
    disturbances = ("drift", "moved")
    held = ("H",)

    def build(self, normal: Normal) -> None:
        """Draw H and W."""
        import torch

        ports = self.in_ + self.out
        if ports > self.params.modes:
            raise ValueError(
                f"a cavity of {self.params.modes} modes has no {ports} ports: raise physics.modes"
            )
        self.H = goe(normal, self.params.modes)
        columns, _ = torch.linalg.qr(normal(self.params.modes, ports))
        self.W = columns * (self.params.coupling / (2 * torch.pi)) ** 0.5
        self._solved()

    def scattering(self) -> Tensor:
        """S (ports, ports) of the cavity as it is."""
        import torch

        w = self.W.to(self._complex())
        return torch.eye(w.shape[1], dtype=w.dtype) - 2j * torch.pi * (
            w.T @ torch.linalg.solve(self.resolvent_inverse(), w)
        )

    def resolvent_inverse(self) -> Tensor:
        """E - H + i pi W W^T + i Gamma/2, (modes, modes)."""
        import torch

        energy = (self.params.energy + 0.5j * self.params.absorption) * torch.eye(
            len(self.H), dtype=self.dtype
        )
        return energy - self.H + 1j * torch.pi * (self.W @ self.W.T)

    def respond(self, x: Tensor, controls: Tensor) -> Tensor:
        """Detect S_oi e."""
        import torch

        e = x + self.params.quadratic * x**2 + self.params.cubic * x**3
        field = torch.complex(e @ self.t.real.T, e @ self.t.imag.T)
        return detected(field, self.params.detection)

    def restore(self, hidden: dict[str, Tensor]) -> None:
        """Undo of ``hidden``."""
        super().restore(hidden)
        self._solved()

    def _solved(self) -> None:
        self.t = self.scattering()[self.in_ :, : self.in_]

    def _complex(self) -> torch.dtype:
        return self.H.dtype.to_complex()

    def _drift(self, strength: float, normal: Normal) -> None:
        """At 1 nothing of the Hamiltonian is left."""
        self.H = decorrelated(self.H, goe(normal, len(self.H)), strength)
        self._solved()

    def _moved(self, strength: float, normal: Normal) -> None:
        """At 1 a scatterer of the strength of the band, somewhere else (a change of rank 2)."""
        ways = normal(len(self.H), 2)
        ways = ways / ways.norm(dim=0)
        self.H = self.H + strength * (ways[:, :1] @ ways[:, :1].T - ways[:, 1:] @ ways[:, 1:].T)
        self._solved()


def goe(normal: Normal, n: int) -> Tensor:
    """A draw of the Gaussian orthogonal ensemble with its band from -1 to 1."""
    a = normal(n, n)
    return (a + a.T) / (8 * n) ** 0.5
