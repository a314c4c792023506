"""A crossbar as the kernels in C see it: its state in their order, and their calls for a recorder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hwtrain.arith.threefry import Purpose
from hwtrain.direction import Direction, Outer
from hwtrain.errors import IncompatibleRule
from hwtrain.kernels import periphery, xbar
from hwtrain.kernels.base import StepNumber
from hwtrain.synapse.cells.alternating_pair import AlternatingPair
from hwtrain.synapse.cells.unidirectional_ltp import UnidirectionalLtp
from hwtrain.synapse.conductances import PORTION
from hwtrain.synapse.laws.affine import STRAIGHT
from hwtrain.synapse.laws.base import WALKED, Branch, Stepwise
from hwtrain.synapse.lines import tiles
from hwtrain.synapse.updates.base import Update

if TYPE_CHECKING:
    from hwtrain.substrates.crossbar import CrossbarArray

_CONVERTED = "converted", "converted_t"
_SCRATCH, _SCRATCH_T = ("drive", "current", "power"), ("drive_t", "current_t", "power_t")
"""Of reads and of transposed reads in C: what converters counted, and their scratch."""
_FINE = 2e-7
"""What a conductance may be off by after any train, as a share of the range."""
_ENDLESS = "rounded-pulse", "mixed-precision"
"""Updates whose trains have no limit."""
_PAIRS = 256
"""The most pairs of a direction that a program writes one by one, each by calls of its own."""
_BEND = 1e-6
"""The least curvature where scatter is fine: a straight branch has steps that fade over a million ranges."""


class ForC:
    """A crossbar's array as the kernels in C see it: conductances (branches, groups, in_, out), tables."""

    def __init__(self, array: CrossbarArray, cell: str) -> None:
        self.array, self.cell = array, "single" if array.cell.from_zero else cell
        span, card = array._card.range, array._card
        self.lacks = {
            "pulses that grow, with reads of the state": card.pulse.incremental,
            "ageing": card.ageing is not None,
            "a branch that is shorter than the range": (span.up_from, span.down_from) != (0.0, 1.0),
            "resistive lines": card.read.line_ohm > 0,
        }
        self.law = "drawn-table" if array.cells.law.draws else str(card.response["law"])
        cells, (groups, out, in_) = array.cells, array.geometry.shape
        law = cells.law
        self.walked = isinstance(law, Stepwise)
        # In Python, trains longer than WALKED flow by another formula: C does not walk them.
        self.endless = array.options.update in _ENDLESS
        self.lacks[f"{array.options.update} of a law that is walked"] = self.walked and self.endless
        self.lacks[f"refreshes by more than {WALKED} pulses of a law that is walked"] = (
            self.walked
            and isinstance(array.cell, UnidirectionalLtp)
            and array.cell.refresh != "none"
            and max(cells.edges(way).numel() for way in array.cell.polarities) > WALKED
        )
        self.kind = self._kind()
        rows = (cells.low, cells.high, *self._way(cells.up), *self._way(cells.down))
        own = [row for row in rows if row.ndim]
        self.varies = sum(1 << k for k, row in enumerate(rows) if row.ndim)
        life = self._flat(cells.life) if cells.life.ndim else cells.life.reshape(1).cpu()

        def zeros(*shape: int, dtype: torch.dtype = torch.int32) -> Tensor:
            return torch.zeros(*shape, dtype=dtype)

        self.tensors = {
            "g": zeros(array.cell.branches, groups, in_, out, dtype=torch.float32),
            "wear": zeros(array.cell.branches, groups, in_, out),
            "turn": zeros(array.cell.weights if hasattr(array.cell, "turn") else 1, dtype=torch.uint8),
            "updates": zeros(1, dtype=torch.int64),
            "counts": zeros(xbar.THREADS, len(xbar.COUNTS), dtype=torch.int64),
            "own": self._portions(own) if own else zeros(1, dtype=torch.float32),
            "typical": torch.tensor([0.0 if row.ndim else float(row) for row in rows], dtype=torch.float32),
            "life": life.to(torch.int32),
            "bent": torch.tensor(
                [law.terms("up"), law.terms("down")] if isinstance(law, Stepwise) else [[0.0]]
            ),
            "edges_up": cells.edges("up").cpu(),
            "edges_down": cells.edges("down").cpu(),
            "columns": zeros(in_),
            "rows": zeros(out),
            "falling": zeros(out),
            "live": zeros(in_ + out),
            "sent": zeros(xbar.THREADS * 2 * out),
            "chi": zeros(1, dtype=torch.float32),
            "look": zeros(1, dtype=torch.int64),
            "zero": zeros(groups * in_ * out if array.update.shifts else 1, dtype=torch.float32),
            **{name: zeros(xbar.THREADS, len(periphery.COUNTS), dtype=torch.int64) for name in _CONVERTED},
            # A read and a read_t may run side by side.
            **{name: torch.zeros(groups * max(in_, out)) for name in (*_SCRATCH, *_SCRATCH_T)},
        }

    def filled(self) -> dict[str, Tensor]:
        """By the names of the kernel's parameters, the state as it stands."""
        array, tensors = self.array, self.tensors
        update = array.options.update
        for kind, name, known in (
            ("law", self.law, self.law in xbar.KNOWN["law"]),
            ("update", update, array.update.kernel is not None),
            ("cell", self.cell, self.cell in xbar.KNOWN["cell"]),
        ):
            if not known:
                raise IncompatibleRule(
                    f"layer {array.geometry.path}: the {kind} {name} has no kernel in C yet: "
                    "use --engine torch"
                )
        for what, there in self.lacks.items():
            if there:
                raise IncompatibleRule(
                    f"layer {array.geometry.path}: {what} of its card: no kernel in C yet: use --engine torch"
                )
        tensors["g"].copy_(self._flat(array.cells.g).view_as(tensors["g"]))
        tensors["wear"].copy_(self._flat(array.cells.wear).view_as(tensors["wear"]))
        if array._zero is not None:
            tensors["zero"].copy_(self._flat(array._zero))
        if isinstance(array.cell, AlternatingPair):
            tensors["turn"].copy_(self._flat(array.cell.turn))
        if isinstance(array.cell, UnidirectionalLtp):
            tensors["updates"].copy_(array.cell.updates)
        tensors["look"].fill_(int(array.trial.ledger.clock.step))
        return tensors

    def settle(self) -> dict[str, dict[str, int]]:
        """Give conductances and wear back; the counts by port, which are 0 again from now on."""
        array, tensors = self.array, self.tensors
        array.cells.g = self._unflat(tensors["g"]).to(array.cells.g)
        array.cells.wear = self._unflat(tensors["wear"]).to(array.cells.wear)
        if isinstance(array.cell, AlternatingPair):
            array.cell.turn = self._unflat(tensors["turn"]).to(array.cell.turn)
        if isinstance(array.cell, UnidirectionalLtp):
            array.cell.updates.copy_(tensors["updates"])
        found = {"write": dict(zip(xbar.COUNTS, tensors["counts"].sum(0).tolist(), strict=True))}
        if array._card.read.adc_bits is not None:
            converted = sum((tensors[name].sum(0) for name in _CONVERTED), torch.zeros(1, dtype=torch.int64))
            found["adc"] = dict(zip(periphery.COUNTS, converted.tolist(), strict=True))
        for name in ("counts", *_CONVERTED):
            tensors[name].zero_()
        return found

    def read(self, x: Tensor, *, transposed: bool) -> Tensor:
        """The kernel's call, for a recorder."""
        array, wires, clock = self.array, self.array._card.read, self.array.trial.ledger.clock
        if wires.dac_bits is None and wires.adc_bits is None and wires.noise_rel == 0:
            cells = self.tensors["g"], self.tensors["zero"]
            return (xbar.read_t if transposed else xbar.read)(*cells, x, self.cell)
        tile = wires.lines or x.shape[2]
        first = array._next_pass()
        for _ in tiles(x.shape[2], tile)[1:]:
            array._next_pass()  # every tile has noise of its own
        key = array._noise_stream(transposed=transposed).key
        given, scratch = self.tensors, _SCRATCH_T if transposed else _SCRATCH
        return (periphery.read_t if transposed else periphery.read)(
            given["g"],
            given["zero"],
            given["look"],
            given[_CONVERTED[transposed]],
            given[scratch[0]],
            given[scratch[1]],
            given[scratch[2]],
            x,
            cell=self.cell,
            dac=wires.dac_bits or 0,
            adc=wires.adc_bits or 0,
            tile=tile,
            full=float(array._full_scale(min(tile, x.shape[2]))),
            noise=float(wires.noise_rel * array.cell.slope),
            offset=float(array._floor()),
            key0=key[0],
            key1=key[1],
            number=first,
            step=StepNumber(clock.step),
            evaluating=int(clock.phase == "eval"),
        )

    def write_whole(self, direction: Direction) -> bool:
        """Record a direction as one call; False where the update takes it pair by pair."""
        array = self.array
        if not isinstance(direction, Outer):
            raise IncompatibleRule(
                f"layer {array.geometry.path}: port write has a kernel in C for Outer directions alone: "
                "use --engine torch"
            )
        if type(array.update).through is Update.through:
            self.write(direction.x, direction.d, direction.scale, 0)
            return True
        pairs = direction.x.shape[0] * array.geometry.groups
        if pairs > _PAIRS:
            raise IncompatibleRule(
                f"layer {array.geometry.path}: the update {array.options.update} writes {pairs} pairs a step "
                f"one by one, in C {_PAIRS} at most: use a smaller batch, or --engine torch"
            )
        return False

    def write(self, x: Tensor, d: Tensor, scale: float, first: int) -> None:
        """The kernel's call, for a recorder: x (pairs, parts, in_), d (pairs, parts, out)."""
        array, card = self.array, self.array._card
        assert array.update.kernel is not None  # or ``filled`` has refused
        memory = array.update.live()
        known = self.tensors | ({"chi": memory["chi"].view(-1)} if "chi" in memory else {})
        update, pulse = (array._streams[purpose].key for purpose in (Purpose.UPDATE, Purpose.PULSE))
        xbar.write(
            **{name: t for name, t in known.items() if name in xbar.write.tensors},
            x=x,
            d=d,
            first=first,
            scale=scale,
            dw=array.step,
            update=array.update.kernel,
            cell=self.cell,
            law=self.law,
            kind=self.kind,
            refresh=array.cell.refresh,
            refresh_every=array.cell.refresh_every,
            varies=self.varies,
            rel_range=card.variation.c2c_rel_range * array.cells.width,
            rel_step=card.variation.c2c_rel_step,
            update0=update[0],
            update1=update[1],
            pulse0=pulse[0],
            pulse1=pulse[1],
            step=StepNumber(array.trial.ledger.clock.step),
        )

    def _way(self, branch: Branch) -> tuple[Tensor, Tensor, Tensor]:
        """The first step, the mid-range one in units of it, the share of the travel that a pulse loses.

        The last is the affine law's. Where scatter is fine, the share of the width over which steps fade
        stands for the first step, which is that share of what a pulse loses.
        """
        if self.walked:
            half = self.array.cells.law.middle_step(Branch(torch.ones_like(branch.bend), branch.bend))
            return branch.step, half, torch.zeros(())
        width = self.array.cells.high - self.array.cells.low
        if self.kind == "fine":
            bend = branch.bend if abs(float(branch.bend)) > _BEND else branch.bend * 0 + _BEND
            return 1 / bend, 1 - bend / 2, (branch.step * bend / width).clamp(max=1.0)
        lost = (branch.step * branch.bend / width).clamp(max=1.0)
        return branch.step, 1 - branch.bend / 2, lost.masked_fill(lost.abs() < STRAIGHT, 0.0)

    def _kind(self) -> str:
        """How a step scatters; fine where no step's scatter is felt by the scatter of the later ones.

        With e = (lost sigma)^2 the variance of n pulses is n rho^(2n-2) ((1 + e')^n - 1) / (n e') in units
        of one pulse's, e' = e / rho^2. C takes 1 + e (n - 1) / 2 for the last factor; the deviation is off
        by the share n (e' - e) / 4 + (n e')^2 / 12, but for higher orders. And no pulse may pass the end of
        the steps, where the share that it loses would be more than all.
        """
        array, cells = self.array, self.array.cells
        sigma, kind = array._card.variation.c2c_rel_step, array._card.variation.c2c_kind
        longest, ways = xbar.BL_MAX, (cells.up, cells.down)
        if self.walked or any(way.bend.ndim for way in ways) or (sigma > 0 and kind == "add"):
            return kind
        if self.endless or isinstance(array.cell, UnidirectionalLtp):
            longest = max(longest, *(cells.edges(way).numel() for way in ("up", "down")))
        trains = {min(1 << k, longest) for k in range(5, longest.bit_length() + 1)}
        for way in ways:
            lost = way.step * way.bend / (cells.high - cells.low)
            rho, e = (1 - lost).clamp(min=1e-3), (lost * sigma) ** 2
            off = 0.0
            for n in trains if sigma > 0 else ():
                share = n * (e / rho**2 - e) / 4 + (n * e / rho**2) ** 2 / 12
                off = max(off, float((share * sigma * way.step * n**0.5 * rho ** (n - 1)).max()))
            if float(lost.max()) > 1 or off > _FINE:
                return kind
        return "fine"

    def _flat(self, cells: Tensor) -> Tensor:
        """Values of (branches, groups, out, in_) in C's order."""
        groups, out, in_ = self.array.geometry.shape
        return cells.cpu().view(-1, groups, out, in_).transpose(2, 3).reshape(-1)

    def _unflat(self, cells: Tensor) -> Tensor:
        groups, out, in_ = self.array.geometry.shape
        return cells.view(-1, groups, in_, out).transpose(2, 3).reshape(-1)

    def _portions(self, rows: list[Tensor]) -> Tensor:
        """Rows of parameters as (branches, portions, rows, PORTION), so that a portion's lie together."""
        branches, weights = self.array.cell.branches, self.array.cell.weights
        room = torch.ones(branches, len(rows), -(-weights // PORTION) * PORTION)
        for k, row in enumerate(rows):
            room[:, k, :weights] = self._flat(row).view(branches, weights)
        return room.view(branches, len(rows), -1, PORTION).transpose(1, 2).reshape(-1)
