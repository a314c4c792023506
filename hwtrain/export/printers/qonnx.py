"""QONNX: ONNX with a ``Quant`` node, which FINN and hls4ml read; executed by qonnx itself."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwtrain.export.onnx import Execute, Graph, Grid, OnnxPrinter, need

_DOMAIN = "qonnx.custom_op.general"
_ROUNDING = {"floor": "FLOOR", "half-even": "ROUND"}


class Qonnx(OnnxPrinter):
    """``hwtrain export --to qonnx``."""

    about = "ONNX with Quant nodes, for qonnx, FINN and hls4ml"

    def quantised(
        self, graph: Graph, x: str, out: str, shape: tuple[int, ...], grid: Grid, rounding: str
    ) -> None:
        """One Quant node."""
        given = [
            graph.constant(f"{out}_scale", grid.scale),
            graph.constant(f"{out}_zero", np.array(0, np.float32)),
            graph.constant(f"{out}_bits", np.array(grid.bits, np.float32)),
        ]
        options = {"signed": 1, "narrow": int(grid.narrow), "rounding_mode": _ROUNDING[rounding]}
        graph.node("Quant", [x, *given], out, shape, domain=_DOMAIN, **options)

    def constant(self, graph: Graph, name: str, codes: NDArray[np.int64], grid: Grid, axis: int) -> str:
        """The numbers themselves, and the Quant node that says what they are."""
        frac = _along(grid.frac, axis, codes.ndim)
        real = np.ldexp(codes.astype(np.float32), -frac.astype(np.int32))
        held = graph.constant(f"{name}_real", real)
        self.quantised(graph, held, name, codes.shape, Grid(grid.bits, frac, grid.narrow), "half-even")
        return name

    def opened(self, model: Any, names: list[str]) -> Execute:
        """Node by node, as qonnx does."""
        wrapper = need("qonnx.core.modelwrapper").ModelWrapper(model)
        execute = need("qonnx.core.onnx_exec").execute_onnx

        def run(x: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
            found = execute(wrapper, {model.graph.input[0].name: x}, return_full_exec_context=True)
            return {name: found[name] for name in names}

        return run


def _along(frac: NDArray[np.int64], axis: int, dimensions: int) -> NDArray[np.int64]:
    """One frac a channel, laid along an axis; a single one stays a number."""
    if frac.size == 1:
        return frac.reshape(())
    return frac.reshape([-1 if place == axis else 1 for place in range(dimensions)])
