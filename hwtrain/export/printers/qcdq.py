"""QCDQ: plain ONNX with QuantizeLinear, Clip and DequantizeLinear; executed by onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwtrain.errors import ProgramError
from hwtrain.export.onnx import Execute, Graph, Grid, OnnxPrinter, need

_KINDS: dict[int, Any] = {8: np.int8, 32: np.int32}


class Qcdq(OnnxPrinter):
    """``hwtrain export --to qcdq``."""

    about = "plain ONNX with whole-number weights, for onnxruntime"

    def quantised(
        self, graph: Graph, x: str, out: str, shape: tuple[int, ...], grid: Grid, rounding: str
    ) -> None:
        """QuantizeLinear, whose halves go to even, and back; rounding down takes a Floor before it."""
        scale = graph.constant(f"{out}_scale", grid.scale)
        if rounding == "floor":
            inverse = graph.constant(f"{out}_inverse", np.float32(1) / grid.scale)
            whole = graph.node("Mul", [x, inverse], f"{out}_large", shape)
            whole = graph.node("Floor", [whole], f"{out}_floor", shape)
            x = graph.node("Mul", [whole, scale], f"{out}_down", shape)
        zero = graph.constant(f"{out}_zero", np.zeros((), self._kind(out, grid)))
        graph.node("QuantizeLinear", [x, scale, zero], f"{out}_codes", shape)
        graph.infos.pop()  # codes are no floats; shape inference finds what they are
        graph.node("DequantizeLinear", [f"{out}_codes", scale, zero], out, shape)

    def constant(self, graph: Graph, name: str, codes: NDArray[np.int64], grid: Grid, axis: int) -> str:
        """The codes, and DequantizeLinear."""
        kind = self._kind(name, grid)
        held = graph.constant(f"{name}_codes", codes.astype(kind))
        given = [held, graph.constant(f"{name}_scale", grid.scale)]
        if kind is np.int8:
            given.append(graph.constant(f"{name}_zero", np.zeros(grid.scale.shape, kind)))
        options: dict[str, Any] = {"axis": axis} if grid.frac.size > 1 else {}
        return graph.node("DequantizeLinear", given, name, codes.shape, **options)

    def opened(self, model: Any, names: list[str]) -> Execute:
        """The outputs as any user gets them; what lies inside, from a copy that shows it."""
        outputs = [one.name for one in model.graph.output]
        shown = type(model)()
        shown.CopyFrom(model)
        inner = [info for info in model.graph.value_info if info.name in names]
        shown.graph.output.extend(inner)
        sessions = [(_session(model), outputs), (_session(shown), [info.name for info in inner])]

        def run(x: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
            found: dict[str, NDArray[Any]] = {}
            for session, wanted in sessions:
                if wanted:
                    given = {model.graph.input[0].name: x}
                    found |= dict(zip(wanted, session.run(wanted, given), strict=True))
            return found

        return run

    def _kind(self, name: str, grid: Grid) -> Any:
        """The whole numbers that hold a grid."""
        bits = 8 if grid.bits <= 8 else grid.bits
        if bits not in _KINDS:
            raise ProgramError(
                f"{name}: {grid.bits} bits: QuantizeLinear knows 8 before opset 21: export to qonnx or c"
            )
        return _KINDS[bits]


def _session(model: Any) -> Any:
    """onnxruntime on one thread."""
    runtime = need("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return runtime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
