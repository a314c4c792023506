"""What cannot become a program, or is none: one line that names the place and what would work."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load, save
from torch import Tensor

from hwtrain.config import make_config
from hwtrain.errors import ConfigError, HwtrainError, IncompatibleRule, NativeError, ProgramError
from hwtrain.export.run import InterpretRunner, NativeRunner, Runner
from hwtrain.kernels import vector
from hwtrain.kernels.base import kernel, sections
from hwtrain.kernels.xbar import KNOWN
from hwtrain.layers.avg_pool2d import AvgPool2d
from hwtrain.layers.conv2d import Conv2d
from hwtrain.layers.dense import Dense
from hwtrain.layers.flatten import Flatten
from hwtrain.layers.max_pool2d import MaxPool2d
from hwtrain.layers.tanh import Tanh
from hwtrain.native import build
from hwtrain.net import Net
from hwtrain.nets.base import mlp
from hwtrain.program.ir import load_program
from hwtrain.program.lower import lower
from hwtrain.rules.base import Bound
from hwtrain.training.trial import Spec, place
from tests.programs import bound_on, loss_of, small_cnn, small_mlp, small_program
from tests.toy_rules import Toy


@pytest.mark.parametrize(
    ("net", "said"),
    [
        (Net({"fc1": Dense(4, 3), "bend": Tanh(), "fc2": Dense(3, 2)}), "layer bend: tanh needs.*: use relu"),
        (
            Net({"c": Conv2d(1, 1, 1), "mean": AvgPool2d(3), "flat": Flatten(), "fc": Dense(4, 2)}),
            "layer mean: the mean of 9 codes is no shift: pool over 2, 4 or 8",
        ),
        (mlp("4-3", loss=loss_of("softmax-ce")), "SoftmaxCe needs .*: use softmax2 or squared-error"),
        (mlp("4-3", loss=loss_of("mse")), "Mse needs .*: use softmax2 or squared-error"),
    ],
)
@pytest.mark.parametrize("device", ["fixed16", "fixed8", "shift4"])
def test_what_has_no_meaning_in_whole_numbers_is_refused(net: Net, said: str, device: str) -> None:
    with pytest.raises(ConfigError, match=said):
        bound_on(net, device)


@pytest.mark.parametrize("kept", [{"momentum": 0.9}, {"clip": 1.0}, {"summed": True}])
def test_transforms_have_no_kernels(kept: dict[str, Any]) -> None:
    config = make_config(**kept)
    bound, _ = place(Spec("device", "backprop", "float32", 0, 0.1), config, mlp("4-3-2"))
    with pytest.raises(IncompatibleRule, match=r"layer fc1\.weight: momentum.*: leave them out"):
        lower(bound, (4,))


def test_a_law_that_c_does_not_know_is_refused_by_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KNOWN, "law", ())
    bound, _ = place(Spec("device", "backprop", "ideal-envm", 0, 0.1), make_config(), mlp("4-3-2"))
    with pytest.raises(IncompatibleRule, match=r"layer fc1\.weight: the law linear has no kernel in C yet"):
        lower(bound, (4,))


class ComputingBound(Bound):
    """Scales the error itself, between kernels."""

    def step(self, x: Tensor, labels: Tensor, lr: float) -> Tensor:
        """Half of backpropagation's error."""
        z, _, _ = self.net.fw(x)
        loss, _ = self.net.loss.fw(z, labels)
        return loss * 0.5


class ForgettingBound(Bound):
    """Uses a tensor that is no state."""

    outside = torch.zeros(1, 4)

    def step(self, x: Tensor, labels: Tensor, lr: float) -> Tensor:
        """The loss of something else."""
        z, _, _ = self.net.fw(self.outside)
        return self.net.loss.fw(z, labels)[0]


class PeekingBound(Bound):
    """Decides in Python by what the data is."""

    def step(self, x: Tensor, labels: Tensor, lr: float) -> Tensor:
        """A branch that a program would not see."""
        z, _, _ = self.net.fw(x)
        loss, _ = self.net.loss.fw(z, labels)
        return loss if loss.item() > 0 else x[0]


