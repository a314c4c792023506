"""Power-of-two weights for Brevitas's layers, and an export that is run again before it counts.

    brevitas.nn.QuantConv2d(16, 32, 3, weight_quant=PotWeight, weight_pot_bits=3)

n bits make the levels {0, +-1, +-2, ... +-2^most} times 2^exponent: whole numbers with a power-of-two scale,
so everything in Brevitas that reads a weight's scale and bit width goes on working. Brevitas's own exporters
do not: most of them write the float weight and a rounding of their own (tests/differential/test_brevitas.py
shows how much differs). ``export`` therefore freezes a copy first, runs the file, and compares.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import logging
import warnings
from pathlib import Path
from typing import Any, Literal

import brevitas.nn
import numpy as np
import torch
from brevitas.core.function_wrapper import RoundSte
from brevitas.export import export_onnx_qcdq, export_qonnx
from brevitas.inject import value
from brevitas.quant.base import (
    MaxStatsScaling,
    NarrowIntQuant,
    PerChannelPoTScaling8bit,
    PerTensorPoTScaling8bit,
)
from brevitas.quant.solver.weight import WeightQuantSolver
from numpy.typing import NDArray
from torch import Tensor, nn

from hwtrain.arith.pow2 import Pot, Rounding
from hwtrain.errors import ConfigError, ProgramError, nearest
from hwtrain.export.onnx import OPSETS, OnnxPrinter, need, read
from hwtrain.files import write_file
from hwtrain.qat import pot
from hwtrain.registry import lookup


class PotRound(nn.Module):
    """A weight over its scale to the nearest level; the gradient passes. Brevitas's ``float_to_int_impl``."""

    def __init__(self, pot_bits: int, pot_rounding: Rounding = "linear") -> None:
        super().__init__()
        self.pot = Pot(pot_bits, rounding=pot_rounding)

    def forward(self, x: Tensor) -> Tensor:
        """Levels 0, 1, 2, 4 ... and their negatives, as float32."""
        levels: Tensor = _Levels.apply(x, self.pot)  # type: ignore[no-untyped-call]
        return levels


class _Levels(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, spec: Pot) -> Tensor:
        return pot.nearest(x, torch.tensor([127 + spec.most], dtype=torch.int32), spec)

    @staticmethod
    def backward(ctx: Any, d: Tensor) -> Any:
        return d, None


class PotIntScaling(nn.Module):
    """The largest level, whatever the bit width: Brevitas's ``int_scaling_impl``."""

    def __init__(self, pot_bits: int) -> None:
        super().__init__()
        self.register_buffer("largest", torch.tensor(2.0 ** Pot(pot_bits).most), persistent=False)

    def forward(self, bit_width: Tensor, signed: Any = None) -> Tensor:
        """2^most."""
        largest = self.largest
        assert isinstance(largest, Tensor)
        return largest


class _Pot(NarrowIntQuant, MaxStatsScaling):  # type: ignore[misc]
    restrict_value_float_to_int_impl = RoundSte
    float_to_int_impl = PotRound
    int_scaling_impl = PotIntScaling
    pot_bits = 4
    pot_rounding = "linear"


class PotWeight(_Pot, PerTensorPoTScaling8bit, WeightQuantSolver):  # type: ignore[misc]
    """One exponent for the tensor. ``weight_pot_bits`` (2 to 5), ``weight_pot_rounding`` (linear or log)."""

    @value  # type: ignore[untyped-decorator]
    def bit_width(pot_bits: int) -> int:
        return Pot(pot_bits).container


class PotWeightPerChannel(_Pot, PerChannelPoTScaling8bit, WeightQuantSolver):  # type: ignore[misc]
    """One exponent for each output channel."""

    @value  # type: ignore[untyped-decorator]
    def bit_width(pot_bits: int) -> int:
        return Pot(pot_bits).container


def freeze(model: nn.Module, x: Tensor) -> nn.Module:
    """A copy in eval mode whose weights are their levels, and whose biases fit an accumulator.

    A bias without a quantiser becomes a multiple of the product of both scales, as hardware adds it and as
    onnxruntime rounds it without a word. The scale of a layer's input is what its values on ``x`` show.

    Raises:
        ProgramError: an input of a layer that lies on no grid of a power of two: quantise it.
    """
    frozen = copy.deepcopy(model).eval()

    def fit(name: str) -> Any:
        def hook(layer: Any, given: tuple[Any, ...]) -> None:
            layer.weight.copy_(layer.quant_weight().value)
            if layer.bias is not None and not layer.bias_quant.is_quant_enabled:
                scale = torch.as_tensor(layer.quant_weight().scale).reshape(-1) * _step(
                    name, _plain(given[0])
                )
                layer.bias.copy_((layer.bias / scale).round() * scale)

        return hook

    hooks = [
        layer.register_forward_pre_hook(fit(name))
        for name, layer in frozen.named_modules()
        if isinstance(layer, brevitas.nn.mixin.QuantWeightMixin) and layer.weight_quant.is_quant_enabled
    ]
    with torch.no_grad():
        frozen(x)
    for hook in hooks:
        hook.remove()
    return frozen


