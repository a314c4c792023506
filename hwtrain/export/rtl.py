"""A program as parameters of fpga/rtl: its layers, where each weight lies, how many cycles a step takes.

Weights lie in words of ``lanes``: of consecutive outputs for one input, or of consecutive inputs for one
output, whichever takes fewer words.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hwtrain.arith.fixed import Numbers
from hwtrain.errors import ProgramError
from hwtrain.kernels.fixed import halvings
from hwtrain.program.ir import Call, Program, Scalar

_ROUNDINGS = {"half-up": 0, "floor": 1, "half-even": 2, "stochastic": 3}
_LAYERS, _SIZE = 16, 1 << 16
_LOSSES = ("softmax2.forward", "squared_error.forward")
_OURS = (
    *("bias.ones", "bias.add", "dense.read", "dense.read_t", "pot.read", "pot.read_t", "pot.encode"),
    *("fixed.requantize", "fixed.add_outer", "relu.forward", "relu.input_gradient", *_LOSSES),
)


@dataclass(frozen=True)
class RtlLayer:
    """One matrix with its biases. ``along``: the lanes lie along the outputs."""

    name: str
    in_: int
    out: int
    weights: str
    biases: str
    frac: int
    bias_shift: int
    low: int
    keys: tuple[tuple[int, int], tuple[int, int]]
    along: bool
    blocks: int
    out_blocks: int

    @property
    def words(self) -> int:
        """Words of weights; cycles of one pass over them."""
        return self.blocks * (self.in_ if self.along else self.out)


@dataclass(frozen=True)
class RtlNet:
    """What hwt_trainer is given."""

    layers: tuple[RtlLayer, ...]
    lanes: int
    numbers: Numbers
    code_bits: int
    update_shift: int
    loss: Literal["softmax2", "squared_error"]
    scores: str

    @property
    def noise(self) -> bool:
        """Whether updates draw random words."""
        return self.numbers.update_rounding == "stochastic" and self.update_shift > 0

    @property
    def classes(self) -> int:
        """Outputs of the last layer."""
        return self.layers[-1].out

    @property
    def sizes(self) -> str:
        """Such as 64-32-10."""
        return "-".join(str(size) for size in [self.layers[0].in_, *(layer.out for layer in self.layers)])

    def places(self) -> Iterator[tuple[str, int, int, int]]:
        """Of every weight: buffer, index in it, place register, lane. A layer's biases follow its weights."""
        word = out_word = 0
        for number, layer in enumerate(self.layers):
            for index in range(layer.in_ * layer.out):
                output, input_ = divmod(index, layer.in_)
                lane, along = (output, input_) if layer.along else (input_, output)
                size = layer.in_ if layer.along else layer.out
                at = word + lane // self.lanes * size + along
                yield layer.weights, index, number << 16 | at, lane % self.lanes
            for index in range(layer.out):
                place = 1 << 31 | number << 16 | (out_word + index // self.lanes)
                yield layer.biases, index, place, index % self.lanes
            word, out_word = word + layer.words, out_word + layer.out_blocks


@dataclass(frozen=True)
class RtlMemory:
    """An hwt_ram of fpga/rtl: ``lanes`` memories of ``words``, each of ``bits``."""

    name: str
    words: int
    bits: int
    lanes: int


def rtl_net(program: Program, lanes: int, lr: float) -> RtlNet:
    """The parameters of a program at a learning rate.

    Raises:
        ProgramError: it is no multilayer perceptron in whole numbers with batches of one, or too large.
    """
    numbers = program.listing.numbers
    if numbers is None:
        raise ProgramError("real numbers have no RTL: train on a device of kind fixed or shift")
    if lanes < 2 or lanes & (lanes - 1):
        raise ProgramError(f"lanes = {lanes}: choose a power of two, at least 2")
    batch = program.buffers["x"].shape[0]
    if batch != 1:
        raise ProgramError(f"batches of {batch}: the RTL learns sample by sample: train with --batch 1")
    calls = [node for node in program.entries["step"] if isinstance(node, Call)]
    for node in program.entries["step"]:
        if not isinstance(node, Call) or node.kernel not in _OURS:
            what = f"layer {node.where}: {node.kernel}" if isinstance(node, Call) else node.kind
            raise ProgramError(f"{what} has no RTL: export a net of dense layers and relu, rule backprop")
    names = {call.kernel for call in calls}
    loss = next((call for call in calls if call.kernel in _LOSSES), None)
    writes = {call.tensors["w"].buffer: call for call in calls if call.kernel == "fixed.add_outer"}
    reads = [call for call in calls if call.kernel in ("pot.read", "dense.read")]
    if loss is None or len(reads) != len(writes) or len(reads) % 2:
        raise ProgramError("the RTL learns in every layer, by backprop, with softmax2 or squared-error")
    layers = []
    for read, bias_read in zip(reads[::2], reads[1::2], strict=True):
        after = calls[calls.index(bias_read) :]
        codes = next(iter(read.tensors.values())).buffer
        weights, biases = codes.replace("/codes", "/weights"), bias_read.tensors["w"].buffer
        add = next(call for call in after if call.kernel == "bias.add")
        end = next(call for call in after if call.kernel == "fixed.requantize")
        encode = [c for c in calls if c.kernel == "pot.encode" and c.tensors["codes"].buffer == codes]
        _, out, in_ = read.tensors["codes" if encode else "w"].shape
        by_output, by_input = -(-out // lanes) * in_, -(-in_ // lanes) * out
        along = by_output <= by_input
        layers.append(
            RtlLayer(
                name=read.where,
                in_=in_,
                out=out,
                weights=weights,
                biases=biases,
                frac=_int(end, "shift"),
                bias_shift=_int(add, "shift"),
                low=_int(encode[0], "low") if encode else 0,
                keys=(_key(writes[weights]), _key(writes[biases])),
                along=along,
                blocks=-(-(out if along else in_) // lanes),
                out_blocks=-(-out // lanes),
            )
        )
    cuts = {_cut(call, lr) for call in writes.values()}
    most = {_int(call, "most") for call in calls if call.kernel == "pot.encode"}
    ones = {_int(call, "one") for call in calls if call.kernel == "bias.ones"}
    size = max([sum(layer.words for layer in layers), *(max(layer.in_, layer.out) for layer in layers)])
    if len(layers) > _LAYERS or size >= _SIZE:
        raise ProgramError(
            f"{len(layers)} layers, {size:,} words: the RTL has at most {_LAYERS} layers and {_SIZE - 1:,} "
            "words of weights: take more --lanes or a smaller net"
        )
    odd = [layer.name for layer in layers if layer.frac < 1 or layer.bias_shift < 0 or layer.low < 0]
    if (
        odd
        or len(cuts) != 1
        or len(most) > 1
        or ones != {1 << numbers.signal_frac}
        or numbers.signal_frac < 1
    ):
        raise ProgramError(
            f"number formats that the RTL does not have{' in layer ' + odd[0] if odd else ''}: use the card "
            "fixed16, fixed8 or shift4"
        )
    pot = "pot.read" in names
    return RtlNet(
        layers=tuple(layers),
        lanes=lanes,
        numbers=numbers,
        code_bits=(next(iter(most)) + 2).bit_length() if pot else 0,
        update_shift=next(iter(cuts)),
        loss="softmax2" if loss.kernel == "softmax2.forward" else "squared_error",
        scores=loss.tensors["z"].buffer,
    )


def cycles(net: RtlNet) -> int:
    """Cycles from one learned sample to the next, where neither stream ever waits."""
    lane_wait, tree_wait = 6, 6 + (net.lanes.bit_length() - 1)
    forward = sum(layer.words + (lane_wait if layer.along else tree_wait) for layer in net.layers)
    scores = max(forward, net.classes)  # the results of the sample before must be out
    passes, gap = (4, 3) if net.loss == "softmax2" else (1, 0)
    loss = passes * net.classes + (passes - 1) * gap + 6
    backward = sum(layer.words + (tree_wait if layer.along else lane_wait) for layer in net.layers[1:])
    start = scores + loss + backward
    if net.noise:  # one address of random words after the other
        start = max(start, 22 * 2 * len(net.layers))
    update = sum(layer.words + layer.out_blocks for layer in net.layers) + (13 if net.noise else 5)
    return max(start + update + 3, net.layers[0].in_ + 1)


def memories(net: RtlNet) -> list[RtlMemory]:
    """Every hwt_ram of the block. Every lane is written by itself, so that each is a memory of its own."""
    words = sum(layer.words for layer in net.layers)
    out_words = sum(layer.out_blocks for layer in net.layers)
    signal, weight = net.numbers.signal_bits, net.numbers.weight_bits
    found = [
        ("weights", words, weight, net.lanes),
        ("codes", words, net.code_bits, net.lanes if net.code_bits else 0),
        ("biases", out_words, weight, net.lanes),
        ("outputs", out_words, signal, net.lanes),
        ("gradients", out_words, signal, net.lanes),
        ("samples", 2 * -(-net.layers[0].in_ // net.lanes), signal, net.lanes),
        ("results", net.classes + 1, signal, 1),
        ("keys of noise", 2 * len(net.layers), 64, int(net.noise)),
    ]
    return [RtlMemory(*one) for one in found if one[3]]


def products(net: RtlNet) -> int:
    """Products that become multiplier blocks: one a lane, one of the loss; none where weights are shifts."""
    return 0 if net.code_bits else net.lanes + 1


def module_text(net: RtlNet) -> str:
    """hwt_net.sv: hwt_trainer with the numbers of this net."""
    layers, numbers = net.layers, net.numbers
    word = out_word = 0
    bases, out_bases = [], []
    for layer in layers:
        bases.append(word)
        out_bases.append(out_word)
        word, out_word = word + layer.words, out_word + layer.out_blocks
    keys = [key for layer in layers for key in layer.keys]
    longest = max(max(layer.in_, layer.out) for layer in layers)
    lane_bits = net.code_bits and (1 << (net.code_bits - 1)) - 1
    product = numbers.signal_bits + (lane_bits or numbers.weight_bits)
    bias = numbers.weight_bits + numbers.signal_frac - min(layer.bias_shift for layer in layers)
    parameters: dict[str, str] = {
        "Inputs": str(layers[0].in_),
        "Classes": str(net.classes),
        "BuildHash": f"32'h{build_hash(net):08x}",
        "Layers": str(len(layers)),
        "Lanes": str(net.lanes),
        "SignalBits": str(numbers.signal_bits),
        "MasterBits": str(numbers.weight_bits),
        "CodeBits": str(net.code_bits),
        "AccBits": str(max(product + longest.bit_length(), bias) + 2),
        "WeightWords": str(word),
        "OutWords": str(out_word),
        "InSize": _table([layer.in_ for layer in layers]),
        "OutSize": _table([layer.out for layer in layers]),
        "LaneBlocks": _table([layer.blocks for layer in layers]),
        "OutBlocks": _table([layer.out_blocks for layer in layers]),
        "WeightBase": _table(bases),
        "OutBase": _table(out_bases),
        "Frac": _table([layer.frac for layer in layers]),
        "BiasShift": _table([layer.bias_shift for layer in layers]),
        "PotLow": _table([layer.low for layer in layers]),
        "LanesOut": f"16'h{sum(layer.along << k for k, layer in enumerate(layers)):04x}",
        "SignalFrac": str(numbers.signal_frac),
        "ErrorFrac": str(numbers.error_frac),
        "Rounding": str(_ROUNDINGS[numbers.rounding]),
        "UpdateShift": str(net.update_shift),
        "UpdateRounding": str(_ROUNDINGS[numbers.update_rounding]),
        "SquaredError": f"1'b{int(net.loss == 'squared_error')}",
        "Keys": "2048'h" + "".join(f"{k1:08x}{k0:08x}" for k0, k1 in reversed(keys)),
    }
    ports = [
        *[("input", 1, name) for name in ("aclk", "aresetn")],
        *[("input", 32, "s_axis_tdata"), ("input", 1, "s_axis_tvalid"), ("output", 1, "s_axis_tready")],
        *[("input", 1, "s_axis_tlast"), ("output", 32, "m_axis_tdata"), ("output", 1, "m_axis_tvalid")],
        *[("input", 1, "m_axis_tready"), ("output", 1, "m_axis_tlast")],
        *[("input", 8, "s_axi_awaddr"), ("input", 1, "s_axi_awvalid"), ("output", 1, "s_axi_awready")],
        *[("input", 32, "s_axi_wdata"), ("input", 4, "s_axi_wstrb"), ("input", 1, "s_axi_wvalid")],
        *[("output", 1, "s_axi_wready"), ("output", 2, "s_axi_bresp"), ("output", 1, "s_axi_bvalid")],
        *[("input", 1, "s_axi_bready"), ("input", 8, "s_axi_araddr"), ("input", 1, "s_axi_arvalid")],
        *[("output", 1, "s_axi_arready"), ("output", 32, "s_axi_rdata"), ("output", 2, "s_axi_rresp")],
        *[("output", 1, "s_axi_rvalid"), ("input", 1, "s_axi_rready")],
    ]
    declared = ",\n".join(
        f"  {way:6} logic {f'[{bits - 1}:0]' if bits > 1 else '':7} {name}" for way, bits, name in ports
    )
    given = ",\n".join(f"    .{name}({value})" for name, value in parameters.items())
    joined = ",\n".join(f"    .{name}" for _, _, name in ports)
    return (
        f"// {net.sizes} with {net.lanes} lanes: written by hwtrain, not to be edited.\n"
        f"module hwt_net (\n{declared}\n);\n"
        f"  hwt_trainer #(\n{given}\n  ) u_trainer (\n{joined}\n  );\nendmodule\n"
    )


def header_text(net: RtlNet) -> str:
    """hwt_net.h: what the C driver must know of this block."""
    rows, layers = [], net.layers
    word = out_word = 0
    for layer in layers:
        rows.append(f"    {{{layer.in_}u, {layer.out}u, {int(layer.along)}u, {word}u, {out_word}u}},")
        word, out_word = word + layer.words, out_word + layer.out_blocks
    return (
        "/* The block of this folder, for hwt_trainer.c: written by hwtrain, not to be edited. */\n"
        '#ifndef HWT_NET_H\n#define HWT_NET_H\n\n#include "hwt_trainer.h"\n\n'
        "static const hwt_trainer_layer hwt_net_layers[] = {\n" + "\n".join(rows) + "\n};\n"
        f"static const hwt_trainer_net hwt_net = {{0x{build_hash(net):08x}u, {net.lanes}u, {len(layers)}u, "
        "hwt_net_layers};\n\n#endif\n"
    )


def build_hash(net: RtlNet) -> int:
    """What the register says: 32 bits of a hash of everything that makes the block what it is."""
    known = json.dumps([str(layer) for layer in net.layers] + [str(net.lanes), str(net.numbers), net.loss])
    return int.from_bytes(hashlib.sha256(f"{known}{net.update_shift}".encode()).digest()[:4], "big")


def weights_in_order(net: RtlNet, memory: dict[str, NDArray[Any]]) -> NDArray[np.int32]:
    """All weights as the harness loads and reads them."""
    flat = {name: memory[name].reshape(-1) for layer in net.layers for name in (layer.weights, layer.biases)}
    return np.array([flat[name][index] for name, index, _, _ in net.places()], np.int32)


def _table(values: list[int]) -> str:
    return "256'h" + "".join(f"{value:04x}" for value in reversed(values))


def _int(call: Call, number: str) -> int:
    value = call.numbers[number]
    assert isinstance(value, int)
    return value


def _key(call: Call) -> tuple[int, int]:
    return _int(call, "key0"), _int(call, "key1")


def _cut(call: Call, lr: float) -> int:
    """By how many bits a change is cut; the engine subtracts."""
    scale = call.numbers["scale"]
    if not isinstance(scale, Scalar) or scale.factor >= 0 or not lr > 0:
        raise ProgramError(f"layer {call.where}: the RTL goes down the gradient at a learning rate above 0")
    cut = _int(call, "shift") + halvings(lr) + halvings(-scale.factor)
    if not -16 <= cut <= 40:
        raise ProgramError(
            f"lr = {lr:g}: changes would be cut by {cut} bits, the RTL has -16 to 40: choose another"
        )
    return cut
