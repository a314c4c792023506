"""Before a board is bought: whether a net trains in its memory, how long a step takes and what it costs.

The memory is the exported C's (hwtrain/export/mcu.py): one arena with all that learns and the temporaries,
the caller's input and output, the stack. Flash holds the code, the first weights, and two slots for what was
learned. Time and energy are hwtrain/program/cycles.py; ``low`` and ``high`` come from the ranges of the
card's constants alone, and say nothing of what the model leaves out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from pydantic import BaseModel

from hwtrain.analysis.code_size import code_size, guessed_size
from hwtrain.cards import Constant, Fp16Card, McuCard, card, cards
from hwtrain.config import TrainConfig, make_config
from hwtrain.errors import ConfigError, UnknownNameError, nearest
from hwtrain.export.host_c import missing
from hwtrain.export.mcu import HEAD, STACK
from hwtrain.net import Net
from hwtrain.nets.base import build
from hwtrain.program.cycles import Corner, Cost, codes, costs, machine, pick, total, uncounted
from hwtrain.program.ir import Call, Entry, Program
from hwtrain.program.lean import lean
from hwtrain.program.lower import lower
from hwtrain.program.plan import lifetimes, plan
from hwtrain.training.trial import Spec, place

STORE_HEAD = 24
"""Bytes at most of a slot in flash beside what was learned: its head, and rounding to a unit of writing."""
SMALLER = ("fp16-compensated", "fp16-stochastic")
"""Cards that keep less beside a weight than fp16 does."""


@dataclass(frozen=True)
class Ask:
    """What is to be planned; ``device`` is the arithmetic on cores that have FP16."""

    net: str
    shape: tuple[int, ...]
    classes: int
    rule: str = "backprop"
    batch: int = 1
    device: str = "fp16"
    rule_options: str | None = None


@dataclass(frozen=True)
class Run:
    """One run of an entry: cycles, and by card's range the shortest and longest; joules or None."""

    macs: int
    cycles: float
    seconds: float
    seconds_low: float
    seconds_high: float
    joule: float | None
    joule_low: float | None
    joule_high: float | None
    fast_bytes: float
    main_bytes: float
    kernels: dict[str, dict[str, float]]

    @property
    def macs_per_cycle(self) -> float:
        """Multiply-adds a cycle, all cores together."""
        return self.macs / self.cycles


@dataclass(frozen=True)
class Life:
    """A temporary in the arena: when it lives, in runs of calls, and where."""

    buffer: str
    first: int
    last: int
    offset: int
    nbytes: int


@dataclass(frozen=True)
class Planned:
    """A net on a card."""

    card: str
    title: str
    arithmetic: str
    ram: dict[str, int]
    ram_bytes: int
    flash: dict[str, int]
    code: str
    flash_bytes: int | None
    bound: int
    naive: int
    step: Run
    predict: Run
    statuses: dict[str, int]
    uncounted: list[str]
    unprinted: list[str]
    lives: list[Life] = field(repr=False)
    ends: list[float] = field(repr=False)

    @property
    def needs(self) -> int:
        """Bytes of RAM."""
        return sum(self.ram.values())

    @property
    def over(self) -> int:
        """Bytes by which it does not fit, RAM before flash; 0 where it fits."""
        flash = 0 if self.flash_bytes is None else sum(self.flash.values()) - self.flash_bytes
        return max(self.needs - self.ram_bytes, 0) or max(flash, 0)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        found = asdict(self)
        for one in ("lives", "ends"):
            del found[one]
        found["step"]["macs_per_cycle"] = self.step.macs_per_cycle
        found["predict"]["macs_per_cycle"] = self.predict.macs_per_cycle
        return found | {"needs": self.needs, "over": self.over, "fits": not self.over}


def targets(name: str) -> dict[str, McuCard]:
    """The card of this name, or all of kind mcu.

    Raises:
        UnknownNameError: no such card.
        ConfigError: a card of another kind.
    """
    known = {one: its for one, its in cards() if isinstance(its, McuCard)}
    if name == "all":
        return known
    try:
        found = card(name)
    except UnknownNameError:
        raise UnknownNameError(
            f"no microcontroller is called {name!r}: {nearest(name, [*known, 'all'])}"
        ) from None
    if not isinstance(found, McuCard):
        raise ConfigError(
            f"{name}: a card of kind {found.kind} is no microcontroller: name one of {', '.join(known)}"
        )
    return {name: found}


