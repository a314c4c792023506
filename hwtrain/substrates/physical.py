"""A piece of physics as a layer: it can be measured, disturbed, and where it has controls, tuned.

No weight is ever written: what learns is an ordinary layer behind it, or the controls.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import forward_ad

from hwtrain.arith.threefry import Purpose, Stream
from hwtrain.cards import PhysicalCard
from hwtrain.direction import Controls, Direction, Seeded
from hwtrain.errors import IncompatibleRule
from hwtrain.physical.conditioner import Conditioner
from hwtrain.physical.emulators.base import Emulator
from hwtrain.physical.instrument import Instrument, connect
from hwtrain.physical.twin import Twin
from hwtrain.substrates.base import Array, Geometry, Substrate, Trial


@dataclass(frozen=True)
class Capabilities:
    """What a physical layer offers, for people and reports; rules go by its ports."""

    reciprocal: bool
    stateful: bool
    controls: int
    input_range: tuple[float, float]
    latency_s: float | None
    energy_J: float | None
    batch_max: int | None


class PhysicalArray(Array):
    """Physics between a conditioner and a detector.

    Ports: ``read`` always; ``read_t`` and ``model`` with a twin, ``read_t`` with reciprocity too;
    ``perturb`` and ``write`` (of controls) where there are controls; ``taps`` and ``clamp`` where its
    emulator has them. A measurement leaves torch as plain numbers: no gradient can follow it.
    """

    takes = (Seeded, Controls)

    def __init__(self, card: PhysicalCard, geometry: Geometry, trial: Trial) -> None:
        super().__init__(geometry, trial)
        if geometry.groups != 1:
            raise IncompatibleRule(f"layer {geometry.path}: physics has no groups: use the layer physical")
        self.card = card
        self.conditioner = Conditioner(card.drive)
        self._streams = {purpose: trial.streams.stream(purpose, geometry.number) for purpose in Purpose}
        drives = self.conditioner.width(geometry.in_)
        self.source: Emulator | Instrument
        if card.instrument is not None:
            self.source = connect(card.instrument, geometry.path, geometry.out)
            self.controls = torch.zeros(0, dtype=trial.dtype)
        else:
            kind, params = card.emulator()
            draw = _Draws(self._streams[Purpose.PHYSICS], trial.dtype)
            try:
                emulator: Emulator = kind(params, drives, geometry.out, draw, trial.dtype)
            except ValueError as problem:
                raise IncompatibleRule(f"layer {geometry.path}: {problem}") from None
            self.source, self.controls = emulator, emulator.controls
        self.twin: Twin | None = None
        """A model of the physics, from its drive to its response."""
        self.stand_in: Twin | None = None
        """What answers in place of the physics: a twin that is trained on, or a control."""
        self._shift: Tensor | None = None
        self._passes = 0
        self._disturbances = 0
        self._looks: tuple[object, int] = (None, 0)
        chosen = self._streams[Purpose.FAULTS].at(0).uniform(geometry.out)
        self.alive = torch.from_numpy(chosen).to(trial.dtype) >= card.detector.dead
        self._settle_ports()

    @property
    def capabilities(self) -> Capabilities:
        """What it offers."""
        drive, cost = self.card.drive, self.card.pass_
        reciprocal = isinstance(self.source, Emulator) and self.source.reciprocal
        return Capabilities(
            reciprocal,
            cost.drift_per_1000 > 0,
            self.controls.numel(),
            (drive.low, drive.high),
            cost.latency_s,
            cost.energy_J,
            cost.batch_max,
        )

    def read(self, x: Float[Tensor, "batch 1 in_"]) -> Float[Tensor, "batch 1 out"]:
        """A measurement, or what stands in for one."""
        return self.measure(x[:, 0])[:, None]

    def measure(
        self, x: Float[Tensor, "batch in_"], controls: Float[Tensor, "controls"] | None = None
    ) -> Float[Tensor, "batch out"]:
        """Drive the physics with x and read its response; counted sample by sample.

        Raises:
            IncompatibleRule: x belongs to an autograd graph, which cannot pass through a measurement.
        """
        drive, cut = self.conditioner.encode(self._plain(x))
        if self.stand_in is not None:
            self.trial.ledger.add(self.geometry.path, "model", macs=len(x) * self.stand_in.macs)
            return self.conditioner.decode(self.stand_in.respond(drive))
        self.trial.ledger.add(self.geometry.path, "read", reads=len(x), passes=len(x), cut_off=cut)
        y = self._response(drive, controls)
        return self.conditioner.decode(y)

    def pairs(self, x: Float[Tensor, "batch in_"]) -> tuple[Tensor, Tensor]:
        """Drives (batch, drives) and measured responses (batch, out), undecoded: what a twin is fitted to."""
        drive, _ = self.conditioner.encode(self._plain(x))
        self.trial.ledger.add(self.geometry.path, "read", reads=len(x), passes=len(x))
        return drive, self._response(drive, None)

    def attach(self, twin: Twin | None) -> None:
        """Give it a model of itself: from now on it has ``read_t`` and ``model``."""
        self.twin = twin
        self._settle_ports()

    def read_t(
        self, d: Float[Tensor, "batch 1 out"], at: Float[Tensor, "batch 1 in_"] | None = None
    ) -> Float[Tensor, "batch 1 in_"]:
        """J^T d at the inputs that the physics saw: by its twin, or by driving it backwards."""
        self._need("read_t")
        assert at is not None, "J depends on where it is taken"
        x = at[:, 0]
        drive, _ = self.conditioner.encode(x)
        d = d[:, 0]
        if self.twin is not None:
            if self.card.drive.decode != "none":
                d = self.conditioner.decode_t(d, self.twin.respond(drive) * self.alive)
            self.trial.ledger.add(self.geometry.path, "read_t", macs=2 * len(d) * self.twin.macs)
            return self.conditioner.encode_t(self.twin.respond_t(d * self.alive, drive), x)[:, None]
        assert isinstance(self.source, Emulator)
        self.trial.ledger.add(self.geometry.path, "read_t", reads=len(d), passes=len(d))
        back = self.source.respond_t(self._plain(d * self.alive), self._controls())
        return self.conditioner.encode_t(back, x)[:, None]

    def taps(
        self, x: Float[Tensor, "batch 1 in_"], d: Float[Tensor, "batch 1 out"]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Intensities (batch, controls) inside under x, under d backwards, under both (see the emulator)."""
        self._need("taps")
        self.trial.ledger.add(self.geometry.path, "taps", reads=3 * len(x), passes=3 * len(x))
        drive, _ = self.conditioner.encode(x[:, 0])
        found: tuple[Tensor, Tensor, Tensor] = self.source.taps(drive, d[:, 0] * self.alive, self._controls())  # type: ignore[union-attr]
        return found

    def clamp(
        self, x: Float[Tensor, "batch 1 in_"], target: Float[Tensor, "batch 1 out"], nudge: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Outputs (batch, 1, out) as signals, and the co-content by unit of conductance (batch, controls):
        with the outputs free, and held at V + nudge (target - V), V the free ones."""
        self._need("clamp")
        self.trial.ledger.add(self.geometry.path, "clamp", reads=2 * len(x), passes=2 * len(x))
        drive, _ = self.conditioner.encode(x[:, 0])
        source, controls = self.source, self._controls()
        assert isinstance(source, Emulator)
        volts = source.respond(drive, controls)
        held = volts + nudge * (target[:, 0] - volts)
        free, clamped = (source.strain(drive, controls, at) for at in (None, held))  # type: ignore[attr-defined]
        return self.conditioner.decode(volts)[:, None], free, clamped

    def start_at(self, number: int) -> None:
        """Let the next measurement in training have the noise of this pass, whoever counts them."""
        self._passes = number

    def disturb(self, kind: str, strength: float) -> None:
        """Let something happen to the physics: one of its emulator's disturbances, or "dead-port"
        (``strength`` is the share of outputs that die)."""
        draw = _Draws(self._streams[Purpose.DISTURB], self.trial.dtype, self._disturbances)
        self._disturbances += 1
        if kind == "dead-port":
            uniform = torch.special.ndtr(draw(self.geometry.out))
            self.alive = self.alive & (uniform >= strength)
        elif isinstance(self.source, Emulator):
            self.source.disturb(kind, strength, draw)
        else:
            raise IncompatibleRule(f"layer {self.geometry.path}: only an emulator can be disturbed on demand")

    def peek(self) -> Float[Tensor, "1 1 controls"]:
        """The controls."""
        return self.controls.clone()[None, None]

    def rewind(self) -> None:
        """Looks are numbered from 0 again."""
        self._looks = (None, 0)

    def state(self) -> dict[str, Tensor]:
        """Controls, the physics' hidden state, and how often it was measured and disturbed."""
        hidden = self.source.hidden()
        return {
            "controls": self.controls.clone(),
            "alive": self.alive.clone(),
            "counts": torch.tensor([self._passes, self._disturbances]),
            **{f"hidden.{name}": value for name, value in hidden.items()},
        }

    def restore(self, state: dict[str, Tensor]) -> None:
        """Undo of ``state``."""
        self.controls = state["controls"].to(self.controls, copy=True)
        self.alive = state["alive"].clone()
        self._passes, self._disturbances = (int(n) for n in state["counts"])
        inner = {n.removeprefix("hidden."): v for n, v in state.items() if n.startswith("hidden.")}
        self.source.restore(inner)

    def _response(self, drive: Tensor, controls: Tensor | None) -> Tensor:
        training = self.trial.ledger.clock.phase != "eval"
        with torch.no_grad():
            if isinstance(self.source, Emulator):
                used = self._controls() if controls is None else controls
                y = self._detected(self.source.respond(drive, used), training)
            else:
                y = self.source.measure(drive)
        drift = self.card.pass_.drift_per_1000 * len(drive) / 1000
        if training and drift > 0:
            self.disturb("drift", min(drift, 1.0))
        self._passes += training
        return y * self.alive

    def _detected(self, y: Tensor, training: bool) -> Tensor:
        """Noise and rounding of the detector."""
        its = self.card.detector
        if its.noise > 0 or its.shot_counts is not None:
            variance = torch.full_like(y, its.noise**2)
            if its.shot_counts is not None:  # Poisson of many counts is normal
                variance = variance + y.clamp(min=0) / its.shot_counts
            y = y + variance.sqrt() * self._normal(y, training)
        if its.adc_bits is not None:
            step = its.full_scale / 2**its.adc_bits
            y = ((y / step).round() * step).clamp(-its.full_scale, its.full_scale)
        return y

    def _normal(self, y: Tensor, training: bool) -> Tensor:
        """Noise of a reading; that of evaluation depends on the sample, and advances nothing."""
        clock = self.trial.ledger.clock
        if training:
            point, first = self._streams[Purpose.READ].at(self._passes), 0
        else:
            here = (clock.step, clock.sample)
            look = self._looks[1] + 1 if self._looks[0] == here else 0
            self._looks = (here, look)
            point, first = self._streams[Purpose.EVAL_READ].at(clock.step, 0, look), clock.sample * y.shape[1]
        elements = torch.arange(first, first + y.numel()).numpy().astype("uint32")
        return torch.from_numpy(point.normal(elements)).view_as(y).to(y)

    def _write(self, direction: Direction) -> None:
        change = direction.change if isinstance(direction, Controls) else None
        if isinstance(direction, Seeded):
            change = direction.c * self._push(direction.seed)
        assert change is not None
        self.controls = self._allowed(self.controls + change)

    def _perturb(self, seed: int, eps: float) -> None:
        self._shift = eps * self._push(seed) if eps != 0 else None

    def _push(self, seed: int) -> Tensor:
        return _Draws(self._streams[Purpose.PERTURB], self.trial.dtype, seed)(self.controls.numel())

    def _controls(self) -> Tensor:
        return self.controls if self._shift is None else self._allowed(self.controls + self._shift)

    def _allowed(self, controls: Tensor) -> Tensor:
        assert isinstance(self.source, Emulator)
        return controls.clamp(*self.source.limits)

    def _settle_ports(self) -> None:
        ports = {"read"}
        if self.controls.numel():
            ports |= {"perturb", "write"}
        if self.twin is not None:
            ports |= {"read_t", "model"}
        if self.capabilities.reciprocal and self.card.drive.decode == "none":
            ports.add("read_t")
        ports |= {port for port, of in (("taps", "taps"), ("clamp", "strain")) if hasattr(self.source, of)}
        self.ports = frozenset(ports)

    def _plain(self, x: Tensor) -> Tensor:
        """The numbers of x, outside of torch's graphs."""
        try:
            plain = torch.from_numpy(x.cpu().numpy()).to(self.trial.dtype)
        except (RuntimeError, NotImplementedError):  # it is part of a graph, or of a function transform
            plain = None
        if plain is None or forward_ad.unpack_dual(x).tangent is not None:
            raise IncompatibleRule(
                f"layer {self.geometry.path}: autograd cannot pass through a measurement: detach its input, "
                "and use a rule that needs no gradient of it, or a twin"
            )
        return plain

    def _read(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def _load(self, weights: Tensor) -> None:
        raise NotImplementedError


class _Draws:
    """Normal numbers, new ones at every call; ``step`` numbers the occasion."""

    def __init__(self, stream: Stream, dtype: torch.dtype, step: int = 0) -> None:
        self.stream, self.dtype, self.step, self.calls = stream, dtype, step, 0

    def __call__(self, *shape: int) -> Tensor:
        n = torch.Size(shape).numel()
        found = self.stream.at(self.step, self.calls).normal(n)
        self.calls += 1
        return torch.from_numpy(found).view(shape).to(self.dtype)


class Physical(Substrate):
    """The substrate of cards of kind ``physical``: home of the layer ``physical``, and of no weights."""

    def array(self, geometry: Geometry, trial: Trial) -> PhysicalArray:
        """A specimen with as many inputs and outputs."""
        assert isinstance(self.card, PhysicalCard)
        if not geometry.path.endswith(".medium"):
            raise IncompatibleRule(
                f"layer {geometry.path}: weights needs port load, which its substrate lacks (it has read): "
                "physics is a layer of its own (hwtrain/layers/physical.py); choose another --device here"
            )
        return PhysicalArray(self.card, geometry, trial)
