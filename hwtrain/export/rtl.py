"""A program as parameters of fpga/rtl: its layers, where each weight lies, how many cycles a step takes.

Weights lie in words of ``lanes``: of consecutive outputs for one input, or of consecutive inputs for one
output, whichever takes fewer words. In mode ``lookahead`` the first layer's lie along its outputs.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hwtrain.arith.fixed import Numbers
from hwtrain.errors import ProgramError
from hwtrain.kernels.fixed import halvings
from hwtrain.program.ir import Call, Entry, Program, Scalar, walk

_ROUNDINGS = {"half-up": 0, "floor": 1, "half-even": 2, "stochastic": 3}
_LAYERS, _SIZE = 16, 1 << 16
_LOSSES = ("softmax2.forward", "squared_error.forward")
_OURS = (
    *("bias.ones", "bias.add", "dense.read", "dense.read_t", "pot.read", "pot.read_t", "pot.encode"),
    *("fixed.requantize", "fixed.add_outer", "relu.forward", "relu.input_gradient", *_LOSSES),
)
_LOOKAHEAD = (
    "fixed.correct",
    *(f"vector.{name}" for name in ("gate", "gate_loss", "copy", "copy_labels", "mark")),
)

_SPECULATIVE = (
    *(f"slots.{name}" for name in ("near", "choose", "take", "tally", "put", "flip")),
    *("fixed.propose_outer", "vector.duplicate", "vector.copy"),
)

Mode = Literal["sequential", "lookahead", "speculative"]


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
    mode: Mode = "sequential"
    limit: int = 0
    sticky: bool = False

    @property
    def late(self) -> int:
        """How many samples the block has taken before the result of the first is out, less one."""
        return int(self.mode == "lookahead")

    @property
    def bases(self) -> list[tuple[int, int]]:
        """Of every layer the first word of its weights and of its outputs, in the memories it lies in."""
        found, word, out_word = [], 0, 0
        for number, layer in enumerate(self.layers):
            if number == 1 and self.mode == "lookahead":
                word = out_word = 0
            found.append((word, out_word))
            word, out_word = word + layer.words, out_word + layer.out_blocks
        return found

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
        for number, (layer, (word, out_word)) in enumerate(zip(self.layers, self.bases, strict=True)):
            for index in range(layer.in_ * layer.out):
                output, input_ = divmod(index, layer.in_)
                lane, along = (output, input_) if layer.along else (input_, output)
                size = layer.in_ if layer.along else layer.out
                at = word + lane // self.lanes * size + along
                yield layer.weights, index, number << 16 | at, lane % self.lanes
            for index in range(layer.out):
                place = 1 << 31 | number << 16 | (out_word + index // self.lanes)
                yield layer.biases, index, place, index % self.lanes


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
    nodes, calls = program.entries["step"], list(walk(program.entries["step"]))
    names = {call.kernel for call in calls}
    mode: Mode = "sequential"
    if "fixed.correct" in names:
        mode = "lookahead"
    elif "slots.near" in names:
        mode = "speculative"
    known = (*_OURS, *{"sequential": (), "lookahead": _LOOKAHEAD, "speculative": _SPECULATIVE}[mode])
    odd_nodes = [node.kind for node in nodes if not isinstance(node, Call) and mode == "sequential"]
    odd_calls = [
        f"layer {call.where}: {call.kernel}" if call.where else call.kernel
        for call in calls
        if call.kernel not in known
    ]
    if odd_nodes or odd_calls:
        raise ProgramError(
            f"{[*odd_calls, *odd_nodes][0]} has no RTL: export a net of dense layers and relu, rule backprop "
            "or rule speculative with mode=lookahead or mode=speculative"
        )
    loss = next((call for call in calls if call.kernel in _LOSSES), None)
    writes = {call.tensors["w"].buffer: call for call in calls if call.kernel == "fixed.add_outer"}
    reads = [call for call in calls if call.kernel in ("pot.read", "dense.read")]
    if loss is None or len(reads) != len(writes) or len(reads) % 2:
        raise ProgramError("the RTL learns in every layer, by backprop, with softmax2 or squared-error")
    if mode == "lookahead" and len(reads) == 2:
        raise ProgramError("one layer has nothing beside it, so no lookahead in RTL: take rule backprop")
    layers: list[RtlLayer] = []
    for read, bias_read in zip(reads[::2], reads[1::2], strict=True):
        after = calls[calls.index(bias_read) :]
        codes = next(iter(read.tensors.values())).buffer
        weights, biases = codes.replace("/codes", "/weights"), bias_read.tensors["w"].buffer
        add = next(call for call in after if call.kernel == "bias.add")
        if mode == "lookahead" and not layers:  # what was read ahead ends after it was corrected
            after = calls[next(n for n, call in enumerate(calls) if call.kernel == "fixed.correct") :]
        end = next(call for call in after if call.kernel == "fixed.requantize")
        encode = [c for c in calls if c.kernel == "pot.encode" and c.tensors["codes"].buffer == codes]
        _, out, in_ = read.tensors["codes" if encode else "w"].shape
        by_output, by_input = -(-out // lanes) * in_, -(-in_ // lanes) * out
        along = by_output <= by_input or (mode == "lookahead" and not layers)
        layers.append(
            RtlLayer(
                name=weights.rpartition(".")[0],
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
    cuts = {_cut(call, lr) for call in calls if call.kernel in ("fixed.add_outer", "fixed.correct")}
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
        mode=mode,
        limit=_limit(calls),
        sticky=any(_int(call, "sticky") for call in calls if call.kernel == "slots.put"),
    )


def _limit(calls: list[Call]) -> int:
    """The least whole distance that is no hit; 0 where nothing is guessed."""
    near = [call.numbers["limit"] for call in calls if call.kernel == "slots.near"]
    return min(max(math.ceil(float(near[0])), 0), (1 << 31) - 1) if near else 0  # type: ignore[arg-type]


def scores(program: Program, entry: Entry) -> str:
    """The buffer of the scores that an entry's loss judges."""
    return next(call.tensors["z"].buffer for call in walk(program.entries[entry]) if call.kernel in _LOSSES)