def shape_of(net: str, shape: str | None, classes: int | None) -> tuple[tuple[int, ...], int]:
    """What a net is for: as given, else widths say it, else images (3, 32, 32) of 10 classes."""
    widths = [int(part) for part in net.split("-") if part.isdigit()] if net[:1].isdigit() else []
    try:
        sides = tuple(int(part) for part in shape.split(",")) if shape else tuple(widths[:1]) or (3, 32, 32)
    except ValueError:
        sides = ()
    if not sides or min(sides) < 1:
        raise ConfigError(f"--shape {shape}: write sides of a sample, such as 64 or 3,32,32")
    return sides, classes or (widths[-1] if widths else 10)


def planned(ask: Ask, name: str, its: McuCard, *, compiled: bool = False) -> Planned:
    """A net on a card, whether it fits or not; with ``compiled``, its code is, if there is a compiler.

    Raises:
        ConfigError, ProgramError: there is no such net, or no program of it.
    """
    device = "float32" if its.core.code == "float32" else ask.device
    program = lean(program_of(ask, device))
    laid, code = plan(program), codes()[its.core.code]
    size = code_size(program, its.core.code) if compiled else guessed_size(program, its.core.code)
    buffers = program.buffers
    kept = HEAD + sum(
        -(-made.nbytes * made.copies // 8) * 8
        for made in buffers.values()
        if made.role in ("weight", "state")
    )
    kept = -(-kept // 64) * 64
    ram = {
        "weights and state": kept,
        "temporaries": laid.size,
        "input and label": sum(made.nbytes for made in buffers.values() if made.role in ("input", "label")),
        "output": sum(made.nbytes for made in buffers.values() if made.role == "output"),
        "stack": STACK,
    }
    flash = {
        "code": size.nbytes,
        "first weights": kept,
        "tables": sum(made.nbytes for made in buffers.values() if made.role == "const"),
        "two slots of what was learned": 2 * (kept + STORE_HEAD),
    }
    memory = its.memory
    level = memory.fast if memory.main is None else memory.main
    moves = memory.main is not None and sum(ram.values()) > memory.fast.bytes_.value
    runs = {entry: _run(program, entry, its, moves) for entry in ("step", "predict")}
    nodes = program.entries["step"]
    lives = [
        Life(one, first, last, laid.offsets[one], buffers[one].nbytes)
        for one, (first, last) in lifetimes(program.buffers, nodes).items()
    ]
    return Planned(
        card=name,
        title=its.device.title,
        arithmetic=device,
        ram=ram,
        ram_bytes=int(level.bytes_.value),
        flash=flash,
        code=size.says,
        flash_bytes=None if memory.flash is None else int(memory.flash.bytes_.value),
        bound=laid.bound,
        naive=sum(buffers[one].nbytes for one in laid.offsets),
        step=runs["step"],
        predict=runs["predict"],
        statuses=_statuses(its),
        uncounted=uncounted(program, code),
        unprinted=missing(program) if program.halves else [],
        lives=lives,
        ends=_ends(program, its, moves),
    )


def program_of(ask: Ask, device: str) -> Program:
    """The program of a training step with this arithmetic, as its layers compute."""
    if device != "float32" and not isinstance(card(device), Fp16Card):
        raise ConfigError(f"{device}: microcontrollers compute in FP16 here: use --device fp16")
    net: Net = build(ask.net, ask.shape, ask.classes, "relu")
    config: TrainConfig = make_config(
        device=device, rule=ask.rule, rule_options=ask.rule_options, batch=ask.batch
    )
    bound, _ = place(Spec("device", ask.rule, device, seed=0, lr=0.1), config, net)
    return lower(bound, ask.shape, ask.batch)


def refusal(ask: Ask, name: str, its: McuCard, found: Planned) -> str:
    """One line: by how much it does not fit, and what would."""
    what = "RAM" if found.needs > found.ram_bytes else "flash"
    needs = found.needs if what == "RAM" else sum(found.flash.values())
    room = found.ram_bytes if what == "RAM" else found.flash_bytes or 0
    head = f"{ask.net}: {name} lacks {_kb(found.over)} of {what}: it needs {_kb(needs)} and has {_kb(room)}"
    normed = any(kernel.startswith("norm.") for kernel in found.step.kernels)
    for told, smaller in _smaller(ask, normed):
        other = planned(smaller, name, its, compiled=True)
        if not other.over:
            takes = other.needs if what == "RAM" else sum(other.flash.values())
            return f"{head}: {told} would fit, with {_kb(takes)}"
    return f"{head}: take a smaller net or another card (--target all ranks them)"


def _smaller(ask: Ask, normed: bool) -> Iterator[tuple[str, Ask]]:
    """Changes that need less, the mildest first; ``normed``: it has normalisations, which can stand still."""
    given = asdict(ask)
    for device in SMALLER if ask.device == "fp16" else ():
        yield f"--device {device}", Ask(**given | {"device": device})
    batch = ask.batch // 2
    while batch >= 1:
        yield f"--batch {batch}", Ask(**given | {"batch": batch})
        batch //= 2
    if ask.rule != "shallow":
        given["rule_options"] = None
        yield "--rule shallow (the last layer learns)", Ask(**given | {"rule": "shallow"})
        if normed:
            still = given | {"rule": "shallow", "rule_options": "still=true"}
            yield "--rule shallow --rule-options still=true", Ask(**still)
        for device in SMALLER if ask.device == "fp16" else ():
            less = given | {"rule": "shallow", "batch": 1, "device": device}
            yield f"--rule shallow --batch 1 --device {device}", Ask(**less)
    elif normed and "still" not in (ask.rule_options or ""):
        options = ",".join(filter(None, [ask.rule_options, "still=true"]))
        yield f"--rule-options {options}", Ask(**given | {"rule_options": options})


def _kb(nbytes: float) -> str:
    return f"{nbytes / 1024:,.0f} kB"


def _run(program: Program, entry: Entry, its: McuCard, moves: bool) -> Run:
    corners: tuple[Corner, ...] = ("value", "best", "worst")
    made = {corner: costs(program, entry, machine(its, moves, corner)) for corner in corners}
    sums = {corner: total(found) for corner, found in made.items()}
    seconds = {
        corner: sums[corner]["cycles"] / pick("clock_Hz", its.core.clock_Hz, corner) for corner in corners
    }
    macs, power, mac = sums["value"]["macs"], its.energy.power_W, its.energy.mac_J
    joules: dict[Corner, float | None] = {
        corner: None if power is None else seconds[corner] * pick("power_W", power, corner)
        for corner in corners
    }
    least = joules["best"]
    if least is not None and mac is not None:
        least = min(least, macs * mac.value)
    return Run(
        macs=macs,
        cycles=sums["value"]["cycles"],
        seconds=seconds["value"],
        seconds_low=seconds["best"],
        seconds_high=seconds["worst"],
        joule=joules["value"],
        joule_low=least,
        joule_high=joules["worst"],
        fast_bytes=sums["value"]["fast_bytes"],
        main_bytes=sums["value"]["main_bytes"],
        kernels=_by_kernel(made["value"]),
    )


def _by_kernel(found: list[Cost]) -> dict[str, dict[str, float]]:
    """Calls, cycles, multiply-adds and what limits most of the cycles, the slowest first."""
    made: dict[str, dict[str, float]] = {}
    for one in found:
        row = made.setdefault(one.kernel, {"calls": 0, "cycles": 0.0, "macs": 0})
        row["calls"] += 1
        row["cycles"] += one.cycles
        row["macs"] += one.macs
        row[one.limit] = row.get(one.limit, 0.0) + one.cycles
    return dict(sorted(made.items(), key=lambda pair: -pair[1]["cycles"]))


def _ends(program: Program, its: McuCard, moves: bool) -> list[float]:
    """Seconds from the start of a step to the end of each of its calls; none where it has control flow."""
    if not all(isinstance(node, Call) for node in program.entries["step"]):
        return []
    done, found = 0.0, []
    for one in costs(program, "step", machine(its, moves)):
        done += one.cycles / its.core.clock_Hz.value
        found.append(done)
    return found


def _statuses(its: McuCard) -> dict[str, int]:
    """How many of the card's constants are published, derived and assumed."""
    found = {"published": 0, "derived": 0, "assumed": 0}

    def count(part: BaseModel) -> None:
        for name in type(part).model_fields:
            value = getattr(part, name)
            if isinstance(value, Constant):
                found[value.status] += 1
            elif isinstance(value, BaseModel):
                count(value)

    count(its)
    return found


def rank(found: list[Planned]) -> list[Planned]:
    """Those that fit before those that do not, then the fastest, or the one that lacks least, first."""
    return sorted(found, key=lambda one: (one.over > 0, one.over, one.step.seconds))