class ReturningBound(Bound):
    """Returns what no kernel made."""

    def step(self, x: Tensor, labels: Tensor, lr: float) -> Tensor:
        """Its input."""
        return x[0]


class ClashingBound(Bound):
    """Two sections that write the same weights."""

    def step(self, x: Tensor, labels: Tensor, lr: float) -> Tensor:
        """Backpropagation's write, twice at once."""
        z, _, tapes = self.net.fw(x)
        loss, tape = self.net.loss.fw(z, labels)
        _, directions = self.net.backward(self.net.loss.igrad(tape), tapes, "fc1")
        arrays = dict(self.net.arrays())

        def write() -> None:
            arrays["fc1.weight"].write(directions["fc1.weight"].scaled(-lr))

        sections([write, write])
        return loss


@kernel()
def unknown(x: Tensor) -> Tensor:
    """Has no meaning but its eager one."""
    return x


class NovelBound(Bound):
    """Calls a kernel that programs do not know."""

    def step(self, x: Tensor, labels: Tensor, lr: float) -> Tensor:
        """Its loss."""
        return unknown(x)


@pytest.mark.parametrize(
    ("bound", "said"),
    [
        (ComputingBound, r"rule computing .*: torch's mul is computed between kernels: .*--engine torch"),
        (ForgettingBound, r"rule forgetting .*: a tensor comes from outside .*: keep it in the rule's state"),
        (PeekingBound, r"rule peeking .*: torch's _local_scalar_dense is computed between kernels"),
        (ReturningBound, r"rule returning .*: what it returns is no kernel's result"),
        (NovelBound, r"rule novel .*: kernel .*unknown has no meaning in NumPy yet: use --engine torch"),
        (ClashingBound, r"step \d+ sections: section 0 writes fc1\.weight/weights, which section 1 uses"),
    ],
)
def test_rule_that_leaves_its_kernels_is_refused_by_name(bound: type[Bound], said: str) -> None:
    with pytest.raises(ProgramError, match=said):
        lower(bound_on(mlp("4-3"), "float32", Toy(bound)), (4,))


class Odd(Tanh):
    """A layer that computes for itself."""

    def fw(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any, Tensor]:
        """tanh(x) / 2."""
        y = super().fw(x)[0]
        return y / 2, state, y


def test_layer_that_leaves_its_kernels_is_refused_by_name() -> None:
    net = Net({"fc1": Dense(4, 3), "odd": Odd(), "fc2": Dense(3, 2)})
    with pytest.raises(ProgramError, match=r"layer odd: rule backprop .*: torch's div .*: put it into one"):
        lower(bound_on(net, "float32"), (4,))