def cycles(net: RtlNet) -> int:
    """Cycles from one learned sample to the next, where neither stream ever waits; after a hit."""
    if net.mode == "lookahead":
        return _lookahead_cycles(net)
    if net.mode == "speculative":
        return speculative_cycles(net)[0]
    start = _passes(net, net.layers, 0)
    return max(start + _updates(net, net.layers) + 3, net.layers[0].in_ + 1)


def _delay(net: RtlNet) -> int:
    """Cycles that an update waits on its way for its noise: Delay of hwt_engine."""
    return 5 if net.noise else 0


def _updates(net: RtlNet, layers: tuple[RtlLayer, ...]) -> int:
    """Cycles of hwt_engine from its first update to where it is done: UpdateWait comes last.

    The next sample may not read what is not written yet of the first layer.
    """
    first, index = layers[0], net.lanes.bit_length() - 1
    if first.along:
        word_lag, bias_lag = 1 - first.words, -1 - first.in_
    else:
        word_lag = 1 - first.words + (first.blocks - 1) * (first.out - 1)
        bias_lag = -1 - first.blocks - index
    written = _delay(net) + (13 if net.code_bits else 9)
    wait = max(written - first.out_blocks + max(word_lag, bias_lag) - 4, _delay(net) - 2, 0)
    return sum(layer.words + layer.out_blocks for layer in layers) + wait


def _waits(net: RtlNet) -> tuple[int, int]:
    """Cycles that a pass takes to its last result: by the lanes, by the tree."""
    return 8, 8 + (net.lanes.bit_length() - 1)


def _loss(net: RtlNet) -> int:
    """Cycles from the first score to the last error."""
    return 4 * net.classes + 3 + 11 if net.loss == "softmax2" else net.classes + 8


def _backward(net: RtlNet, layers: tuple[RtlLayer, ...]) -> int:
    """Cycles of the backward pass through layers; updates set out ahead of the last one's end."""
    lane_wait, tree_wait = _waits(net)
    waits = [tree_wait if layer.along else lane_wait for layer in layers]
    if waits:
        waits[0] = max(waits[0] - _delay(net), 0)
    return sum(layer.words for layer in layers) + sum(waits)


