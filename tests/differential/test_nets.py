"""Nets with normalisation, sums and joined channels: torch.nn and autograd judge them, on every engine."""

from __future__ import annotations

import copy
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import InferenceSession
from torch import Tensor, nn

from hwtrain.arith.float32 import inverse_root
from hwtrain.arith.threefry import Streams
from hwtrain.cards import card
from hwtrain.convert import from_torch
from hwtrain.errors import ConfigError
from hwtrain.export.run import NativeRunner
from hwtrain.layers.dense import Dense
from hwtrain.layers.relu import Relu
from hwtrain.net import INPUT, Add, Concat, Graph, Net
from hwtrain.nets.base import build
from hwtrain.program.lower import lower
from hwtrain.registry import names
from hwtrain.rules.backprop import Backprop
from hwtrain.substrates.base import Options, Trial, substrate_of
from tests.programs import bound_on, differences, interpreted, moved, samples, trained

SOFTWARE = substrate_of(card("float32"), Options())


class Block(nn.Module):
    """Residual, with a shortcut that changes the shape; then its channels twice."""

    def __init__(self, in_: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_, out, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(out, momentum=0.3)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, groups=2)
        self.norm2 = nn.BatchNorm2d(out, eps=1e-3)
        self.around = nn.Sequential(nn.Conv2d(in_, out, 1, stride), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm2(self.conv2(torch.tanh(self.norm1(self.conv1(x)))))
        y = y + self.around(x)
        return torch.cat([y.relu(), torch.sigmoid(y)], 1)


class Whole(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(Block(2, 4, 1), nn.Identity(), Block(8, 4, 2))
        self.mean = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.mean(self.blocks(x))
        found: Tensor = self.fc(x.view(x.size(0), -1))
        return found


def module(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    made = Whole()
    for norm in made.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.normal_(norm.weight)
            nn.init.normal_(norm.bias)
    return made


def theirs(path: str) -> str:
    """What torch calls a tensor of ours."""
    path = path.replace("layer", "").replace(".scale", ".weight")
    return path.replace("/mean", ".running_mean").replace("/variance", ".running_var")


@pytest.mark.parametrize("phase", ["train", "eval"])
def test_output_gradients_and_running_statistics_are_those_of_torch(phase: Any) -> None:
    judge = module().double()
    net = from_torch(judge)
    trial = Trial(Streams(0), dtype=torch.float64)
    net.place(trial, lambda _: SOFTWARE, SOFTWARE)
    trial.ledger.clock.phase = phase
    judge.train(phase == "train")
    x = torch.randn(6, 2, 8, 8, dtype=torch.float64, requires_grad=True)
    z = judge(x)
    d = torch.randn_like(z)
    z.backward(d)
    y, _, tapes = net.fw(x.detach())
    back, directions = net.backward(d, tapes, first="")
    assert net.out_shape((2, 8, 8)) == (5,)
    torch.testing.assert_close(y, z.detach(), rtol=1e-10, atol=1e-10)
    assert back is not None
    torch.testing.assert_close(back, x.grad, rtol=1e-10, atol=1e-10)
    parameters = dict(judge.named_parameters())
    assert len(directions) == len(parameters)
    for path, direction in directions.items():
        expected = parameters[theirs(path)].grad
        assert expected is not None
        found = direction.summed().change.reshape(expected.shape)  # type: ignore[union-attr]
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
    running = {key: value for key, value in net.state().items() if key.endswith(("mean", "variance"))}
    assert len(running) == 12
    buffers = dict(judge.named_buffers())
    for key, value in running.items():
        torch.testing.assert_close(value, buffers[theirs(key)], rtol=1e-12, atol=1e-14)


def test_a_module_in_evaluation_mode_keeps_its_statistics() -> None:
    net = from_torch(module().eval())
    net.place(Trial(Streams(0)), lambda _: SOFTWARE, SOFTWARE)
    bound = Backprop().bind(net)
    next(iter(net.arrays()))[1].trial.ledger.clock.phase = "train"
    before = net.state()
    bound.step(torch.randn(1, 2, 8, 8), torch.tensor([1]), 0.1)
    same = [torch.equal(before[key], value) for key, value in net.state().items()]
    kept = [key.endswith(("/mean", "/variance")) for key in before]
    assert [is_same for is_same, is_kept in zip(same, kept, strict=True) if is_kept] == [True] * 12
    assert not all(same)


def test_interpreter_and_c_train_it_to_the_same_bits_and_torch_to_nearly_the_same() -> None:
    """Three samples a step, the statistics of the batch, five steps; then frozen predictions."""
    torch.manual_seed(0)
    judge = nn.Sequential(Block(2, 4, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
    net = from_torch(judge)
    bound = bound_on(net, "float32")
    program = lower(bound, (2, 4, 4), 3)
    given = samples(bound, program, 5, classes=5)
    ours = trained(interpreted(program), given, 5)
    assert differences(ours, trained(NativeRunner(program), given, 5)) == {}
    assert moved(program, ours) > 0.9
    learner = torch.optim.SGD(judge.parameters(), lr=0.05)
    judge.train()
    for x, labels in zip(given["x"], given["labels"], strict=True):
        learner.zero_grad()
        nn.functional.cross_entropy(judge(torch.from_numpy(x)), torch.from_numpy(labels).long()).backward()
        learner.step()
    judge.eval()
    z = judge(torch.from_numpy(given["x"]).flatten(0, 1)).detach()
    np.testing.assert_allclose(ours["z"].reshape(z.shape), z.numpy(), rtol=2e-3, atol=2e-3)


def test_inverse_root_is_within_two_units_of_the_last_place() -> None:
    x = np.exp(np.random.default_rng(0).uniform(-80, 80, 400_000)).astype(np.float32)
    true = 1 / np.sqrt(x.astype(np.float64))
    ulps = np.abs(inverse_root(x).astype(np.float64) - true) / np.spacing(true.astype(np.float32))
    assert ulps.max() < 2


QUICK = ("cnn", "ds-cnn", "resnet8")
BY_HEART = [
    pytest.param(name, device, marks=() if name in QUICK and device == "float32" else pytest.mark.slow)
    for name in names("nets")
    for device in ("float32", "pot4")
]


@pytest.mark.parametrize(("name", "device"), BY_HEART)
def test_a_named_net_learns_a_batch_by_heart(name: str, device: str) -> None:
    net = build(name, (3, 8, 8), 4, "relu")
    assert net.out_shape((3, 8, 8)) == (4,)
    home = substrate_of(card(device), Options())
    net.place(Trial(Streams(1)), lambda _: home, SOFTWARE)
    bound = Backprop().bind(net)
    next(iter(net.arrays()))[1].trial.ledger.clock.phase = "train"
    x = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(8) % 4
    losses = [float(bound.step(x, labels, 0.1).mean()) for _ in range(8)]
    assert losses[-1] < 0.7 * losses[0]


def test_a_graph_takes_what_its_children_name() -> None:
    eye = torch.eye(3, dtype=torch.float64)
    graph = Graph(
        {"twice": Dense(3, 3, weights=2 * eye), "sum": Add(), "bend": Relu(), "side": Concat()},
        {"sum": ("twice", INPUT), "side": ("bend", "twice")},
    )
    graph.place(Trial(Streams(0), dtype=torch.float64), lambda _: SOFTWARE, SOFTWARE)
    x = torch.tensor([[1.0, -2.0, 3.0]], dtype=torch.float64)
    assert graph.out_shape((3,)) == (6,)
    assert graph.fw(x)[0].tolist() == [[3, 0, 9, 2, -4, 6]]


@pytest.mark.parametrize(
    ("children", "inputs", "said"),
    [
        ({"a": Add()}, {}, "a takes 1 signals"),
        ({"a": Relu()}, {"a": (INPUT, INPUT)}, "a takes 2 signals"),
        ({"a": Relu(), "b": Relu()}, {"a": ("b",)}, "'b', which is no child before it"),
    ],
)
def test_a_graph_that_cannot_be_wired_is_refused(children: Any, inputs: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Graph(children, inputs)


def test_signals_that_do_not_meet_are_refused() -> None:
    for merge in (Add(), Concat()):
        graph = Graph(
            {"fc": Dense(4, 2) if isinstance(merge, Add) else Relu(), "meet": merge},
            {
                "fc": (INPUT,),
                "meet": ("fc", INPUT),
            },
        )
        if isinstance(merge, Add):
            with pytest.raises(ConfigError, match="layer meet: a sum of"):
                graph.out_shape((4,))
        else:
            with pytest.raises(ValueError, match="channels of"):
                merge.out_shape((2, 4, 4), (2, 3, 3))


class Odd(nn.Module):
    """What has no counterpart, or no meaning."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.fc = nn.Linear(4, 4)
        self.norm = nn.BatchNorm2d(2, track_running_stats=False)
        self.fixed, self.all = nn.BatchNorm2d(2, affine=False), nn.BatchNorm2d(2, momentum=None)
        self.bend, self.idle = nn.ReLU(inplace=True), nn.Identity()

    def forward(self, x: Tensor) -> Any:
        match self.kind:
            case "branch":
                return self.fc(x) if x.sum() > 0 else x
            case "twice":
                return self.fc(self.fc(x))
            case "function":
                return torch.cumsum(self.fc(x), 1)
            case "two":
                return self.fc(x), x
            case "layer":
                return self.norm(x)
            case "fixed":
                return self.fixed(x)
            case "all":
                return self.all(x)
            case "inplace":
                y = self.fc(x)
                return self.bend(y) + y
            case "sum":
                y = before = self.idle(x)
                return y.add_(self.fc(x)) + before
        return x * 2


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("branch", "cannot follow Odd.forward"),
        ("twice", "fc is used twice"),
        ("function", "no counterpart of .*cumsum"),
        ("two", "must return one tensor"),
        ("layer", "layer norm: no counterpart of BatchNorm2d"),
        ("product", "no counterpart of .*mul"),
        ("fixed", "layer fixed: .* affine=True"),
        ("all", "layer all: .* momentum"),
        ("inplace", "takes fc, which bend has changed in place"),
        ("sum", "takes idle, which add_ has changed in place"),
    ],
)
def test_a_module_without_a_counterpart_is_refused_by_name(kind: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        from_torch(Odd(kind))


def test_a_factory_is_found_in_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hers_7.py").write_text(
        "from torch import nn\nimport hwtrain\n"
        "def mlp(): return nn.Sequential(nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, 10))\n"
        "def ours(): return hwtrain.Net({})\n"
        "def broken(): raise RuntimeError('no luck')\n"
        "def number(): return 7\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", copy.copy(sys.path))
    assert [path for path, _ in build("hers_7:mlp", (64,), 10, "tanh").layers()] == [
        "layer0",
        "layer1",
        "layer2",
    ]
    assert isinstance(build("hers_7:ours", (64,), 10, "tanh"), Net)
    for spec, said in [
        ("hers_7:broken", "no luck: mend the factory"),
        ("hers_7:missing", "AttributeError"),
        ("hers_8:mlp", "ModuleNotFoundError"),
        ("hers_7:number", "returns a int"),
        ("resnet21", "did you mean 'resnet20'"),
        ("resnet20", "square images of 8 pixels"),
    ]:
        with pytest.raises(ConfigError, match=said):
            build(spec, (64,), 10, "tanh")


def exported(judge: nn.Module, x: Tensor, file: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's older exporter says that it is the older one
        torch.onnx.export(
            judge.eval(), (x,), file, dynamo=False, dynamic_axes={"x": {0: "n"}}, input_names=["x"]
        )
    return file


def test_an_onnx_file_computes_what_onnxruntime_computes_of_it(tmp_path: Path) -> None:
    x = torch.randn(3, 2, 8, 8, generator=torch.Generator().manual_seed(1))
    file = exported(nn.Sequential(module(), nn.Tanh(), nn.Linear(5, 4, bias=False)), x, tmp_path / "net.onnx")
    net = build(str(file), (2, 8, 8), 4, "relu")
    net.place(Trial(Streams(0)), lambda _: SOFTWARE, SOFTWARE)
    expected = InferenceSession(file).run(None, {"x": x.numpy()})[0]
    np.testing.assert_allclose(net.fw(x)[0].numpy(), expected, rtol=1e-4, atol=1e-5)
    assert np.abs(expected).max() > 0.1


def test_an_onnx_file_of_another_exporter_has_its_bias_in_a_sum_of_its_own(tmp_path: Path) -> None:
    w, b = np.arange(6, dtype=np.float32).reshape(3, 2), np.array([1, -1], np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["wx"], "mul"),
        helper.make_node("Add", ["wx", "b"], ["y"]),
    ]
    net = build(str(onnx_file(tmp_path, nodes, w=w, b=b)), (3,), 2, "relu")
    net.place(Trial(Streams(0)), lambda _: SOFTWARE, SOFTWARE)
    assert net.fw(torch.ones(1, 3))[0].tolist() == [[7, 8]]
    assert [path for path, _ in net.layers()] == ["mul"]


def test_an_onnx_file_of_a_chain_is_a_net_and_keeps_layers_of_the_same_name(tmp_path: Path) -> None:
    w, b = np.arange(9, dtype=np.float32).reshape(3, 3), np.array([1, -1, 0], np.float32)
    nodes = [
        helper.make_node("Identity", ["w"], ["v"]),
        helper.make_node("Constant", [], ["c"], value_floats=[0.5, 2.0, 0.0]),
        helper.make_node("Gemm", ["x", "v", "b"], ["h"], "input"),
        helper.make_node("Identity", ["h"], ["i"]),
        helper.make_node("Relu", ["i"], ["r"], "same"),
        helper.make_node("MatMul", ["r", "w"], ["m"], "/same"),
        helper.make_node("Add", ["c", "m"], ["y"]),
    ]
    file = onnx_file(tmp_path, nodes, w=w, b=b)
    net = build(str(file), (3,), 3, "relu")
    assert type(net) is Net  # no graph: every rule trains it
    assert len(list(net.layers())) == 3
    net.place(Trial(Streams(0)), lambda _: SOFTWARE, SOFTWARE)
    x = np.array([[1, -2, 3]], np.float32)
    expected = InferenceSession(file).run(None, {"x": x})[0]
    np.testing.assert_array_equal(net.fw(torch.from_numpy(x))[0].numpy(), expected)


def onnx_file(folder: Path, nodes: list[Any], **constants: np.ndarray) -> Path:
    kind = TensorProto.FLOAT
    ends = [helper.make_tensor_value_info(name, kind, None) for name in ("x", "y")]
    held = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], held)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]), folder / "it.onnx")
    return folder / "it.onnx"


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        ([("Softmax", "x", {})], "leave it out"),
        ([("Gelu", "x", {})], "no counterpart of Gelu"),
        ([("MaxPool", "x", {"kernel_shape": [3, 3], "strides": [2, 2]})], "node MaxPool0: only windows"),
        ([("MaxPool", "x", {"kernel_shape": [3, 2]})], "only square ones"),
        ([("Conv", "x w", {"dilations": [2, 2]})], "without dilation"),
        ([("Gemm", "x v", {"alpha": 2.0})], "alpha = 2.0: only 1.0"),
        ([("Mul", "x x", {})], "Mul of 2 signals"),
        ([("MaxPool", "x", {"kernel_shape": [2, 2], "strides": [2, 2], "dilations": [2, 2]})], "dilations"),
        ([("MatMul", "v x", {})], "MatMul takes its signal elsewhere than first"),
        ([("MatMul", "x w", {})], "MatMul by constants of shape"),
        ([("Gemm", "v x", {})], "Gemm takes its signal elsewhere"),
        ([("Gemm", "x v s", {})], r"a bias of shape \(3, 1\) for 3 outputs"),
        ([("Relu", "z", {})], "takes z, which is made nowhere"),
        ([("Constant", "", {"value_string": b"a"}), ("Relu", "x", {})], "Constant of 0 signals"),
        ([("MatMul", "x v", {}), ("Relu", "y0", {}), ("Add", "y0 b", {})], "Add of 1 signals"),
    ],
)
def test_a_node_without_a_counterpart_is_refused_by_name(nodes: Any, said: str, tmp_path: Path) -> None:
    made = [
        helper.make_node(kind, names_.split(), [f"y{place}"], **options)
        for place, (kind, names_, options) in enumerate(nodes)
    ]
    made[-1].output[0] = "y"
    shapes = {"w": (1, 1, 3, 3), "v": (3, 3), "s": (3, 1), "b": (3,)}
    constants = {name: np.ones(shape, np.float32) for name, shape in shapes.items()}
    with pytest.raises(ConfigError, match=said):
        build(str(onnx_file(tmp_path, made, **constants)), (3,), 3, "relu")


def test_what_is_no_onnx_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_bytes(b"\xff" * 40)
    for name, said in [("none.onnx", "check the path"), ("text.onnx", "export it again")]:
        with pytest.raises(ConfigError, match=said):
            build(str(tmp_path / name), (3,), 2, "relu")