@pytest.mark.parametrize(
    ("net", "shape", "said"),
    [
        (small_mlp("float32"), (36,), r"layer fc1: .* 37 inputs gets \(36,\): change the layer or its input"),
        (small_mlp("float32"), (37, 1), "layer fc1"),
        (small_cnn("float32"), (3, 8, 8), "layer c1: a convolution of 2 channels"),
        (small_cnn("float32"), (2, 2, 2), "layer p2: a pooling window of 2 does not fit"),
        (small_cnn("float32"), (2, 8), "layer c1"),
    ],
)
def test_samples_of_a_wrong_shape_are_refused_by_layer(net: Net, shape: tuple[int, ...], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        lower(bound_on(net, "float32"), shape)


def test_batch_of_nothing_is_refused() -> None:
    with pytest.raises(ProgramError, match="batch = 0"):
        lower(bound_on(mlp("4-3"), "float32"), (4,), batch=0)


# ---------------------------------------------------------------- saved programs

Listing = dict[str, Any]


def step_of(listing: Listing) -> list[Any]:
    """The calls of its step."""
    found: list[Any] = listing["entries"]["step"]
    return found


def call_of(listing: Listing, name: str) -> Any:
    """The first call of a kernel."""
    return next(node for node in step_of(listing) if node["kernel"] == name)


def drop_first_call(listing: Listing) -> None:
    del step_of(listing)[0]


def misname_kernel(listing: Listing) -> None:
    step_of(listing)[0]["kernel"] = "dense.raed"


def misname_family(listing: Listing) -> None:
    step_of(listing)[0]["kernel"] = "dnese.read"


def misname_buffer(listing: Listing) -> None:
    call_of(listing, "dense.read")["tensors"]["x"]["buffer"] = "y"


def move_out_of_buffer(listing: Listing) -> None:
    call_of(listing, "dense.read")["tensors"]["x"]["offset"] = 1


def move_before_buffer(listing: Listing) -> None:
    call_of(listing, "dense.read")["tensors"]["x"]["offset"] = -1


def change_shape(listing: Listing) -> None:
    call_of(listing, "dense.read")["tensors"]["x"]["shape"] = [1, 1, 5]


def write_input(listing: Listing) -> None:
    call_of(listing, "dense.read")["results"][0] = {"buffer": "x", "shape": [2, 1, 23], "offset": 0}


def drop_number(listing: Listing) -> None:
    call_of(listing, "dense.add_outer")["numbers"] = {}


def drop_result(listing: Listing) -> None:
    call_of(listing, "dense.read")["results"] = []


def drop_weights(listing: Listing) -> None:
    listing["buffers"]["fc1.weight/weights"]["role"] = "temp"


def newer_format(listing: Listing) -> None:
    listing["format"] = 2


def unknown_role(listing: Listing) -> None:
    listing["buffers"]["x"]["role"] = "guest"


def zero_turns(listing: Listing) -> None:
    step_of(listing)[:] = [{"kind": "repeat", "times": 0, "body": list(step_of(listing))}]


def float_flag(listing: Listing) -> None:
    flag = {"buffer": "x", "shape": [1], "offset": 0}
    step_of(listing).append({"kind": "when", "flag": flag, "taken": "x", "then": [], "otherwise": []})


def clash(listing: Listing) -> None:
    write = call_of(listing, "dense.add_outer")
    step_of(listing).append({"kind": "sections", "bodies": [[write], [write]], "join": []})


def share_a_temp(listing: Listing) -> None:
    listing["entries"]["flush"] = listing["entries"]["predict"]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (share_a_temp, r"(predict|flush): uses t\d+, a temp of (predict|flush): give it one of its own"),
        (drop_first_call, r"step \d+ bias.add: reads t\d+ before anything has written it"),
        (misname_kernel, r"no kernel is called 'dense.raed'"),
        (misname_family, r"dnese"),
        (misname_buffer, r"step \d+ dense.read: no buffer is called 'y'"),
        (move_out_of_buffer, r"step \d+ dense.read: x\+1.* lies outside of its buffer"),
        (move_before_buffer, r"step \d+ dense.read: .* lies outside of its buffer"),
        (change_shape, r"step \d+ dense.read: dense.read: in_ is both"),
        (write_input, r"step \d+ dense.read: writes x, which is input"),
        (drop_number, r"step \d+ dense.add_outer: takes w, x, d, scale"),
        (drop_result, r"step \d+ dense.read: makes 1 results, not 0"),
        (drop_weights, r"buffer fc1.weight/weights: a temp has a content"),
        (newer_format, r"program.json: format: .*: export it again"),
        (unknown_role, r"program.json: buffers.x.role: .*: export it again"),
        (zero_turns, r"program.json: .*times: .*: export it again"),
        (float_flag, r"step \d+ when: the flag x is no i32"),
        (clash, r"step \d+ sections: section 0 writes .*, which section 1 uses"),
    ],
)
def test_spoilt_listing_is_refused_by_node(
    tmp_path: Path, spoil: Callable[[Listing], None], said: str
) -> None:
    _, program = small_program("mlp", "float32")
    program.save(tmp_path)
    file = tmp_path / "program.json"
    listing = json.loads(file.read_text())
    spoil(listing)
    file.write_text(json.dumps(listing))
    with pytest.raises(HwtrainError, match=said):
        load_program(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"format": 1}', "\x00"])
