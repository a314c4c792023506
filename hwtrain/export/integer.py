"""Runs a program of whole numbers fast and exactly: products by torch, in a type that is proved enough.

    int8 by int8, sums below 2^31     torch._int_mm, where this torch has a right one
    sums below 2^24                   float32
    sums below 2^53                   float64
    else                              the kernel's NumPy meaning

Images keep the memory order in which a product leaves them, channels last, and patches are gathered when a
product asks for them. A convolution of 8 bits waits for its requantisation, and both are one pass in C
(conv8.py), where the processor has the instructions. Every kernel without a fast form here is run as the
interpreter runs it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import conv2d

from hwtrain.arith import pow2
from hwtrain.arith.fixed import requantize_codes
from hwtrain.errors import ProgramError
from hwtrain.export import conv8
from hwtrain.kernels.fixed import rounded
from hwtrain.program.bounds import bounds
from hwtrain.program.interpret import Interpreter
from hwtrain.program.ir import Call, Program, Ref, walk

_INT32, _FLOAT32, _FLOAT64 = 1 << 31, 1 << 24, 1 << 53
_FEW = 16
"""With fewer channels a group, torch's float32 convolution is faster than patches and small products."""


@cache
def has_int_mm() -> bool:
    """Whether torch._int_mm, which is private, is there and right: ends of int8, odd shapes."""
    try:
        for m, k, n in ((17, 4096, 3), (1, 2, 5), (33, 27, 40)):
            for fill in (-128, 127):
                a = torch.full((m, k), fill, dtype=torch.int8)
                b = (torch.arange(n * k).reshape(n, k) % 255 - 127).to(torch.int8)
                if not torch.equal(torch._int_mm(a, b.t()).long(), a.long() @ b.t().long()):
                    return False
    except (AttributeError, RuntimeError, TypeError):
        return False
    return True


def product(x: Tensor, w: Tensor, most: int) -> Tensor | None:
    """x (rows, in_) by w (out, in_), exact; no partial sum is above ``most``. None if no type is enough."""
    # With one term, or sides of 1 whose stride is odd, torch 2.13's CPU form returns what was in the memory.
    whole = x.dtype == w.dtype == torch.int8 and min(*x.shape, *w.shape) > 1
    if whole and most < _INT32 and has_int_mm():
        return torch._int_mm(x.contiguous(), w.t())
    for kind, limit in ((torch.float32, _FLOAT32), (torch.float64, _FLOAT64)):
        if most < limit:
            return (x.to(kind) @ w.to(kind).t()).to(torch.int64 if most >= _INT32 else torch.int32)
    return None


