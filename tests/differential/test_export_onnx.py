"""Programs as ONNX: every signal of every layer against the interpreter, in onnxruntime and in qonnx.

``write`` compares before it is done; here its verdict is tried: files that were spoilt must be refused, and
the outputs of a whole file are once more taken from a session of our own and held against torch.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper

from hwtrain.cards import FixedCard
from hwtrain.cli import main
from hwtrain.config import make_config
from hwtrain.errors import ConfigError, HwtrainError, ProgramError, RunError
from hwtrain.export import onnx as export_onnx
from hwtrain.layers.conv2d import Conv2d
from hwtrain.layers.dense import Dense
from hwtrain.layers.flatten import Flatten
from hwtrain.layers.relu import Relu
from hwtrain.net import INPUT, Concat, Graph, Net
from hwtrain.nets.base import build
from hwtrain.program.ir import Program
from hwtrain.program.lower import lower
from hwtrain.registry import lookup
from hwtrain.rules.base import Bound
from hwtrain.training import loop
from tests.helpers import write_csv
from tests.programs import bound_on, fixed_card, loss_of, samples, small_program

DIALECTS = ("qonnx", "qcdq")
LEAST = 1000


def shift_net(kind: str) -> tuple[Net, tuple[int, ...]]:
    """Two layers of weights with bias and, where it has one, a stride."""
    if kind == "linear":
        layers: dict[str, Any] = {"a": Dense(30, 40), "act": Relu(), "b": Dense(40, 24)}
        return Net(layers, loss_of("squared-error")), (30,)
    groups = 6 if kind == "depthwise" else 1
    convolutions = {
        "a": Conv2d(6, 12, 3, stride=2, padding=1, groups=groups),
        "act": Relu(),
        "b": Conv2d(12, 12, 3, stride=1, padding=0, groups=2 * groups if groups > 1 else 1),
        "flat": Flatten(),
    }
    return Net(convolutions, loss_of("squared-error")), (6, 12, 12)


def with_offsets(net: Net, seed: int) -> Net:
    """First biases that are not zero."""
    generator = torch.Generator().manual_seed(seed)
    for _, layer in net.layers():
        if isinstance(layer, Conv2d | Dense):
            out = layer.out_channels if isinstance(layer, Conv2d) else layer.out
            layer.offsets = torch.randn(out, generator=generator) / 2
    return net


def shift_program(kind: str, device: FixedCard, seed: int = 0) -> tuple[Bound, Program]:
    """The program of such a net on a card."""
    net, shape = shift_net(kind)
    bound = bound_on(with_offsets(net, seed), device, seed=seed)
    return bound, lower(bound, shape, 4)


def pot_card(bits: int, rounding: str = "half-up") -> FixedCard:
    return fixed_card((8, 4, 6), (16, 13), rounding, pot=bits)


def printer(dialect: str, **options: Any) -> Any:
    made = lookup("printers", dialect)
    return made(made.Options(**options))


ROWS = [
    (bits, kind, rounding, opset)
    for bits in (2, 3, 4)
    for kind in ("conv", "linear", "depthwise")
    for rounding in ("half-up", "floor", "half-even")
    for opset in (18, 20)
]
QUICK = {(4, "conv", "half-up", 18), (3, "depthwise", "half-even", 20), (2, "linear", "floor", 18)}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "row", [row if row in QUICK else pytest.param(row, marks=pytest.mark.slow) for row in ROWS], ids=str
)
def test_every_signal_of_a_file_is_that_of_the_program(row: Any, dialect: str, tmp_path: Path) -> None:
    bits, kind, rounding, opset = row
    bound, program = shift_program(kind, pot_card(bits, rounding), seed=bits)
    given = samples(bound, program, 30, scale=2.0)
    file = tmp_path / "net.onnx"
    compared = printer(dialect, opset=opset).write(program, given, 0.0, file)
    assert compared > 30 * 4 * 60
    model = export_onnx.read(file)
    assert [one.version for one in model.opset_import if not one.domain] == [opset]
    metadata = {one.key: one.value for one in model.metadata_props}
    assert set(json.loads(metadata["hwtrain.pot_bits"]).values()) == {bits}
    assert metadata["hwtrain.rounding"] == rounding
    exponents = json.loads(metadata["hwtrain.exponents"])
    arrays = dict(bound.net.arrays())
    assert exponents == {name: -arrays[name].frac for name in ("a.weight", "b.weight")}


@pytest.mark.parametrize("kind", ["conv", "linear", "depthwise"])
def test_a_session_of_ones_own_gives_what_torch_trains_on(kind: str, tmp_path: Path) -> None:
    bound, program = shift_program(kind, pot_card(4))
    given = samples(bound, program, 60, scale=2.0)
    file = tmp_path / "net.onnx"
    printer("qcdq").write(program, {"x": given["x"][:1]}, 0.0, file)
    session = onnxruntime.InferenceSession(file.read_bytes())
    rows, codes = set(), set()
    for batch in given["x"]:
        z = session.run(None, {"x": np.ldexp(batch.astype(np.float32), -4)})[0] * 16
        assert np.array_equal(z, bound.predict(torch.from_numpy(batch)).numpy())
        rows |= {row.tobytes() for row in z}
        codes |= {(place, int(code)) for row in z for place, code in enumerate(row)}
    assert len(rows) == 240
    assert len(codes) >= LEAST  # by output and code


@pytest.mark.parametrize("dialect", DIALECTS)
def test_pooling_blocks_and_groups_are_written_too(dialect: str, tmp_path: Path) -> None:
    bound, program = small_program("cnn", "shift4")
    assert printer(dialect).write(program, samples(bound, program, 5), 0.0, tmp_path / "net.onnx") > 5000


@pytest.mark.parametrize("dialect", DIALECTS)
def test_joined_channels_are_written_too(dialect: str, tmp_path: Path) -> None:
    body = {"c2": Conv2d(4, 3, 3, padding=1), "a2": Relu(), "join": Concat()}
    layers: dict[str, Any] = {
        "c1": Conv2d(2, 4, 3, padding=1),
        "block": Graph(body, {"join": (INPUT, "a2")}),
        "c3": Conv2d(7, 5, 3, stride=2),
        "flat": Flatten(),
        "both": Graph({"d": Dense(45, 6), "join": Concat()}, {"join": ("d", INPUT)}),
        "e": Dense(51, 4),
    }
    bound = bound_on(Net(layers, loss_of("squared-error")), "shift4")
    program = lower(bound, (2, 7, 7), 2)
    assert printer(dialect).write(program, samples(bound, program, 5), 0.0, tmp_path / "net.onnx") > 3000


@pytest.mark.parametrize("net", ["resnet20", "densenet-small"])
def test_nets_with_batch_normalisation_are_refused_by_name(net: str) -> None:
    with pytest.raises(
        ConfigError, match=r"layer \S*norm\d: batch normalisation needs floating-point numbers"
    ):
        bound_on(build(net, (3, 16, 16), 10, "relu"), "shift4")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_one_wrong_weight_is_found_and_nothing_is_written(
    dialect: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bound, program = shift_program("conv", pot_card(3))
    made = printer(dialect)
    content, _ = made.print(program)
    model = onnx.load_model_from_string(content)
    for held in model.graph.initializer:
        if held.name.startswith("b.weight") and np.prod(held.dims) > 100:
            values = numpy_helper.to_array(held).copy()
            values.flat[np.flatnonzero(values)[0]] *= -1
            held.CopyFrom(numpy_helper.from_array(values, held.name))
    spoilt, printed = model.SerializeToString(), made.print
    monkeypatch.setattr(made, "print", lambda program: (spoilt, printed(program)[1]))
    with pytest.raises(ProgramError, match="values differ between the file and the program"):
        made.write(program, samples(bound, program, 3), 0.0, tmp_path / "net.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_truncated_file_is_no_model(tmp_path: Path) -> None:
    bound, program = shift_program("linear", pot_card(4))
    file = tmp_path / "net.onnx"
    printer("qonnx").write(program, samples(bound, program, 1), 0.0, file)
    whole = file.read_bytes()
    for size in (0, 10, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:size])
        with pytest.raises(ProgramError, match="not a whole ONNX model"):
            export_onnx.read(file)
    with pytest.raises(RunError, match="cannot read"):
        export_onnx.read(tmp_path / "none")


def refused(program: Program, dialect: str, folder: Path, said: str, bound: Bound) -> None:
    with pytest.raises(HwtrainError, match=said):
        printer(dialect).write(program, samples(bound, program, 1), 0.0, folder / "net.onnx")
    assert list(folder.iterdir()) == []


def test_what_the_dialects_cannot_hold_is_refused(tmp_path: Path) -> None:
    bound, program = shift_program("conv", pot_card(5))
    refused(program, "qonnx", tmp_path, r"layer a: a sum may reach 2\^2\d, beyond the 2\^24", bound)
    bound, program = shift_program("depthwise", pot_card(5))
    refused(program, "qcdq", tmp_path, "16 bits: QuantizeLinear knows 8", bound)
    bound, program = small_program("mlp", "float32")
    refused(program, "qonnx", tmp_path, "float32 has no codes", bound)
    bound, program = small_program("mlp", "fixed16")
    refused(program, "qcdq", tmp_path, "16 bits", bound)


def test_a_code_that_is_no_power_of_two_of_its_bits_is_refused(tmp_path: Path) -> None:
    bound, program = shift_program("conv", pot_card(3))
    program.contents["a.weight/codes"].flat[5] = 5  # 2^4, where 3 bits end at 2^2
    refused(program, "qonnx", tmp_path, "a.weight/codes: a code above 3 is no power of two of 3 bits", bound)


def test_a_kernel_without_counterpart_is_refused_by_name(tmp_path: Path) -> None:
    bound, program = shift_program("linear", pot_card(3))
    listing = program.listing
    step = [
        node for node in listing.entries["step"] if getattr(node, "kernel", "").startswith("squared_error")
    ]
    entries = listing.entries | {"predict": (*listing.entries["predict"], *step)}
    z = step[0].tensors["z"]  # type: ignore[union-attr]
    last = listing.entries["predict"][-1]
    loss, error = step[0].results  # type: ignore[union-attr]
    moved = step[0].model_copy(
        update={
            "tensors": {**step[0].tensors, "z": last.results[0].model_copy(update={"shape": z.shape})},
            "results": (loss, error.model_copy(update={"buffer": "odd"})),
        }
    )  # type: ignore[union-attr]
    entries["predict"] = (*listing.entries["predict"], moved)
    buffers = listing.buffers | {"odd": listing.buffers[error.buffer]}
    odd = Program(listing.model_copy(update={"entries": entries, "buffers": buffers}), program.contents)
    refused(odd, "qonnx", tmp_path, "squared_error.forward has no counterpart in ONNX", bound)


@pytest.mark.parametrize("opset", ["17", "21", "x"])
def test_another_opset_is_refused(opset: str) -> None:
    from hwtrain.analysis.programs import printer as chosen

    with pytest.raises(ConfigError, match="opset"):
        chosen("qonnx", opset=opset)
    with pytest.raises(ConfigError, match="unknown key opset"):
        chosen("c", opset="18")


def test_the_command_writes_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = str(write_csv(tmp_path / "small.csv", 60))
    config = make_config(data=data, net="4-3-3", device="shift4", batch=4, lr=0.1, epochs=1, seeds=1)
    loop.run(config, out=tmp_path / "run", controls=False)
    file = tmp_path / "net.onnx"
    for words in (["--to", "qonnx"], ["--to", "qcdq", "--opset", "20", "--json"]):
        assert main(["export", str(tmp_path / "run"), *words, "--out", str(file)]) == 0
        said = capsys.readouterr().out
        assert (json.loads(said)["mismatches"] == 0) if "--json" in words else (", 0 differ" in said)
        assert onnx.load(file).producer_name == "hwtrain"
        file.unlink()
    assert main(["export", str(tmp_path / "run"), "--to", "qcdq", "--opset", "7", "--out", str(file)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not file.exists()
