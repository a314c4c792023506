"""QONNX files in the hands of their consumer: hls4ml converts them, g++ compiles, the integers are equal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.differential.test_export_onnx import pot_card, printer, shift_program
from tests.programs import samples


def converted(kind: str, bits: int, folder: Path) -> tuple[Any, Any, Any]:
    """hls4ml's model of a small shift net, samples as it wants them, and the codes that are right."""
    import hls4ml
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.transformation.channels_last import ConvertToChannelsLastAndClean
    from qonnx.transformation.gemm_to_matmul import GemmToMatMul
    from qonnx.util.cleanup import cleanup_model

    bound, program = shift_program(kind, pot_card(bits), seed=bits)
    given = samples(bound, program, 25, scale=2.0)
    printer("qonnx").write(program, given, 0.0, folder / "net.onnx")
    model: Any = cleanup_model(ModelWrapper(str(folder / "net.onnx")))
    x = np.ldexp(given["x"].reshape(-1, *given["x"].shape[2:]).astype(np.float32), -4)
    io = "io_parallel"
    if kind == "conv":  # hls4ml wants the channels last
        model = cleanup_model(model.transform(ConvertToChannelsLastAndClean()).transform(GemmToMatMul()))
        x, io = np.ascontiguousarray(x.transpose(0, 2, 3, 1)), "io_stream"
    settings = hls4ml.utils.config.config_from_onnx_model(
        model, granularity="name", backend="Vitis", default_precision="fixed<32,16>"
    )
    made = hls4ml.converters.convert_from_onnx_model(
        model, output_dir=str(folder / "hls"), io_type=io, backend="Vitis", hls_config=settings
    )
    right = np.concatenate([bound.predict(torch.from_numpy(batch)).numpy() for batch in given["x"]])
    return made, x, right


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of other people's packages
@pytest.mark.parametrize("bits", [2, 3, 4])
def test_dense_layers_are_the_same_integers(bits: int, tmp_path: Path) -> None:
    made, x, right = converted("linear", bits, tmp_path)
    made.compile()
    assert np.array_equal(16 * np.asarray(made.predict(x)).reshape(right.shape), right)
    assert len(np.unique(right)) > 3


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("bits", [2, 3, 4])
def test_convolutions_are_refused(bits: int, tmp_path: Path) -> None:
    """hls4ml 1.3.0 reads the bit width of a quantiser, which qonnx has given four axes, as a number.

    numpy 2.4 no longer allows that. When this test fails, convolutions convert: compare them, too.
    """
    with pytest.raises(TypeError, match="only 0-dimensional arrays"):
        converted("conv", bits, tmp_path)
