"""Mesh of Mach-Zehnder interferometers: a programmable unitary matrix for light in waveguides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from hwtrain.cards import key
from hwtrain.physical.emulators.base import Emulator, Normal, decorrelated
from hwtrain.strict_toml import Strict

if TYPE_CHECKING:
    from torch import Tensor


class MeshParams(Strict):
    """How the interferometers lie, and what is wrong with them."""

    layout: Literal["clements", "reck"] = key("rectangle (clements) or triangle (reck)", "look")
    phase_error_rad: float = key(
        "sd of a phase's fixed error", "fringe of each interferometer", default=0.0, ge=0
    )
    splitter_error_rad: float = key(
        "sd of a splitter's angle about pi/4", "extinction of each interferometer", default=0.0, ge=0
    )
    loss_dB: float = key("loss of one interferometer", "paths of different length", default=0.0, ge=0)
    crosstalk: float = key(
        "share of a heater's phase that the next one above and below gets",
        "shift of the neighbour's fringe",
        default=0.0,
        ge=0,
        lt=0.5,
    )
    dac_bits: int = key("bits of a phase over 2 pi; 0 is continuous", "know it", default=0, ge=0, le=16)


class Mesh(Emulator):
    """y = Re(U x) on max(in_, out) waveguides, read by homodyne detectors; fields enter in phase.

    A block on two neighbours is B(pi/4 + e2) diag(exp(i theta), 1) B(pi/4 + e1) diag(exp(i phi), 1), with
    B(a) = [[cos a, i sin a], [i sin a, cos a]]. Controls, in radians: theta of every block, phi of every
    block (both in the order of the light), one phase a waveguide at the end.

    Light runs through it backwards as well: U^T, which is ``respond_t``.
    """

    Params = MeshParams
    disturbances = ("drift",)
    held = ("wander",)
    reciprocal = True

    def build(self, normal: Normal) -> None:
        """Lay the blocks, draw errors and first phases."""
        import torch

        self.width = max(self.in_, self.out)
        if self.width < 2:
            raise ValueError("a mesh needs two waveguides: make the layer wider")
        self.columns = [torch.tensor(column) for column in layout(self.params.layout, self.width)]
        blocks = sum(len(column) for column in self.columns)
        phases = 2 * blocks + self.width
        self.blocks = blocks
        self.controls = 2 * torch.pi * torch.special.ndtr(normal(phases))  # uniform over the circle
        self.error = self.params.phase_error_rad * normal(phases)
        self.splitters = torch.pi / 4 + self.params.splitter_error_rad * normal(2, blocks)
        self.wander = torch.zeros(phases, dtype=self.dtype)
        self._matrix: tuple[Tensor, Tensor, Tensor] | None = None

    def respond(self, x: Tensor, controls: Tensor) -> Tensor:
        """Re(U x)."""
        return x @ self.matrix(controls).real[: self.out, : self.in_].T

    def respond_t(self, d: Tensor, controls: Tensor) -> Tensor:
        """Re(U^T d): the same light the other way."""
        return d @ self.matrix(controls).real[: self.out, : self.in_]

    def matrix(self, controls: Tensor) -> Tensor:
        """U (width, width) as it stands; kept until controls or errors change."""
        import torch

        if self._matrix is None or self._matrix[0] is not controls or self._matrix[1] is not self.wander:
            every = torch.eye(self.width, dtype=self.dtype.to_complex())
            self._matrix = controls, self.wander, self.run(every, controls)[0].T
        return self._matrix[2]

    def taps(self, x: Tensor, d: Tensor, controls: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What detectors at the phase shifters see of three runs; (batch, phases) each.

        Light of x forwards: |f|^2. Light of d backwards: |a|^2; what comes out at the inputs, a_in, is
        recorded. Light of x + i conj(a_in) forwards: |f + i conj(a)|^2, for a mesh without loss runs the
        conjugate of a backward wave forwards.
        """
        field = self._padded(x)
        _, forward = self.run(field, controls)
        returned, backward = self.run_back(self._padded(d), controls)
        _, both = self.run(field + 1j * returned.conj(), controls)
        return tuple(wave.real**2 + wave.imag**2 for wave in (forward, backward, both))  # type: ignore[return-value]

    def run(self, field: Tensor, controls: Tensor) -> tuple[Tensor, Tensor]:
        """Fields (batch, width) through the mesh: what comes out, and what leaves each phase shifter."""
        import torch

        turn = self._turn(controls)
        theta, phi, last = turn.split([self.blocks, self.blocks, self.width])
        kept = 10 ** (-self.params.loss_dB / 20)
        inner, outer = [], []
        begin = 0
        for top in self.columns:
            its = slice(begin, begin + len(top))
            begin += len(top)
            upper, lower = field[:, top] * phi[its], field[:, top + 1]
            outer.append(upper)
            upper, lower = self._split(upper, lower, 0, its)
            upper = upper * theta[its]
            inner.append(upper)
            upper, lower = self._split(upper, lower, 1, its)
            field = field.index_copy(1, top, kept * upper).index_copy(1, top + 1, kept * lower)
        field = field * last
        return field, torch.cat([*inner, *outer, field], 1)

    def run_back(self, field: Tensor, controls: Tensor) -> tuple[Tensor, Tensor]:
        """Fields (batch, width) from the outputs: what leaves the inputs, and what enters each shifter."""
        import torch

        turn = self._turn(controls)
        theta, phi, last = turn.split([self.blocks, self.blocks, self.width])
        kept = 10 ** (-self.params.loss_dB / 20)
        ends = field
        field = field * last
        inner: list[Tensor] = []
        outer: list[Tensor] = []
        end = self.blocks
        for top in reversed(self.columns):
            its = slice(end - len(top), end)
            end -= len(top)
            upper, lower = self._split(kept * field[:, top], kept * field[:, top + 1], 1, its)
            inner.insert(0, upper)
            upper, lower = self._split(upper * theta[its], lower, 0, its)
            outer.insert(0, upper)
            field = field.index_copy(1, top, upper * phi[its]).index_copy(1, top + 1, lower)
        return field, torch.cat([*inner, *outer, ends], 1)

    def _split(self, upper: Tensor, lower: Tensor, which: int, its: slice) -> tuple[Tensor, Tensor]:
        angle = self.splitters[which, its]
        c, s = angle.cos(), 1j * angle.sin()
        return c * upper + s * lower, s * upper + c * lower

    def _turn(self, controls: Tensor) -> Tensor:
        """exp(i phase) of every shifter as its driver, its neighbours and its error make it."""
        import torch

        phase = controls
        if self.params.dac_bits:
            step = 2 * torch.pi / 2**self.params.dac_bits
            phase = (phase / step).round() * step
        if self.params.crosstalk:
            # heaters of one column of blocks, theta apart from phi, stand one above the other
            sizes = [len(column) for column in self.columns]
            warmed = []
            for part in phase.split([*sizes, *sizes, self.width]):
                near = torch.zeros_like(part)
                near[1:] += part[:-1]
                near[:-1] += part[1:]
                warmed.append(part + self.params.crosstalk * near)
            phase = torch.cat(warmed)
        phase = phase + self.error + self.wander
        return torch.polar(torch.ones_like(phase), phase)

    def _padded(self, x: Tensor) -> Tensor:
        import torch

        dark = torch.zeros(len(x), self.width - x.shape[1], dtype=x.dtype)
        return torch.cat([x, dark], 1).to(self.dtype.to_complex())

    def _drift(self, strength: float, normal: Normal) -> None:
        """At 1 nothing of the phases' fixed errors is left: sd 1 rad."""
        self.wander = decorrelated(self.wander, normal(len(self.wander)), strength)


def layout(name: str, width: int) -> list[list[int]]:
    """Upper waveguide of every block, by column: width (width - 1) / 2 blocks."""
    if name == "clements":
        return [column for t in range(width) if (column := list(range(t % 2, width - 1, 2)))]
    last = 2 * width - 4
    return [list(range(t % 2, min(t, last - t) + 1, 2)) for t in range(last + 1)]