def _step(name: str, x: Tensor) -> float:
    """The largest power of two that all of x are multiples of."""
    for frac in range(-16, 25):
        scaled = x * 2.0**frac
        if bool((scaled == scaled.round()).all()):
            return 2.0**-frac
    raise ProgramError(
        f"layer {name}: its input is no multiple of a power of two: quantise it, as by QuantIdentity"
    )


def export(
    model: nn.Module,
    x: Tensor,
    path: Path,
    *,
    to: Literal["qonnx", "qcdq"] = "qonnx",
    dynamo: bool = True,
    opset: int = 18,
) -> int:
    """Write a model with ``PotWeight`` and run what was written on ``x``; how many outputs were compared.

    The file has the batch of ``x``. ``dynamo``: by torch's new exporter, else by the old one (TorchScript).

    Raises:
        ConfigError: an unknown format or opset.
        ProgramError: the exporter failed, or an output differs in any bit; nothing is written then.
    """
    if to not in ("qonnx", "qcdq"):
        raise ConfigError(f"to = {to!r}: {nearest(to, ['qonnx', 'qcdq'])}")
    if opset not in OPSETS:
        raise ConfigError(f"opset = {opset}: choose {' or '.join(map(str, OPSETS))}")
    frozen = freeze(model, x)
    scratch = path.with_name(f".{path.name}.unproved")
    try:
        stock_export(copy.deepcopy(frozen), x, scratch, to=to, dynamo=dynamo, opset=opset)
        onnx = need("onnx")
        made = onnx.load(scratch)  # weights that dynamo put beside the file come back into it
        onnx.helper.set_model_props(made, _metadata(frozen))
        write_file(scratch, made.SerializeToString())
        with torch.no_grad():
            expected = _plain(frozen(x)).numpy()
        found = execute(scratch, x, to)
        if not np.array_equal(found, expected):
            wrong = int((found != expected).sum()) if found.shape == expected.shape else expected.size
            raise ProgramError(f"{wrong} of {expected.size} outputs of the file differ: nothing was written")
        scratch.replace(path)
    finally:
        for left in (scratch, scratch.with_name(f"{scratch.name}.data")):
            left.unlink(missing_ok=True)
    return expected.size


def execute(path: Path, x: Tensor, to: str) -> NDArray[Any]:
    """The output of a file in the dialect's own engine: qonnx, or onnxruntime."""
    printers: type[OnnxPrinter] = lookup("printers", to)
    model = read(path)
    if to == "qonnx":
        wrapper = need("qonnx.core.modelwrapper").ModelWrapper(model)
        with _silence():
            model = need("qonnx.util.cleanup").cleanup_model(wrapper).model
    name = model.graph.output[0].name
    return printers(printers.Options()).opened(model, [name])(x.numpy())[name]


def stock_export(model: nn.Module, x: Tensor, path: Path, *, to: str, dynamo: bool, opset: int) -> None:
    """Brevitas's own export, silenced; the model is not to be used after it.

    Raises:
        ProgramError: it failed.
    """
    write = export_qonnx if to == "qonnx" else export_onnx_qcdq
    try:
        with _silence():
            write(model, args=(x,), export_path=str(path), opset_version=opset, dynamo=dynamo)
    except Exception as problem:  # exporters raise whatever they like
        said = str(problem).strip().splitlines() or [type(problem).__name__]
        raise ProgramError(f"{to}: Brevitas cannot export the model: {said[0][:200]}") from problem


def _metadata(model: nn.Module) -> dict[str, str]:
    """What the codes are: bits, rounding and exponents by layer."""
    bits, rounding, exponents = {}, {}, {}
    for name, layer in model.named_modules():
        found = next((part for part in layer.modules() if isinstance(part, PotRound)), None)
        if isinstance(layer, brevitas.nn.mixin.QuantWeightMixin) and found is not None:
            with torch.no_grad():
                scale = torch.as_tensor(layer.quant_weight().scale).reshape(-1)
            bits[name], rounding[name] = found.pot.bits, found.pot.rounding
            exponents[name] = scale.log2().round().int().tolist()
    return {
        "hwtrain.pot_bits": json.dumps(bits),
        "hwtrain.rounding": json.dumps(rounding),
        "hwtrain.exponents": json.dumps(exponents),
    }


def _plain(y: Any) -> Tensor:
    """A tensor, or the value of Brevitas's QuantTensor."""
    plain = y if type(y) is Tensor else y.value
    assert isinstance(plain, Tensor)
    return plain


@contextlib.contextmanager
def _silence() -> Any:
    """Exporters warn of their own deprecations and print what they do."""
    before = logging.root.manager.disable
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        logging.disable(logging.ERROR)
        try:
            yield
        finally:
            logging.disable(before)
