"""Power-of-two weights in Brevitas: the integers of our own layers, and files that say what they compute.

Each row is exported as QONNX and as QCDQ, run by qonnx and onnxruntime, and held to Brevitas's own forward.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its import warns of an optional package
    import brevitas.nn as qnn
    from brevitas.quant import Int8ActPerTensorFixedPoint, Uint8ActPerTensorFixedPoint

    from hwtrain.export.brevitas import (
        PotWeight,
        PotWeightPerChannel,
        execute,
        export,
        freeze,
        stock_export,
    )

from hwtrain.arith import pow2
from hwtrain.arith.pow2 import Pot
from hwtrain.errors import ConfigError, ProgramError
from hwtrain.qat.layers import shift_weights

QUANT = {"tensor": PotWeight, "channel": PotWeightPerChannel}
pytestmark = pytest.mark.filterwarnings("ignore:Defining your `__torch_function__:DeprecationWarning")


def model(kind: str, bits: int, scale: str, seed: int = 0) -> tuple[nn.Module, Tensor]:
    """Two layers of weights with bias and stride, calibrated, channels of different size; and inputs."""
    torch.manual_seed(seed)
    weight = {"weight_quant": QUANT[scale], "weight_pot_bits": bits}
    calibrated = {"collect_stats_steps": 2}
    act = qnn.QuantReLU(act_quant=Uint8ActPerTensorFixedPoint, **calibrated)
    if kind == "linear":
        layers = [qnn.QuantLinear(30, 96, True, **weight), act, qnn.QuantLinear(96, 40, True, **weight)]
        shape: tuple[int, ...] = (150, 30)
    else:
        groups = (6, 12) if kind == "depthwise" else (1, 1)
        layers = [
            qnn.QuantConv2d(6, 12, 3, stride=2, padding=1, groups=groups[0], **weight),
            act,
            qnn.QuantConv2d(12, 24, 5, stride=2, padding=2, groups=groups[1], **weight),
        ]
        shape = (120, 6, 15, 15)
    net = nn.Sequential(qnn.QuantIdentity(act_quant=Int8ActPerTensorFixedPoint, **calibrated), *layers)
    with torch.no_grad():
        for layer in (layers[0], layers[2]):
            layer.weight.mul_(
                torch.exp2(3 * torch.rand(layer.weight.shape[0]) - 1.5).reshape(
                    -1, *[1] * (layer.weight.dim() - 1)
                )
            )
        layers[2].bias.mul_(300)  # channels far apart: many different outputs
    net.train()
    for _ in range(4):
        net(torch.randn(shape))
    return net.eval(), torch.randn(shape)


ROWS = [
    (bits, kind, scale, dynamo, opset)
    for bits in (2, 3, 4)
    for kind in ("conv", "linear", "depthwise")
    for scale in QUANT
    for dynamo in (False, True)
    for opset in (18, 20)
]
QUICK = {(3, "conv", "channel", False, 18), (4, "linear", "tensor", False, 20)}


@pytest.mark.parametrize(
    "row", [row if row in QUICK else pytest.param(row, marks=pytest.mark.slow) for row in ROWS], ids=str
)
def test_both_files_of_a_row_are_equal_bit_for_bit(row: Any, tmp_path: Path) -> None:
    bits, kind, scale, dynamo, opset = row
    net, x = model(kind, bits, scale, seed=bits)
    for to in ("qonnx", "qcdq"):
        file = tmp_path / f"{to}.onnx"
        compared = export(net, x, file, to=to, dynamo=dynamo, opset=opset)  # type: ignore[arg-type]
        found = execute(file, x, to)
        assert found.size == compared
        assert np.array_equal(found, freeze(net, x)(x).detach().numpy())
        assert len(np.unique(found)) >= 1000
        made = onnx.load(file)
        assert [one.version for one in made.opset_import if not one.domain] == [opset]
        metadata = {
            one.key: json.loads(one.value) for one in made.metadata_props if one.key.startswith("hwtrain")
        }
        assert metadata["hwtrain.pot_bits"] == {"1": bits, "3": bits}
        assert metadata["hwtrain.rounding"] == {"1": "linear", "3": "linear"}
        assert len(metadata["hwtrain.exponents"]["1"]) == (1 if scale == "tensor" else net[1].weight.shape[0])  # type: ignore[index, union-attr]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["qcdq.onnx", "qonnx.onnx"]


def test_there_are_72_rows() -> None:
    assert len(set(ROWS)) == 72


@pytest.mark.parametrize("scale", QUANT)
@pytest.mark.parametrize("bits", [2, 3, 4, 5])
def test_the_integers_are_those_of_our_own_layers(bits: int, scale: Any) -> None:
    pot = Pot(bits, scale=scale)
    for kind in ("conv", "linear"):
        net, _ = model(kind, bits, scale)
        layer: Any = net[1]  # type: ignore[index]
        w = layer.weight.detach()
        low = pow2.lowest(w.numpy(), pot)
        codes = pow2.encode(w.numpy(), low, pot)
        found = layer.quant_weight()
        assert np.array_equal(found.int().numpy(), pow2.values(codes))
        assert np.array_equal(np.log2(found.scale.detach().numpy()).ravel(), low.ravel())
        own = shift_weights(nn.Linear(*w.flatten(1).T.shape), pot)
        own.parametrizations["weight"].original.data.copy_(w.flatten(1))  # type: ignore[index, union-attr]
        assert torch.equal(own.weight, found.value.flatten(1))


def test_a_layer_of_brevitas_trains() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        qnn.QuantConv2d(1, 4, 3, weight_quant=PotWeight, weight_pot_bits=3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64, 3),
    )
    x, labels = torch.randn(60, 1, 6, 6), torch.randint(0, 3, (60,))
    optimiser = torch.optim.SGD(net.parameters(), lr=0.2)
    first = net[0].weight.detach().clone()  # type: ignore[union-attr]
    losses = []
    for _ in range(40):
        loss = nn.functional.cross_entropy(net(x), labels)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.6 * losses[0]
    assert not torch.equal(first, net[0].weight)  # type: ignore[arg-type]


@pytest.mark.parametrize("bits", [3, 4])
def test_the_stock_export_is_silently_wrong_and_seen_to_be(bits: int, tmp_path: Path) -> None:
    net, x = model("conv", bits, "tensor")
    expected = net(x).detach().numpy()
    stock_export(model("conv", bits, "tensor")[0], x, tmp_path / "stock", to="qonnx", dynamo=False, opset=18)
    wrong = execute(tmp_path / "stock", x, "qonnx") != expected
    assert wrong.mean() > 0.2  # without an error or a warning
    (tmp_path / "stock").unlink()
    assert export(net, x, tmp_path / "ours") == expected.size


def test_a_file_that_differs_is_never_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net, x = model("conv", 3, "tensor")
    monkeypatch.setattr("hwtrain.export.brevitas.freeze", lambda net, x: net)
    with pytest.raises(ProgramError, match=r"\d+ of \d+ outputs of the file differ: nothing was written"):
        export(net, x, tmp_path / "net.onnx", dynamo=False)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_exported_is_refused(tmp_path: Path) -> None:
    net, x = model("conv", 5, "tensor")
    file = tmp_path / "net.onnx"
    with pytest.raises(ProgramError, match="Brevitas cannot export the model"):
        export(net, x, file, to="qcdq", dynamo=False)  # 16-bit weights
    with pytest.raises(ConfigError, match="opset = 17"):
        export(net, x, file, opset=17)
    with pytest.raises(ConfigError, match="to = 'onnx'"):
        export(net, x, file, to="onnx")  # type: ignore[arg-type]
    bare = nn.Sequential(qnn.QuantConv2d(6, 4, 3, weight_quant=PotWeight))
    with pytest.raises(ProgramError, match="layer 0: its input is no multiple of a power of two"):
        export(bare, x, file)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ConfigError, match="bits = 6"):
        qnn.QuantLinear(3, 3, True, weight_quant=PotWeight, weight_pot_bits=6)