def test_file_that_is_no_listing_is_refused(tmp_path: Path, text: str) -> None:
    _, program = small_program("mlp", "float32")
    program.save(tmp_path)
    (tmp_path / "program.json").write_text(text)
    with pytest.raises(ProgramError, match=r"program\.json.*export it again"):
        load_program(tmp_path)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda held: held.pop("fc1.weight/weights"), "buffer fc1.weight/weights: a weight has no content"),
        (lambda held: held.update(more=np.zeros(1)), "contents of no buffer: .*more"),
        (
            lambda held: held.update({"fc1.weight/weights": np.zeros((1, 2, 3), np.float32)}),
            r"buffer fc1.weight/weights: holds float32\[1, 2, 3\]",
        ),
        (
            lambda held: held.update({"fc1.weight/weights": np.zeros((1, 23, 37))}),
            "buffer fc1.weight/weights: holds float64",
        ),
    ],
)
def test_spoilt_contents_are_refused_by_buffer(tmp_path: Path, spoil: Callable[..., Any], said: str) -> None:
    _, program = small_program("mlp", "float32")
    program.save(tmp_path)
    file = tmp_path / "contents.safetensors"
    held = load(file.read_bytes())
    spoil(held)
    file.write_bytes(save(held))
    with pytest.raises(ProgramError, match=said):
        load_program(tmp_path)


def test_codes_that_are_no_powers_of_two_are_refused(tmp_path: Path) -> None:
    _, program = small_program("mlp", "shift4")
    program.save(tmp_path)
    file = tmp_path / "contents.safetensors"
    held = load(file.read_bytes())
    held["fc1.weight/codes"].flat[3] = -8  # 4 bits end at 7: 2^6
    file.write_bytes(save(held))
    with pytest.raises(ProgramError, match=r"fc1\.weight/codes: a code above 7 is no power of two"):
        load_program(tmp_path)


def test_folder_without_a_program_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HwtrainError, match="cannot read the program"):
        load_program(tmp_path)
    _, program = small_program("mlp", "float32")
    program.save(tmp_path)
    (tmp_path / "contents.safetensors").write_bytes(b"no tensors")
    with pytest.raises(ProgramError, match=r"not a program: .*export it again"):
        load_program(tmp_path)


def test_memory_of_another_shape_is_refused() -> None:
    _, program = small_program("mlp", "float32")
    with pytest.raises(ValueError, match=r"x: float64"):
        InterpretRunner(program).memory(1, {"x": np.zeros((1, 2, 37))})


@pytest.mark.parametrize("lr", [0.0, -0.5])
@pytest.mark.parametrize("runner", [InterpretRunner, NativeRunner])
def test_learning_rate_that_is_no_shift_is_refused(runner: type[Runner], lr: float) -> None:
    _, program = small_program("mlp", "fixed8")
    made = runner(program)
    with pytest.raises(ProgramError, match=f"lr = {lr}: weights that are codes"):
        made.run("step", 1, made.memory(1, {}), lr=lr)


class PlacesBound(Bound):
    """Keeps places, which are no signals, with a kernel for signals."""

    def __init__(self, net: Net) -> None:
        super().__init__(net)
        self.places = torch.zeros(1, 1, 2, 2, dtype=torch.int32)

    def step(self, x: Tensor, labels: Tensor, lr: float) -> Tensor:
        """The loss, and the copy."""
        z, _, tapes = self.net.fw(x)
        vector.copy(self.places, tapes["pool"][0])
        return self.net.loss.fw(z, labels)[0]

    def live(self) -> dict[str, Tensor]:
        """The places."""
        return {"places": self.places}


@pytest.mark.parametrize("device", ["float32", "fixed8"])
@pytest.mark.parametrize("cc", ["gcc", "clang"])
def test_buffer_of_another_format_than_the_kernel_is_refused(device: str, cc: str) -> None:
    layers = {"pool": MaxPool2d(2), "flat": Flatten(), "fc": Dense(4, 2)}
    program = lower(bound_on(Net(layers), device, Toy(PlacesBound)), (1, 4, 4))
    with pytest.raises(NativeError, match=r"refuses the program: .*incompatible.pointer.type"):
        NativeRunner(program, cc=cc)


def test_a_compiler_that_ends_without_a_word_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HWTRAIN_CACHE", str(tmp_path))
    with pytest.raises(
        NativeError, match="false refuses the program: it ended with exit code 1 and said nothing"
    ):
        build("int x;", (), cc="false")
    assert list(tmp_path.iterdir()) == []
