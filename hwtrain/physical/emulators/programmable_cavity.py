"""Chaotic cavity with a programmable boundary: the input sets the wall, and a fixed wave probes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from hwtrain.cards import key
from hwtrain.physical.emulators.base import Emulator, Normal, decorrelated, detected
from hwtrain.physical.emulators.cavity import goe
from hwtrain.strict_toml import Strict

if TYPE_CHECKING:
    from torch import Tensor


class ProgrammableCavityParams(Strict):
    """Modes, walls, ports and pixels."""

    modes: int = key("modes in the band", "Weyl's law for its volume", ge=8, le=4096)
    coupling: float = key(
        "strength of a port's coupling: 1 lets a wave in without reflection",
        "mean reflection of a port",
        default=1.0,
        gt=0,
    )
    absorption: float = key(
        "rate of loss Gamma, in units of half the width of the band", "decay of an echo", default=0.0, ge=0
    )
    pixel: float = key(
        "norm^2 of a pixel's coupling, in units of half the width of the band",
        "shift of a resonance as one pixel switches",
        gt=0,
    )
    detection: Literal["modulus", "intensity", "homodyne"] = key(
        "what an output is of the wave: its modulus, its square, or its real part", "know the detector"
    )


class ProgrammableCavity(Emulator):
    """y = |S_ok|, o the out ports, k one port with a wave of amplitude ``out``^1/2, H + sum_j x_j d_j d_j^T.

    The waves are linear; the response is not linear in x, which changes the room itself. With G the
    resolvent of the empty cavity and K = D^T G D, Woodbury's identity gives that of the room with pixels:
    G + G D (1 - X K)^-1 X D^T G.
    """

    Params = ProgrammableCavityParams
    disturbances = ("drift",)
    held = ("H",)

    def build(self, normal: Normal) -> None:
        """Draw H, W and the pixels."""
        import torch

        modes, ports = self.params.modes, self.out + 1
        if ports > modes:
            raise ValueError(f"a cavity of {modes} modes has no {ports} ports: raise physics.modes")
        self.H = goe(normal, modes)
        columns, _ = torch.linalg.qr(normal(modes, ports))
        self.W = columns * (self.params.coupling / (2 * torch.pi)) ** 0.5
        pixels = normal(modes, self.in_)
        self.D = pixels / pixels.norm(dim=0) * self.params.pixel**0.5
        self._solved()

    def respond(self, x: Tensor, controls: Tensor) -> Tensor:
        """One linear system of (in_, in_) a sample."""
        import torch

        b = x.to(self.K.dtype)
        room = torch.eye(self.in_, dtype=b.dtype) - b[:, :, None] * self.K
        pixels = torch.linalg.solve(room, (b * self.probe)[:, :, None])[:, :, 0]
        field = (self.empty + pixels @ self.seen.T) * self.out**0.5
        return detected(field, self.params.detection)

    def restore(self, hidden: dict[str, Tensor]) -> None:
        """Undo of ``hidden``."""
        super().restore(hidden)
        self._solved()

    def _solved(self) -> None:
        """What of the empty cavity every sample needs: all of it between ports and pixels."""
        import torch

        gamma = 0.5j * self.params.absorption * torch.eye(len(self.H), dtype=self.dtype)
        inverse = gamma - self.H + 1j * torch.pi * (self.W @ self.W.T)
        ends = torch.cat([self.W, self.D], 1).to(inverse.dtype)
        between = ends.T @ torch.linalg.solve(inverse, ends)
        ports = self.out + 1
        self.K = between[ports:, ports:]
        self.probe = between[ports:, 0]
        self.empty = -2j * torch.pi * between[1:ports, 0]
        self.seen = -2j * torch.pi * between[1:ports, ports:]

    def _drift(self, strength: float, normal: Normal) -> None:
        """At 1 nothing of the Hamiltonian is left."""
        self.H = decorrelated(self.H, goe(normal, len(self.H)), strength)
        self._solved()
