"""The start of a net in strips of rows, so that none of its images is ever whole; not a bit changes.

An image that only convolutions and kernels that go value by value read is made some rows at a time, and
these as late as can be: whoever makes rows of an image asks for those of the image below. Each strip is a
buffer of its own, so the memory plan keeps it until its last reader and no longer. A value is computed as
it always is, and once. Images that something else reads as well, a gradient say, are put together.

Kernels: hwtrain/kernels/strip.py.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from hwtrain.program.ir import Buffer, Call, Format, Number, Program, Ref

LOCAL = {
    "affine.add": ("x",),
    "affine.scale": ("x",),
    "norm.frozen_forward": ("x",),
    "relu.forward": ("x",),
    "sigmoid.forward": ("x",),
    "tanh.forward": ("x",),
    "vector.add": ("a", "b"),
}
"""Kernels whose first result has in each row what the same row of these operands makes."""
CONV = "conv.forward"
LANES = 16


def strips(program: Program, calls: list[Call], rows: int) -> tuple[list[Call], dict[str, Buffer]] | None:
    """The calls with images as high as x made ``rows`` rows at a time, lower ones fewer; and all buffers.

    None where no image need be whole less.
    """
    return _Strips(program, calls, rows).all()


@dataclass(frozen=True)
class _Image:
    """Sides of an image, and the number of the call that makes it."""

    batch: int
    channels: int
    height: int
    width: int
    maker: int = -1

    def strip(self, rows: int, dimensions: int) -> tuple[int, ...]:
        if dimensions == 4:
            return self.batch, self.channels, rows, self.width
        return self.batch, self.channels, rows * self.width


@dataclass(frozen=True)
class _Part:
    first: int
    end: int
    buffer: str


class _Strips:
    def __init__(self, program: Program, calls: list[Call], rows: int) -> None:
        self.calls, self.rows = calls, rows
        self.buffers = dict(program.buffers)
        self.made: list[Call] = []
        self._begun: set[str] = set()
        self._chosen()

    def all(self) -> tuple[list[Call], dict[str, Buffer]] | None:
        """Those before the strips that they need, the strips, and the rest."""
        if not self.images.keys() - self.whole - {"x"}:
            return None
        chosen = {image.maker for image in self.images.values()} - {-1}
        reads = {ref.buffer for number in chosen for ref in self.calls[number].reads()}
        late = self.images.keys() - {"x"}  # what strips make, and what is made of that
        before: list[Call] = []
        after: list[Call] = []
        between = range(min(chosen), max(chosen) + 1)
        for number in between:
            call = self.calls[number]
            if number in chosen:
                continue
            writes = {ref.buffer for ref in call.writes()}
            waits = any(ref.buffer in late for ref in call.reads())
            (after if waits else before).append(call)
            late |= writes if waits else set()
            if writes & reads and (waits or any(self._written[name] > 1 for name in writes)):
                return None
        self._spaced()
        self._made()
        calls = self.calls
        return [*calls[: between[0]], *before, *self.made, *after, *calls[between[-1] + 1 :]], self.buffers

    def _chosen(self) -> None:
        """Which images are made in strips, and which of them are put together for others."""
        touched = Counter(ref.buffer for call in self.calls for ref in (*call.reads(), *call.writes()))
        self._written = Counter(ref.buffer for call in self.calls for ref in call.writes())
        self._written.update({name: 1 for name, buffer in self.buffers.items() if buffer.role != "temp"})
        self._alone = {name for name, times in touched.items() if times == 1}
        x = self.buffers["x"]
        barred: set[int] = set()
        while True:
            self.images: dict[str, _Image] = {}
            if len(x.shape) == 4:
                self.images["x"] = _Image(*x.shape)
            for number, call in enumerate(self.calls):
                image = None if number in barred else self._image(number, call)
                if image is not None:
                    self.images[call.results[0].buffer] = image
            chosen = {image.maker for image in self.images.values()}
            read = {
                ref.buffer
                for number, call in enumerate(self.calls)
                if number not in chosen
                for ref in call.reads()
            }
            self.whole = (self.images.keys() & read) - {"x"}
            again = {
                number
                for number in chosen - {-1}
                if any(ref.buffer in self.whole for ref in self._operands(self.calls[number]))
            }
            if not again:
                break
            barred |= again

    def _operands(self, call: Call) -> list[Ref]:
        """The images that it reads."""
        names = ("x",) if call.kernel == CONV else LOCAL.get(call.kernel, ())
        return [call.tensors[name] for name in names]

    def _image(self, number: int, call: Call) -> _Image | None:
        """What it makes, if that is an image that can be made in strips."""
        given = self._operands(call)
        if not given or any(ref.buffer not in self.images or ref.offset for ref in given):
            return None
        made, *others = call.results
        image = self.images[given[0].buffer]
        height, width = image.height, image.width
        if call.kernel == CONV:
            filter_, stride, padding = _window(call)
            height, width = ((side + 2 * padding - filter_) // stride + 1 for side in (height, width))
        channels = made.shape[1] if len(made.shape) > 2 else 0
        found = _Image(image.batch, channels, height, width, number)
        if (
            self._each(found) < 2  # whose neighbours would be copied more often than they are used
            or self.buffers[made.buffer].role != "temp"
            or self.buffers[made.buffer].size != found.batch * found.channels * found.height * found.width
            or self._written[made.buffer] > 1
            or any(ref.buffer not in self._alone for ref in others)
            or list(call.writes()) != list(call.results)
        ):
            return None
        return found

    def _each(self, image: _Image) -> int:
        """Rows of its strips."""
        return max(1, self.rows * image.height // self.images["x"].height)

    def _spaced(self) -> None:
        """Where the strips of each image end, so that they are what the next image's strips ask for."""
        ends = dict.fromkeys(self.whole, 0)
        for name, image in reversed(self.images.items()):
            if image.maker < 0:
                continue
            off = ends[name]
            call = self.calls[image.maker]
            if call.kernel == CONV:
                filter_, stride, padding = _window(call)
                off = stride * off + filter_ - padding - stride
            for ref in self._operands(call):
                ends[ref.buffer] = max(off, ends.get(ref.buffer, off))
        self._ends = ends
        self._parts: dict[str, list[_Part]] = {name: [] for name in self.images}
        if "x" in self.images:
            self._parts["x"] = [_Part(0, self.images["x"].height, "x")]

    def _made(self) -> None:
        """Of images that are put together, always the one of which least is there."""
        while waiting := [name for name in self.whole if self._done(name) < self.images[name].height]:
            name = min(waiting, key=lambda name: (self._done(name) / self.images[name].height, name))
            self._ask(name, self._done(name) + 1)

    def _done(self, name: str) -> int:
        parts = self._parts[name]
        return parts[-1].end if parts else 0

    def _ask(self, name: str, until: int) -> None:
        """Make strips until there are so many rows."""
        height = self.images[name].height
        each = self._each(self.images[name])
        off = self._ends[name]
        while (first := self._done(name)) < min(until, height):
            end = min(first + each - (first - off) % each, height)
            self._strip(name, first, end)

    def _strip(self, name: str, first: int, end: int) -> None:
        image = self.images[name]
        call = self.calls[image.maker]
        tensors, numbers = dict(call.tensors), dict(call.numbers)
        if call.kernel == CONV:
            filter_, stride, padding = _window(call)
            top = first * stride - padding
            high = (end - 1 - first) * stride + filter_
            x = call.tensors["x"]
            tensors["x"] = self._rows(x.buffer, top, top + high, 4, padding)
            positions = -(-(end - first) * image.width // LANES) * LANES
            scratch = min(int(str(numbers["scratch"])), positions * call.sizes()["in_"])
            numbers |= {"padding": 0, "scratch": scratch}
        else:
            for operand in LOCAL[call.kernel]:
                ref = call.tensors[operand]
                tensors[operand] = self._rows(ref.buffer, first, end, len(ref.shape), 0)
        ref, *others = call.results
        shape = image.strip(end - first, len(ref.shape))
        made = self._new(f"{name}.{first}", shape, self.buffers[name].format)
        results = [made]
        for other in others:
            shape = (int(str(numbers["scratch"])),) if call.kernel == CONV else other.shape
            results.append(self._new(f"{other.buffer}.{first}", shape, self.buffers[other.buffer].format))
        self.made.append(
            call.model_copy(update={"tensors": tensors, "numbers": numbers, "results": tuple(results)})
        )
        self._parts[name].append(_Part(first, end, made.buffer))
        if name in self.whole:
            self._put(name, made, first)

    def _put(self, name: str, made: Ref, first: int) -> None:
        image = self.images[name]
        into = Ref(buffer=name, shape=image.strip(image.height, 4))
        rows = made.model_copy(update={"shape": image.strip(self._done(name) - first, 4)})
        if first:
            call = Call(kernel="strip.put", tensors={"into": into, "x": rows}, numbers={"first": first})
        else:
            call = Call(
                kernel="strip.begin", tensors={"x": rows}, numbers={"height": image.height}, results=(into,)
            )
        self.made.append(call)

    def _rows(self, name: str, first: int, end: int, dimensions: int, padding: int) -> Ref:
        """Rows of an image: a strip of it, or cut out of two."""
        image = self.images[name]
        self._ask(name, end)
        parts = [part for part in self._parts[name] if part.first < end and first < part.end]
        given = [Ref(buffer=part.buffer, shape=image.strip(part.end - part.first, 4)) for part in parts]
        if len(parts) == 1 and (parts[0].first, parts[0].end, 0) == (first, end, padding):
            return given[0].model_copy(update={"shape": image.strip(end - first, dimensions)})
        start = first - parts[0].first
        while len(given) > 2:
            one, other, *rest = given
            given = [self._joined(image, [one, other], 0, one.shape[2] + other.shape[2], 0), *rest]
        made = self._joined(image, given, start, end - first, padding)
        return made.model_copy(update={"shape": image.strip(end - first, 3)}) if dimensions == 3 else made

    def _joined(self, image: _Image, given: list[Ref], first: int, rows: int, padding: int) -> Ref:
        name = given[-1].buffer
        shape = (image.batch, image.channels, rows, image.width + 2 * padding)
        made = self._new(f"{name}.around", shape, self.buffers[name].format)
        tensors = dict(zip(("x",) if len(given) == 1 else ("a", "b"), given, strict=True))
        numbers: dict[str, Number] = {"first": first, "rows": rows, "padding": padding}
        kernel = "strip.cut" if len(given) == 1 else "strip.join"
        self.made.append(Call(kernel=kernel, tensors=tensors, numbers=numbers, results=(made,)))
        return made

    def _new(self, name: str, shape: tuple[int, ...], format_: Format) -> Ref:
        while name in self.buffers:
            name += "_"
        self.buffers[name] = Buffer(shape=shape, format=format_, role="temp")
        return Ref(buffer=name, shape=shape)


def _window(call: Call) -> tuple[int, int, int]:
    """Filter, stride and padding of a convolution."""
    filter_, stride, padding = (int(str(call.numbers[name])) for name in ("filter_", "stride", "padding"))
    return filter_, stride, padding
