"""A program's prediction as an ONNX graph of real numbers, each a code times a power of two.

Sums of such numbers are exact in float32 while they stay below 2^24 in units of the last place, which is
proved (hwtrain/program/bounds.py) before anything is written. How a signal or weight is quantised is the
printer's business: QONNX has one node for it (``printers/qonnx.py``), QCDQ a pair (``printers/qcdq.py``).

What the program rounds half up is written as half a last place added to the bias, then rounded down: neither
dialect has a node that rounds halfway values upward.
"""

from __future__ import annotations

import importlib
import json
import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import field_validator

from hwtrain.arith import pow2
from hwtrain.arith.fixed import requantize_codes
from hwtrain.errors import ConfigError, ProgramError, RunError
from hwtrain.export.printers.base import Printer
from hwtrain.export.run import Memory
from hwtrain.files import write_file
from hwtrain.program.bounds import bounds
from hwtrain.program.interpret import Interpreter
from hwtrain.program.ir import Call, Program, Ref, powers, walk

EXACT = 1 << 24
"""Whole numbers below it are exact in float32."""
OPSETS = (18, 20)
"""Versions of the ONNX operators that the files are tried with."""
IR_VERSION = 10
"""Old enough for every onnxruntime that reads opset 20."""


def need(name: str) -> Any:
    """An optional package, or a line that says how to get it."""
    try:
        return importlib.import_module(name)
    except ImportError:
        package = name.partition(".")[0]
        raise ConfigError(f"{package} is not installed: pip install 'hwtrain[onnx]'") from None


Execute = Callable[[NDArray[np.float32]], dict[str, NDArray[Any]]]
"""From the input to values by name."""


@dataclass(frozen=True)
class Tensor:
    """A value of the graph: its name, its shape with the batch, the bits after the point of its codes."""

    name: str
    shape: tuple[int, ...]
    frac: int = 0


@dataclass(frozen=True)
class Grid:
    """What a number may be: a signed code of so many bits times 2^-frac, one frac or one a channel."""

    bits: int
    frac: NDArray[np.int64]
    narrow: bool = False

    @property
    def scale(self) -> NDArray[np.float32]:
        """2^-frac: a number, or one for each channel."""
        scale = np.exp2(-self.frac.astype(np.float32))
        return scale.reshape(()) if scale.size == 1 else scale