def _passes(net: RtlNet, layers: tuple[RtlLayer, ...], gap: int) -> int:
    """Cycles of hwt_engine before its updates.

    ``gap``: cycles between one sample of these layers and the next.
    """
    lane_wait, tree_wait = _waits(net)
    forward = sum(layer.words + (lane_wait if layer.along else tree_wait) for layer in layers)
    judged = max(forward, net.classes - gap)  # the results of the sample before must be out
    back = layers if net.mode == "lookahead" else layers[1:]
    loss = _loss(net) - (0 if back else _delay(net))  # then updates set out ahead of the last error
    start = judged + loss + _backward(net, back)
    if net.noise:  # one address of random words after the other
        start = max(start, 22 * 2 * len(layers))
    return start


def speculative_cycles(net: RtlNet) -> tuple[int, int, int]:
    """Of mode ``speculative``: of a sample that is a hit, a miss, and the first one of its label."""
    lane_wait, tree_wait = _waits(net)
    forward = sum(layer.words + (lane_wait if layer.along else tree_wait) for layer in net.layers)
    back = max(_backward(net, net.layers[1:]), 22 if net.noise else 0)
    one, other = forward + _loss(net) + 3, back + _updates(net, net.layers) + 3
    both = max(one, other)
    return both + 3, both + other + 4, one + other + 4


def _lookahead_cycles(net: RtlNet) -> int:
    """A sweep over the first layer beside a step of the others; then the correction, word after word."""
    first, *others = net.layers
    join = first.out_blocks * (net.numbers.signal_bits + 5)
    sweep = first.words + first.out_blocks + (8 if net.noise else 0) + 8
    start = _passes(net, tuple(others), join + 2)
    engine = start + _updates(net, tuple(others)) + 4
    return max(1 + max(sweep, engine) + join, first.in_ + 1)


