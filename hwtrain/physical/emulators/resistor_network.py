"""Network of nonlinear resistors: inputs hold some nodes, the others settle, outputs are read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hwtrain.cards import key
from hwtrain.errors import HwtrainError
from hwtrain.physical.emulators.base import Emulator, Normal, decorrelated
from hwtrain.strict_toml import Strict

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


class ResistorNetworkParams(Strict):
    """Nodes and resistors; conductances in units of a typical one."""

    hidden: int = key("nodes that are neither input nor output", "count them", ge=0, le=4096)
    cubic: float = key("beta: a resistor carries G (v + beta v^3)", "its curve", default=0.0, ge=0)
    spread: float = key("sd of the logarithm of the first conductances", "measure them", default=0.5, ge=0)


class ResistorNetwork(Emulator):
    """Kirchhoff's current law at every free node: sum over its resistors of G f(v) = 0, f(v) = v + beta v^3.

    Held nodes: x, -x, +1 and -1 (volts), each with a resistor to every free node; free nodes: hidden and
    outputs, each two of which have a resistor. Solved by Newton's method. The state is the minimum of the
    co-content sum G F(v), F(v) = v^2/2 + beta v^4/4. Controls: the conductances, of the resistors to held
    nodes (free, held) in C order, then of those between free nodes (the upper triangle by rows).
    """

    Params = ResistorNetworkParams
    disturbances = ("drift",)
    held = ("wander",)
    limits = (0.01, 100.0)

    def build(self, normal: Normal) -> None:
        """Draw conductances."""
        import torch

        self.free, self.fixed = self.params.hidden + self.out, 2 * self.in_ + 2
        self.upper = torch.triu_indices(self.free, self.free, 1)
        resistors = self.free * self.fixed + self.upper.shape[1]
        self.controls = (self.params.spread * normal(resistors)).exp().clamp(*self.limits)
        self.wander = torch.zeros(resistors, dtype=self.dtype)

    def respond(self, x: Tensor, controls: Tensor) -> Tensor:
        """Potentials of the output nodes."""
        return self.settled(self._held(x), controls)[:, self.params.hidden :]

    def strain(self, x: Tensor, controls: Tensor, target: Tensor | None = None) -> Tensor:
        """F(v) of every resistor, (batch, resistors); the outputs held at ``target`` if given."""
        import torch

        at = self._held(x)
        u = self.settled(at, controls, target)
        v = torch.cat(
            [(at[:, None] - u[:, :, None]).flatten(1), u[:, self.upper[1]] - u[:, self.upper[0]]], 1
        )
        return v**2 / 2 + self.params.cubic * v**4 / 4

    def netlist(self, x: Float[Tensor, "in_"], controls: Float[Tensor, "controls"]) -> str:
        """The network under one sample as a circuit for ngspice (``ngspice -b FILE``).

        It prints v(out1), v(out2) .. . Nodes are held1 .., hidden1 .. and out1 ..; a resistor is a current
        source that follows its voltage.
        """
        to_held, between = self._conductances(controls)
        names = [f"hidden{k + 1}" for k in range(self.params.hidden)] + [
            f"out{k + 1}" for k in range(self.out)
        ]
        lines = ["* network of resistors I = G (v + beta v^3)", f".param beta={self.params.cubic!r}"]
        for k, volts in enumerate(self._held(x[None])[0].tolist(), start=1):
            lines.append(f"V{k} held{k} 0 {volts!r}")
        wires = [
            (f"held{k + 1}", names[i], g) for i, row in enumerate(to_held.tolist()) for k, g in enumerate(row)
        ]
        wires += [(names[i], names[k], float(between[i, k])) for i, k in self.upper.T.tolist()]
        for number, (a, b, g) in enumerate(wires, start=1):
            lines.append(f"B{number} {a} {b} I={g!r}*(V({a},{b})+beta*V({a},{b})*V({a},{b})*V({a},{b}))")
        outputs = " ".join(f"v({name})" for name in names[self.params.hidden :])
        lines += [".options reltol=1e-9 vntol=1e-12 abstol=1e-15", ".control", "set numdgt=12", "op"]
        return "\n".join([*lines, f"print {outputs}", "quit 0", ".endc", ".end"]) + "\n"

    def settled(self, at: Tensor, controls: Tensor, target: Tensor | None = None) -> Tensor:
        """Potentials of the free nodes (batch, free), from those of the held ones."""
        import torch

        to_held, between = self._conductances(controls)
        beta, n = self.params.cubic, self.params.hidden if target is not None else self.free
        total = torch.diag(to_held.sum(1) + between.sum(1)) - between
        pulled = at @ to_held.T
        rest = torch.zeros(len(at), 0, dtype=at.dtype) if target is None else target
        if target is not None:
            pulled = pulled[:, :n] - rest @ total[:n, n:].T
        u = torch.cat([torch.linalg.solve(total[:n, :n], pulled.T).T, rest], 1)
        if beta == 0 or n == 0:
            return u
        for _ in range(50):
            current = self._flow(at, u, to_held) + self._flow(u, u, between)
            slope = between * (1 + 3 * beta * (u[:, None] - u[:, :, None]) ** 2)
            own = slope.sum(2) + to_held.sum(1)
            own = own + 3 * beta * (at**2 @ to_held.T - 2 * u * (at @ to_held.T) + u**2 * to_held.sum(1))
            jacobian = slope[:, :n, :n] - torch.diag_embed(own[:, :n])
            step = torch.linalg.solve(jacobian, current[:, :n, None])[:, :, 0]
            u = torch.cat([u[:, :n] - step, rest], 1)
            if float(step.abs().max()) < torch.finfo(self.dtype).eps ** 0.5:  # its square is what is left
                return u
        raise HwtrainError("resistor-network: Newton's method does not settle: lower physics.cubic")

    def _flow(self, source: Tensor, u: Tensor, g: Tensor) -> Tensor:
        """sum_k g_ik f(source_k - u_i) by powers of u, which needs no (batch, nodes, nodes)."""
        beta, whole = self.params.cubic, g.sum(1)
        first, second, third = (source**power @ g.T for power in (1, 2, 3))
        cubes = third - 3 * u * second + 3 * u**2 * first - u**3 * whole
        return first - u * whole + beta * cubes

    def _conductances(self, controls: Tensor) -> tuple[Tensor, Tensor]:
        import torch

        g = controls * self.wander.exp()
        cut = self.free * self.fixed
        between = torch.zeros(self.free, self.free, dtype=g.dtype)
        between = between.index_put((self.upper[0], self.upper[1]), g[cut:])
        return g[:cut].view(self.free, self.fixed), between + between.T

    def _held(self, x: Tensor) -> Tensor:
        import torch

        one = torch.ones(len(x), 1, dtype=x.dtype)
        return torch.cat([x, -x, one, -one], 1)

    def _drift(self, strength: float, normal: Normal) -> None:
        """At 1 nothing of the conductances' own errors is left: sd 1 of the logarithm."""
        self.wander = decorrelated(self.wander, normal(len(self.wander)), strength)