class Graph:
    """Nodes, constants and shapes; what an ONNX file holds."""

    def __init__(self, opset: int) -> None:
        self.helper, self.numpy_helper = need("onnx.helper"), need("onnx.numpy_helper")
        self.opset = opset
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.infos: list[Any] = []
        self.domains: set[str] = set()

    def constant(self, name: str, values: NDArray[Any]) -> str:
        """A constant; its name."""
        self.constants.append(self.numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def node(
        self, kind: str, inputs: list[str], out: str, shape: tuple[int, ...], domain: str = "", **given: Any
    ) -> str:
        """One operator with one result of this shape; its name."""
        self.domains.add(domain)
        made = self.helper.make_node(kind, inputs, [out], f"{kind}_{out}", domain=domain, **given)
        self.nodes.append(made)
        self.infos.append(self.info(out, shape))
        return out

    def info(self, name: str, shape: tuple[int, ...]) -> Any:
        """What a value is."""
        return self.helper.make_tensor_value_info(name, need("onnx").TensorProto.FLOAT, list(shape))

    def model(self, name: str, x: Tensor, z: Tensor, metadata: dict[str, str]) -> bytes:
        """The file."""
        onnx = need("onnx")
        ends = [self.info(x.name, x.shape)], [self.info(z.name, z.shape)]
        inner = [info for info in self.infos if info.name != z.name]
        graph = self.helper.make_graph(self.nodes, name, *ends, self.constants, value_info=inner)
        versions = {"": self.opset} | dict.fromkeys(sorted(self.domains - {""}), 1)
        made = self.helper.make_model(
            graph,
            opset_imports=[self.helper.make_opsetid(*one) for one in versions.items()],
            ir_version=IR_VERSION,
            producer_name="hwtrain",
        )
        self.helper.set_model_props(made, metadata)
        onnx.checker.check_model(made, full_check=len(versions) == 1)
        found: bytes = made.SerializeToString()
        return found


class OnnxPrinter(Printer):
    """What both dialects share: the walk over the program, the file, and its test."""

    then = "metadata: hwtrain.*"

    class Options(Printer.Options):
        """Also ``--opset``."""

        opset: int = 18

        @field_validator("opset")
        @classmethod
        def _tried(cls, value: int) -> int:
            if value not in OPSETS:
                raise ValueError(f"choose {' or '.join(map(str, OPSETS))}")
            return value

    options: Options

    @abstractmethod
    def quantised(
        self, graph: Graph, x: str, out: str, shape: tuple[int, ...], grid: Grid, rounding: str
    ) -> None:
        """Write nodes that round ``x`` down (``floor``) or to the nearest, ties to even, onto the grid."""

    @abstractmethod
    def constant(self, graph: Graph, name: str, codes: NDArray[np.int64], grid: Grid, axis: int) -> str:
        """Write a constant of codes on the grid, whose channels lie along an axis; its name."""

    @abstractmethod
    def opened(self, model: Any, names: list[str]) -> Execute:
        """What executes a model as its users would, and gives the values of these names."""

    def write(self, program: Program, samples: Memory, lr: float, out: Path) -> int:
        """Write the file, read it back, run it; how many signals were compared, all layers together."""
        model, seen = self.print(program)
        if out.is_dir():
            raise RunError(f"{out}: is a folder: name a file, such as {out / 'net.onnx'}")
        scratch = out.with_name(f".{out.name}.unproved")
        try:
            write_file(scratch, model)
            compared = self.check(program, read(scratch), samples["x"], seen)
            scratch.replace(out)
        finally:
            scratch.unlink(missing_ok=True)
        return compared

    def print(self, program: Program) -> tuple[bytes, dict[str, Tensor]]:
        """The file, and by buffer the values of the graph that can be held against the program's."""
        return _Walk(self, program, Graph(self.options.opset)).file()

    def check(self, program: Program, model: Any, x: NDArray[Any], seen: dict[str, Tensor]) -> int:
        """Run the model beside the interpreter on samples (steps, batch, ...); how many values agreed."""
        interpreter, numbers = Interpreter(program), program.listing.numbers
        assert numbers is not None
        execute = self.opened(model, [one.name for one in seen.values()])
        compared = 0
        for batch in x:
            interpreter.run("predict", {"x": batch})
            real = np.ldexp(batch.astype(np.float32), -numbers.signal_frac)
            found = execute(real)
            for buffer, one in seen.items():
                ours = interpreter.memory[buffer].reshape(one.shape)
                theirs = np.ldexp(found[one.name].astype(np.float64), one.frac)
                if not np.array_equal(theirs, ours):
                    wrong = int((theirs != ours).sum())
                    raise ProgramError(
                        f"{buffer}: {wrong} of {ours.size} values differ between the file and the program: "
                        "nothing was written"
                    )
                compared += ours.size
        return compared


def read(path: Path) -> Any:
    """The model in a file.

    Raises:
        ProgramError: it is no whole ONNX file.
    """
    onnx = need("onnx")
    try:
        model = onnx.load_model_from_string(path.read_bytes())
        onnx.checker.check_model(model)
    except OSError as problem:
        raise RunError(
            f"{path}: cannot read the model: {problem.strerror or problem}: check the path"
        ) from None
    except Exception as problem:  # noqa: BLE001 - the parser's own errors have no common class
        said = str(problem).strip().splitlines()[0] if str(problem).strip() else type(problem).__name__
        raise ProgramError(f"{path}: not a whole ONNX model: {said}: export it again") from None
    return model


class _Walk:
    """Goes over ``predict`` call by call; what the graph has for a buffer is in ``values``."""

    def __init__(self, printer: OnnxPrinter, program: Program, graph: Graph) -> None:
        numbers = program.listing.numbers
        if numbers is None:
            raise ProgramError(
                f"{program.listing.name}: float32 has no codes: train on a device of kind fixed or shift"
            )
        self.printer, self.program, self.graph, self.numbers = printer, program, graph, numbers
        listing = program.listing.model_copy(update={"entries": {"predict": program.entries["predict"]}})
        self.calls = list(walk(program.entries["predict"]))
        self.limits = bounds(Program(listing, program.contents))
        self.signal = Grid(numbers.signal_bits, np.array(numbers.signal_frac))
        self.values: dict[str, Tensor] = {}
        self.constants: dict[str, NDArray[np.int64]] = {}
        self.columns: dict[str, tuple[Tensor, Call]] = {}
        self.sums: dict[str, tuple[Tensor, NDArray[np.int64]]] = {}
        self.seen: dict[str, Tensor] = {}
        self.exponents: dict[str, int] = {}

    def file(self) -> tuple[bytes, dict[str, Tensor]]:
        """The model, and what of it can be compared."""
        buffer = self.program.buffers["x"]
        x = Tensor("x", buffer.shape, self.numbers.signal_frac)
        self.values["x"] = Tensor("x_codes", x.shape, x.frac)
        self.printer.quantised(self.graph, x.name, "x_codes", x.shape, self.signal, "half-even")
        for call in self.calls:
            self.call(call)
        z = self.value(self.calls[-1].results[0], self.program.buffers["z"].shape)
        metadata = {
            "hwtrain.program": self.program.listing.name,
            "hwtrain.numbers": json.dumps(vars(self.numbers)),
            "hwtrain.rounding": self.numbers.rounding,
            "hwtrain.exponents": json.dumps(self.exponents),
            "hwtrain.pot_bits": json.dumps(_pot_bits(self.program)),
        }
        return self.graph.model(self.program.listing.name, x, z, metadata), self.seen

    def call(self, call: Call) -> None:
        method = getattr(self, f"_{call.kernel.replace('.', '_')}", None)
        if method is None:
            raise ProgramError(f"layer {call.where}: {call.kernel} has no counterpart in ONNX: export to c")
        if any(ref.turn is not None for ref in call.reads()):
            raise ProgramError(
                f"layer {call.where}: weights in two copies have no counterpart in ONNX: export to c"
            )
        for result in call.results:
            if self.limits.get(result.buffer, 0) >= EXACT:
                bits = self.limits[result.buffer].bit_length()
                raise ProgramError(
                    f"layer {call.where}: a sum may reach 2^{bits}, beyond the 2^24 that float32 holds: "
                    "use fewer bits, a narrower layer, or export to c"
                )
        method(call)

    def value(self, ref: Ref, shape: tuple[int, ...]) -> Tensor:
        """What the graph has for a buffer, in the shape that is wanted."""
        found = self.values[ref.buffer]
        if math.prod(ref.shape) != math.prod(found.shape):
            raise ProgramError(f"{ref}: a part of a buffer has no counterpart in ONNX: export to c")
        if found.shape == shape:
            return found
        name = f"{found.name}_{'x'.join(map(str, shape[1:]))}"
        if all(info.name != name for info in self.graph.infos):
            # hls4ml and FINN know Flatten where there is nothing else to be done.
            if len(shape) == 2:
                self.graph.node("Flatten", [found.name], name, shape, axis=1)
            else:
                sizes = self.graph.constant(f"{name}_shape", np.array(shape, np.int64))
                self.graph.node("Reshape", [found.name, sizes], name, shape)
        return Tensor(name, shape, found.frac)

    def _im2col_im2col(self, call: Call) -> None:
        x = call.tensors["x"]
        self.columns[call.results[0].buffer] = self.value(x, x.shape), call

    def _bias_ones(self, call: Call) -> None:
        self.constants[call.results[0].buffer] = np.array(call.numbers["one"], np.int64)

    def _pot_read(self, call: Call) -> None:
        self._read(call, call.tensors["codes"], call.tensors["x"])

    def _dense_read(self, call: Call) -> None:
        w, x = call.tensors["w"], call.tensors["x"]
        if x.buffer in self.constants:
            weights = self.program.contents[w.buffer].astype(np.int64)
            self.constants[call.results[0].buffer] = weights.reshape(-1) * self.constants[x.buffer]
        else:
            self._read(call, w, x)

    def _read(self, call: Call, w: Ref, x: Ref) -> None:
        """A convolution or a matrix product; its scale is what the requantisation after it takes away."""
        out, shift = call.results[0].buffer, self._shift_after(call)
        grid, codes = self._weights(w, shift)
        name = w.buffer.partition("/")[0]
        self.exponents[name] = -shift
        if x.buffer in self.columns:
            image, patches = self.columns[x.buffer]
            side, stride, padding = (_int(patches, key) for key in ("filter_", "stride", "padding"))
            groups = _int(patches, "groups")
            batch, channels, *sides = image.shape
            rows, columns = ((one + 2 * padding - side) // stride + 1 for one in sides)
            filters = codes.reshape(-1, channels // groups, side, side)
            shape: tuple[int, ...] = batch, filters.shape[0], rows, columns
            weights = self.printer.constant(self.graph, name, filters, grid, 0)
            given: dict[str, Any] = {
                "kernel_shape": [side] * 2,
                "strides": [stride] * 2,
                "pads": [padding] * 4,
            }
            given |= {"dilations": [1, 1], "group": groups}
            self.graph.node("Conv", [image.name, weights], out, shape, **given)
        else:
            groups, outs, ins = w.shape
            if groups != 1:
                raise ProgramError(f"layer {call.where}: a dense layer in groups has no counterpart in ONNX")
            vector = self.value(x, (x.shape[0], ins))
            weights = self.printer.constant(self.graph, name, codes[0].T, grid, 1)
            shape = x.shape[0], outs
            self.graph.node("MatMul", [vector.name, weights], out, shape)
        self.sums[out] = Tensor(out, shape, self.numbers.signal_frac + shift), np.zeros((), np.int64)

    def _weights(self, w: Ref, shift: int) -> tuple[Grid, NDArray[np.int64]]:
        """Whole weights and their grid: as many bits as they need, or as their codes can."""
        held = self.program.contents[w.buffer]
        if not w.buffer.endswith("/codes"):
            return Grid(8 * held.itemsize, np.array(shift)), held.astype(np.int64)
        bits = _pot_bits(self.program).get(w.buffer.partition("/")[0])
        most = pow2.Pot(bits).most if bits else int(abs(held).max(initial=1)) - 1
        if abs(held.astype(np.int64)).max(initial=0) > most + 1:
            raise ProgramError(f"{w.buffer}: a code above {most + 1} is no power of two of {bits} bits")
        return Grid(most + 2, np.array(shift), narrow=True), pow2.values(held)

    def _bias_add(self, call: Call) -> None:
        total, bias = self.sums[call.tensors["y"].buffer]
        added = requantize_codes(self.constants[call.tensors["b"].buffer], _int(call, "shift"), 63)
        self.sums[call.results[0].buffer] = total, bias + added

    def _fixed_requantize(self, call: Call) -> None:
        """The end of an accumulator: the bias, with half a last place where halves go up, then the grid."""
        total, bias = self.sums[call.tensors["acc"].buffer]
        shift, rounding = _int(call, "shift"), str(call.numbers["rounding"])
        half = 1 << (shift - 1) if rounding == "half-up" and shift > 0 else 0
        name = total.name
        if bias.any() or half:
            offset = (bias + half) * np.ones(total.shape[1], np.int64)
            shaped = offset.reshape(1, -1, *[1] * (len(total.shape) - 2))
            added = self.printer.constant(
                self.graph, f"{name}_offset", shaped, Grid(32, np.array(total.frac)), 0
            )
            name = self.graph.node("Add", [name, added], f"{total.name}_biased", total.shape)
        nearest = "half-even" if rounding == "half-even" else "floor"
        self._signal(call, name, total.shape, nearest)

    def _signal(
        self, call: Call, name: str, shape: tuple[int, ...], rounding: str, seen: bool = False
    ) -> None:
        out = call.results[0].buffer
        self.printer.quantised(self.graph, name, out, shape, self.signal, rounding)
        self.values[out] = Tensor(out, shape, self.numbers.signal_frac)
        if seen or len(shape) == 2:  # images stand otherwise until their channels come first
            self.seen[out] = self.values[out]

    def _layout_channels_first(self, call: Call) -> None:
        found = self.values[call.tensors["y"].buffer]
        self.values[call.results[0].buffer] = self.seen[call.results[0].buffer] = found

    def _layout_join(self, call: Call) -> None:
        out, refs = call.results[0].buffer, (call.tensors["a"], call.tensors["b"])
        rest = self.values[refs[0].buffer].shape[2:]
        parts = [self.value(ref, (*ref.shape[:2], *rest)) for ref in refs]
        shape = *call.results[0].shape[:2], *rest
        self.graph.node("Concat", [part.name for part in parts], out, shape, axis=1)
        self.values[out] = self.seen[out] = Tensor(out, shape, parts[0].frac)

    def _relu_forward(self, call: Call) -> None:
        self._node(call, "Relu", "x")

    def _pool_max_forward(self, call: Call) -> None:
        size = _int(call, "size")
        shape = call.results[0].shape
        self._node(call, "MaxPool", "x", shape, kernel_shape=[size] * 2, strides=[size] * 2)

    def _pool_average_forward(self, call: Call) -> None:
        size, x = _int(call, "size"), call.tensors["x"]
        shape, out = call.results[0].shape, call.results[0].buffer
        given: dict[str, Any] = {"kernel_shape": [size] * 2, "strides": [size] * 2}
        mean = self.graph.node("AveragePool", [self.value(x, x.shape).name], f"{out}_mean", shape, **given)
        added = self.graph.constant(
            f"{out}_half", np.array(2.0 ** -(self.numbers.signal_frac + 1), np.float32)
        )
        mean = self.graph.node("Add", [mean, added], f"{out}_up", shape)
        self._signal(call, mean, shape, "floor", seen=True)

    def _vector_add(self, call: Call) -> None:
        a, b = (self.value(call.tensors[name], self.values[call.tensors["a"].buffer].shape) for name in "ab")
        out = call.results[0].buffer
        total = self.graph.node("Add", [a.name, b.name], f"{out}_sum", a.shape)
        self._signal(call, total, a.shape, "half-even", seen=True)

    def _node(
        self, call: Call, kind: str, name: str, shape: tuple[int, ...] | None = None, **given: Any
    ) -> None:
        """A node that keeps its input's grid."""
        ref, out = call.tensors[name], call.results[0].buffer
        x = self.values[ref.buffer]
        if shape is not None:  # of images
            x = self.value(ref, ref.shape)
        shape = shape or x.shape
        self.graph.node(kind, [x.name], out, shape, **given)
        self.values[out] = self.seen[out] = Tensor(out, shape, x.frac)

    def _shift_after(self, call: Call) -> int:
        """The shift of the requantisation that ends an accumulator."""
        name = call.results[0].buffer
        for later in self.calls:
            if later.kernel == "bias.add" and later.tensors["y"].buffer == name:
                name = later.results[0].buffer
            if later.kernel == "fixed.requantize" and later.tensors["acc"].buffer == name:
                return _int(later, "shift")
        raise ProgramError(f"layer {call.where}: a sum that is never rounded to a signal: export to c")


def _int(call: Call, name: str) -> int:
    value = call.numbers[name]
    assert isinstance(value, int)
    return value


def _pot_bits(program: Program) -> dict[str, int]:
    """By array of powers of two: the bits of its codes, known from what encodes it."""
    return {name.partition("/")[0]: (most + 2).bit_length() for name, most in powers(program).items()}