def memories(net: RtlNet) -> list[RtlMemory]:
    """Every hwt_ram of the block. Every lane is written by itself, so that each is a memory of its own."""
    layers = net.layers[net.late :]
    words = sum(layer.words for layer in layers)
    out_words = sum(layer.out_blocks for layer in layers)
    signal, weight = net.numbers.signal_bits, net.numbers.weight_bits
    if net.mode == "speculative":
        return _speculative_memories(net, words, out_words)
    found = [
        ("weights", words, weight, net.lanes),
        ("codes", words, net.lanes * net.code_bits, int(net.code_bits > 0)),
        ("biases", out_words, weight, net.lanes),
        ("outputs", out_words, signal, net.lanes),
        ("gradients", out_words, signal, net.lanes),
        ("samples", 2 * -(-net.layers[0].in_ // net.lanes), signal, net.lanes),
        ("results", net.classes + 1, signal, 1),
        ("keys of noise", 2 * len(layers), 64, int(net.noise)),
    ]
    if net.mode == "lookahead":
        first = net.layers[0]
        found += [
            ("weights of the first layer", first.words, weight, net.lanes),
            ("biases of the first layer", first.out_blocks, weight, net.lanes),
            ("sums ahead", first.out_blocks, net.lanes * acc_bits(net), 1),
            ("gradients of the first layer", first.out_blocks, signal, net.lanes),
            ("gradients put off", first.out_blocks, net.lanes * signal, 1),
            ("outputs of the first layer", first.out_blocks, net.lanes * signal, 1),
            ("sample before", first.in_, signal, 1),
            ("sample before that", first.in_, signal, 1),
        ]
    return [RtlMemory(*one) for one in found if one[3]]


def _speculative_memories(net: RtlNet, words: int, out_words: int) -> list[RtlMemory]:
    """Two engines, each with two copies of the weights, and two rows of each label."""
    signal, weight, classes = net.numbers.signal_bits, net.numbers.weight_bits, net.classes
    rows = 2 << max((classes - 1).bit_length(), 1)
    row_words, row_values = (1 << max((size - 1).bit_length(), 1) for size in (out_words, classes))
    found = [("results", classes + 1, signal, 1), ("errors to compare", rows * row_values, signal, 1)]
    for engine in ("forward", "backward"):
        found += [
            (f"{engine}: weights", 2 * words, weight, net.lanes),
            (f"{engine}: codes", 2 * words, net.lanes * net.code_bits, int(net.code_bits > 0)),
            (f"{engine}: biases", 2 * out_words, weight, net.lanes),
            (f"{engine}: outputs", out_words, signal, net.lanes),
            (f"{engine}: gradients", out_words, signal, net.lanes),
            (f"{engine}: samples", 2 * -(-net.layers[0].in_ // net.lanes), signal, net.lanes),
        ]
    for kept in ("outputs", "errors"):
        found.append((f"{kept} of each label", rows * row_words, signal, net.lanes))
    return [RtlMemory(*one) for one in found if one[3]]


def products(net: RtlNet) -> int:
    """Products that become multiplier blocks: one a lane, one of the loss; none where weights are shifts.

    The first layer of a lookahead has two a lane, and one for the overlap of two samples; a guessing block
    has two engines.
    """
    if net.code_bits:
        return 0
    return net.lanes + 1 + net.late * (2 * net.lanes + 1) + net.lanes * (net.mode == "speculative")


def acc_bits(net: RtlNet) -> int:
    """Of an accumulator: room for every sum, its bias, and what a lookahead corrects (31 bits)."""
    numbers = net.numbers
    longest = max(max(layer.in_, layer.out) for layer in net.layers)
    lane_bits = net.code_bits and (1 << (net.code_bits - 1)) - 1
    product = numbers.signal_bits + (lane_bits or numbers.weight_bits)
    bias = numbers.weight_bits + numbers.signal_frac - min(layer.bias_shift for layer in net.layers)
    return max(product + longest.bit_length(), bias, 31 * net.late) + 2


def module_text(net: RtlNet) -> str:
    """hwt_net.sv: hwt_trainer with the numbers of this net."""
    layers, numbers = net.layers, net.numbers
    last, (word, out_word) = layers[-1], net.bases[-1]
    keys = [key for layer in layers for key in layer.keys]
    parameters: dict[str, str] = {
        "Inputs": str(layers[0].in_),
        "Classes": str(net.classes),
        "BuildHash": f"32'h{build_hash(net):08x}",
        "Layers": str(len(layers)),
        "Lanes": str(net.lanes),
        "SignalBits": str(numbers.signal_bits),
        "MasterBits": str(numbers.weight_bits),
        "CodeBits": str(net.code_bits),
        "AccBits": str(acc_bits(net)),
        "WeightWords": str(word + last.words),
        "OutWords": str(out_word + last.out_blocks),
        "InSize": _table([layer.in_ for layer in layers]),
        "OutSize": _table([layer.out for layer in layers]),
        "LaneBlocks": _table([layer.blocks for layer in layers]),
        "OutBlocks": _table([layer.out_blocks for layer in layers]),
        "WeightBase": _table([word for word, _ in net.bases]),
        "OutBase": _table([out_word for _, out_word in net.bases]),
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
    if net.mode == "lookahead":
        first = layers[0]
        parameters |= {
            "Lookahead": "1'b1",
            "FirstWords": str(first.words),
            "FirstBlocks": str(first.out_blocks),
        }
    if net.mode == "speculative":
        parameters |= {
            "Speculative": "1'b1",
            "Limit": str(net.limit),
            "Sticky": f"1'b{int(net.sticky)}",
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
    for layer, (word, out_word) in zip(layers, net.bases, strict=True):
        rows.append(f"    {{{layer.in_}u, {layer.out}u, {int(layer.along)}u, {word}u, {out_word}u}},")
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
    return int.from_bytes(
        hashlib.sha256(f"{known}{net.update_shift}{net.mode}{net.limit}{net.sticky}".encode()).digest()[:4],
        "big",
    )


def weights_in_order(net: RtlNet, memory: dict[str, NDArray[Any]]) -> NDArray[np.int32]:
    """All weights as the harness loads and reads them; of two copies those that count."""
    names = [name for layer in net.layers for name in (layer.weights, layer.biases)]
    if "rule/turn" in memory:
        memory = memory | {name: memory[name][int(memory["rule/turn"][0])] for name in names}
    flat = {name: memory[name].reshape(-1) for name in names}
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