def patches(x: Tensor, side: int, stride: int, padding: int) -> Tensor:
    """(batch, channels, height, width) to (batch, rows, columns, side, side, channels), without a copy."""
    batch, channels, height, width = x.shape
    last = x.permute(0, 2, 3, 1)
    if padding:
        inner = last
        last = x.new_zeros(batch, height + 2 * padding, width + 2 * padding, channels)
        last[:, padding : padding + height, padding : padding + width] = inner
    last = last.contiguous()
    rows, columns = ((size - side) // stride + 1 for size in last.shape[1:3])
    image, line, place, _ = last.stride()
    steps = (image, line * stride, place * stride, line, place, 1)
    return last.as_strided((batch, rows, columns, side, side, channels), steps)


@dataclass(frozen=True)
class Filters:
    """Weights of a convolution as ``convolved`` wants them: made once, used for many batches.

    ``turned``: (groups, out, side * side * channels), channels last; for few channels also ``real``, float32.
    """

    side: int
    channels: int
    turned: Tensor
    real: Tensor | None


def filters(weights: Tensor, side: int, most: int) -> Filters:
    """Of weights (groups, out, in_), whose sums stay below ``most``."""
    groups, out, in_ = weights.shape
    channels = in_ // side**2
    square = weights.reshape(groups, out, channels, side, side)
    turned = square.permute(0, 1, 3, 4, 2).reshape(groups, out, in_)
    few = channels < _FEW and most < _FLOAT32
    real = square.float().flatten(0, 1).contiguous(memory_format=torch.channels_last) if few else None
    return Filters(side, channels, turned, real)


def convolved(x: Tensor, by: Filters, stride: int, padding: int, most: int) -> Tensor | None:
    """Images by filters, exact: (rows, groups, out); None as ``product``."""
    groups, out, in_ = by.turned.shape
    if by.real is not None:
        real = x.float().contiguous(memory_format=torch.channels_last)
        y = conv2d(real, by.real, stride=stride, padding=padding, groups=groups)
        return y.permute(0, 2, 3, 1).reshape(-1, groups, out).to(torch.int32)
    windows = patches(x, by.side, stride, padding)
    rows = math.prod(windows.shape[:3])
    split = windows.reshape(*windows.shape[:5], groups, by.channels)
    parts = [product(split[..., g, :].reshape(rows, in_), by.turned[g], most) for g in range(groups)]
    if any(part is None for part in parts):
        return None
    return parts[0][:, None] if groups == 1 else torch.stack(parts, 1)  # type: ignore[index, arg-type]


def requantize(acc: Tensor, shift: int, bits: int, rounding: str) -> Tensor:
    """hwtrain/arith/fixed.py's, on a tensor that may be overwritten and leaves room for half a last place."""
    high = (1 << (bits - 1)) - 1
    if shift <= 0:
        most = max(high >> -shift, 0) + 1
        acc = acc.clamp_(-most - 1, most) << -shift
    else:
        if rounding == "half-up":
            acc = acc.add_(1 << (shift - 1))
        elif rounding == "half-even":
            acc = acc.add_((acc >> shift) & 1).add_((1 << (shift - 1)) - 1)
        acc = acc.__irshift__(shift)
    return acc.clamp_(-high - 1, high).to(torch.int8 if bits == 8 else torch.int16)


@dataclass(frozen=True)
class Waiting:
    """A convolution that nobody has asked for yet: the product, its patches, and what is added to it."""

    read: Call
    patches: Call
    bias: NDArray[Any] | None = None

    def needs(self, buffer: str) -> bool:
        """Whether it is computed from this buffer."""
        return buffer in (next(iter(self.read.tensors.values())).buffer, self.patches.tensors["x"].buffer)


class IntegerMachine(Interpreter):
    """An interpreter whose temporaries may be torch's, in any order of memory.

    Raises:
        ProgramError: the program's signals are no whole numbers.
    """

    def __init__(self, program: Program) -> None:
        super().__init__(program)
        if program.listing.numbers is None:
            raise ProgramError(
                f"{program.listing.name}: float32 has no integer engine: use native or reference"
            )
        self.limits = bounds(program)
        self.readers = Counter(
            ref.buffer for nodes in program.entries.values() for call in walk(nodes) for ref in call.reads()
        )
        self.fast: dict[str, Tensor] = {}
        self.columns: dict[str, Call] = {}
        self.waiting: dict[str, Waiting] = {}
        self._weights: dict[str, Tensor] = {}
        self._filters: dict[str, Filters] = {}
        self._ready: dict[str, tuple[Any, conv8.Convolution8 | None]] = {}

    def _call(self, call: Call) -> None:
        for ref in call.writes():
            for name in [name for name, held in self.waiting.items() if held.needs(ref.buffer)]:
                self._back(name)
            self._weights.pop(ref.buffer, None)
            self._filters.pop(ref.buffer, None)
            self._ready.pop(ref.buffer, None)
        if self._put_off(call):
            return
        form = _FORMS.get(call.kernel)
        made = None if form is None else form(self, call)
        if made is None:
            for ref in call.writes():
                self._back(ref.buffer)
            super()._call(call)
            return
        for ref, values in zip(call.results, made, strict=True):
            buffer = self.program.buffers[ref.buffer]
            self._forget(ref.buffer)
            if buffer.role == "temp" and values.numel() == buffer.size:
                self.fast[ref.buffer] = values
            else:
                super()._view(ref)[...] = values.reshape(ref.shape).numpy()

    def _put_off(self, call: Call) -> bool:
        """Whether a call is done when somebody asks for its result, and not now."""
        name = call.results[0].buffer if call.results else ""
        if not name or self.program.buffers[name].role != "temp":
            return False
        if call.kernel == "im2col.im2col":
            self._forget(name)
            self.columns[name] = call
            return True
        found: Waiting | None = None
        if self.readers[name] != 1 or self.limits.get(name, _INT32) >= _INT32:
            return False
        if call.kernel in ("dense.read", "pot.read"):
            w, x = call.tensors.values()
            if x.buffer in self.columns and self._view(w).dtype == np.int8 and conv8.library() is not None:
                found = Waiting(call, self.columns[x.buffer])
        elif call.kernel == "bias.add" and call.tensors["y"].buffer in self.waiting:
            bias = requantize_codes(self._view(call.tensors["b"]), _number(call, "shift"), 63)
            if (bias == bias[:1]).all():  # the same for each sample
                before = self.waiting.pop(call.tensors["y"].buffer)
                found = Waiting(before.read, before.patches, bias[0].reshape(-1))
        if found is None:
            return False
        self._forget(name)
        self.waiting[name] = found
        return True

    def convolved8(self, ref: Ref, shift: int, rounding: str) -> Tensor | None:
        """A convolution that waits, requantised to 8 bits (batch, ...); None if it has no fast form."""
        held = self.waiting.get(ref.buffer)
        if held is None or self.limits[ref.buffer] + (1 << max(shift, 0)) >= _INT32:
            return None
        w = next(iter(held.read.tensors.values()))
        weights, sizes = self.weights(w), _sizes(held.patches)
        bias = np.zeros(weights.shape[:2], np.int64) if held.bias is None else held.bias
        wanted = bias.tobytes(), shift, rounding, sizes
        known, made = self._ready.get(w.buffer, (None, None))
        if known != wanted or w.turn is not None:
            side, stride, padding = sizes
            given = {"side": side, "stride": stride, "padding": padding, "shift": shift, "rounding": rounding}
            made = conv8.convolution8(weights, bias, **given)  # type: ignore[arg-type]
            self._ready[w.buffer] = wanted, made
        x = self.tensor(held.patches.tensors["x"])
        if made is None or x.dtype != torch.int8:
            return None
        del self.waiting[ref.buffer]
        return made(x).permute(0, 2, 3, 1)

    def _view(self, ref: Ref) -> NDArray[Any]:
        self._back(ref.buffer)
        return super()._view(ref)

    def tensor(self, ref: Ref) -> Tensor:
        """What a reference stands for, in the order of memory in which it lies."""
        held = self.fast.get(ref.buffer)
        if held is not None and held.numel() == math.prod(ref.shape):
            return held.reshape(ref.shape)
        return torch.from_numpy(self._view(ref))

    def weights(self, ref: Ref) -> Tensor:
        """Whole weights (groups, out, in_), those of codes as 2^k, in 8 bits if they fit."""
        if ref.buffer in self._weights:
            return self._weights[ref.buffer]
        held = self._view(ref)
        if ref.buffer.endswith("/codes"):
            wide = pow2.values(held)
            held = wide.astype("int8" if abs(wide).max() < 128 else "int32")
        found = torch.from_numpy(held.copy())
        if ref.turn is None:  # of two copies the current one changes without a write
            self._weights[ref.buffer] = found
        return found

    def filters(self, ref: Ref, side: int, most: int) -> Filters:
        """The same as filters; kept as long as they are."""
        held = self._filters.get(ref.buffer)
        if held is None or ref.turn is not None:
            held = self._filters[ref.buffer] = filters(self.weights(ref), side, most)
        return held

    def alone(self, ref: Ref) -> bool:
        """Whether one call reads a buffer, which may then be overwritten where it lies."""
        return self.readers[ref.buffer] == 1 and ref.buffer in self.fast

    def _back(self, buffer: str) -> None:
        """What is in torch's hands, or was put off, goes where the interpreter looks for it."""
        if buffer in self.columns:
            call = self.columns.pop(buffer)
            windows = patches(self.tensor(call.tensors["x"]), *_sizes(call))
            rows = windows.permute(0, 1, 2, 5, 3, 4).reshape(call.results[0].shape)
            super()._view(call.results[0])[...] = rows.numpy()
        late = self.waiting.pop(buffer, None)
        if late is not None:
            self.memory[buffer].reshape(-1)[:] = self._unfused(buffer, late).reshape(-1).numpy()
        held = self.fast.pop(buffer, None)
        if held is not None:
            self.memory[buffer].reshape(-1)[:] = held.reshape(-1).numpy()

    def _unfused(self, buffer: str, late: Waiting) -> Tensor:
        """The accumulators of a convolution that somebody else than a requantisation asks for."""
        w, sizes = next(iter(late.read.tensors.values())), _sizes(late.patches)
        most = self.limits[buffer]
        image = self.tensor(late.patches.tensors["x"])
        acc = convolved(image, self.filters(w, sizes[0], most), *sizes[1:], most)
        assert acc is not None  # sums of 8 bits by 8 bits, below 2^31
        return acc if late.bias is None else acc.flatten(1).long() + torch.from_numpy(late.bias)

    def _forget(self, buffer: str) -> None:
        self.columns.pop(buffer, None)
        self.waiting.pop(buffer, None)
        self.fast.pop(buffer, None)


_Made = tuple[Tensor, ...] | None
"""A call's results; None where only the interpreter will do."""


def _read(machine: IntegerMachine, call: Call) -> _Made:
    w, x = call.tensors.values()
    most = machine.limits[call.results[0].buffer]
    if x.buffer in machine.columns:
        put_off = machine.columns[x.buffer]
        image, sizes = machine.tensor(put_off.tensors["x"]), _sizes(put_off)
        by = machine.filters(w, sizes[0], most)
        found = convolved(image, by, *sizes[1:], most)
        return None if found is None else (found,)
    return _product(machine.tensor(x), machine.weights(w), most)


def _read_t(machine: IntegerMachine, call: Call) -> _Made:
    w, d = call.tensors.values()
    turned = machine.weights(w).transpose(1, 2).contiguous()
    return _product(machine.tensor(d), turned, machine.limits[call.results[0].buffer])


def _product(x: Tensor, weights: Tensor, most: int) -> _Made:
    """(rows, groups, in_) by (groups, out, in_), group by group."""
    parts = [product(x[:, group], weights[group], most) for group in range(len(weights))]
    if any(part is None for part in parts):
        return None
    return (torch.stack(parts, 1),)  # type: ignore[arg-type]


def _sizes(call: Call) -> tuple[int, int, int]:
    """Filter, stride and padding of an im2col."""
    return _number(call, "filter_"), _number(call, "stride"), _number(call, "padding")


def _bias_add(machine: IntegerMachine, call: Call) -> _Made:
    y, b = call.tensors["y"], call.tensors["b"]
    added = torch.from_numpy(requantize_codes(machine._view(b), _number(call, "shift"), 63))
    total, again = machine.tensor(y), machine.alone(y)
    added = added.to(total.dtype)
    if (added == added[:1]).all():  # the same for each sample: one pass over memory that lies as it likes
        added = added[:1]
    return (total.add_(added) if again else total + added,)


def _requantize(machine: IntegerMachine, call: Call) -> _Made:
    ref, shift = call.tensors["acc"], _number(call, "shift")
    if _number(call, "bits") == 8:
        whole = machine.convolved8(ref, shift, str(call.numbers["rounding"]))
        if whole is not None:
            return (whole,)
    acc = machine.tensor(ref)
    room = machine.limits[ref.buffer] + (1 << max(shift, 1))
    if room >= _INT32 and acc.dtype == torch.int32:
        acc = acc.long()
    elif not machine.alone(ref):
        acc = acc.clone()
    return (requantize(acc, shift, _number(call, "bits"), str(call.numbers["rounding"])),)


def _channels_first(machine: IntegerMachine, call: Call) -> _Made:
    return (machine.tensor(call.tensors["y"]).transpose(1, 2),)


def _channels_last(machine: IntegerMachine, call: Call) -> _Made:
    return (machine.tensor(call.tensors["d"]).transpose(1, 2),)


def _relu(machine: IntegerMachine, call: Call) -> _Made:
    ref = call.tensors["x"]
    x = machine.tensor(ref)
    return (x.clamp_(min=0) if machine.alone(ref) else x.clamp(min=0),)


def _add_outer(machine: IntegerMachine, call: Call) -> _Made:
    """Sums over pairs by products; then rounded and added as the kernel does."""
    numbers = {name: machine._number(value) for name, value in call.numbers.items()}
    x, d = machine.tensor(call.tensors["x"]), machine.tensor(call.tensors["d"])
    most = len(x) << (8 * x.element_size() + 8 * d.element_size() - 2)
    parts = [product(d[:, g].t(), x[:, g].t().contiguous(), most) for g in range(x.shape[1])]
    if any(part is None for part in parts):
        return None
    w = machine._view(call.tensors["w"])
    total = torch.stack(parts).long().numpy()  # type: ignore[arg-type]
    w[...] = requantize_codes(w + rounded(total, **numbers), 0, 8 * w.itemsize)
    return ()


def _number(call: Call, name: str) -> int:
    value = call.numbers[name]
    assert isinstance(value, int)
    return value


_FORMS: dict[str, Callable[[IntegerMachine, Call], _Made]] = {
    "dense.read": _read,
    "pot.read": _read,
    "dense.read_t": _read_t,
    "pot.read_t": _read_t,
    "bias.add": _bias_add,
    "fixed.requantize": _requantize,
    "fixed.add_outer": _add_outer,
    "layout.channels_first": _channels_first,
    "layout.channels_last": _channels_last,
    "relu.forward": _relu,
}
