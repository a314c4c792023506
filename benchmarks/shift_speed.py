"""What exact shift arithmetic costs: training steps, 8-bit convolutions, and packing of codes.

Training: a CNN of 32, 64 and 128 channels on batches of 64 images of 3 by 32 by 32, SGD included, on 4-bit
power-of-two weights and 8-bit signals; beside it the same net in plain torch and in Brevitas, whose integers
must equal ours. Convolutions: 8-bit signals in and out, patches, bias and rounding included, beside torch's
float32 convolution in the faster of its two layouts. One thread; contestants take turns in one process, and
figures are ratios of medians of processor time.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from _study import Figures
from torch import Tensor, nn
from torch.nn.functional import conv2d

from hwtrain.arith import pow2
from hwtrain.arith.pow2 import Pot
from hwtrain.export import conv8, integer
from hwtrain.qat.layers import FixedPoint, shift_weights

POT = Pot(4)
FIRST, ROUNDS = 300, 60
BATCH = 64
SHAPES = [
    # batch, channels in, side, channels out, filter, stride, padding, groups
    (16, 3, 32, 32, 3, 1, 1, 1),
    (16, 16, 32, 16, 3, 1, 1, 1),
    (16, 32, 32, 64, 3, 2, 1, 1),
    (16, 64, 16, 64, 3, 1, 1, 1),
    (16, 64, 16, 128, 3, 2, 1, 1),
    (16, 128, 8, 128, 3, 1, 1, 1),
    (16, 64, 16, 64, 1, 1, 0, 1),
    (16, 128, 8, 256, 1, 1, 0, 1),
    (16, 32, 16, 64, 5, 1, 2, 1),
    (16, 64, 16, 64, 3, 1, 1, 2),
    (16, 64, 16, 64, 3, 1, 1, 64),
]
Step = Callable[[Tensor, Tensor], None]


def net(
    conv: Callable[..., nn.Module], act: Callable[[], nn.Module], linear: Callable[..., nn.Module]
) -> nn.Sequential:
    """The pinned net; Brevitas's layers and torch's fill the same places."""
    layers: list[nn.Module] = []
    for in_, out in ((3, 32), (32, 64), (64, 128)):
        layers += [conv(in_, out, 3, padding=1), act(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), linear(128 * 16, 10))


def contestants() -> dict[str, nn.Sequential]:
    """Nets with the same first weights."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import brevitas.nn as qnn
        from brevitas.quant import Uint8ActPerTensorFixedPoint

        from hwtrain.export.brevitas import PotWeight
    weight = {"weight_quant": PotWeight, "weight_pot_bits": POT.bits}

    def conv(*shape: Any, **given: Any) -> nn.Module:
        return qnn.QuantConv2d(*shape, **given, **weight)

    def linear(*shape: Any) -> nn.Module:
        return qnn.QuantLinear(*shape, True, **weight)

    def act() -> nn.Module:
        return qnn.QuantReLU(act_quant=Uint8ActPerTensorFixedPoint, bit_width=7)  # 0 to 127, as ours

    torch.manual_seed(0)
    plain = net(nn.Conv2d, nn.ReLU, nn.Linear)
    found = {"plain": plain, "brevitas": net(conv, act, linear)}
    for name, learn in (("ours", False), ("ours, learnt scales", True)):
        made = net(nn.Conv2d, lambda learn=learn: FixedPoint(8, relu=True, learn=learn), nn.Linear)
        found[name] = made
    for made in found.values():
        made.load_state_dict(plain.state_dict(), strict=False)
    for name, made in found.items():
        if name.startswith("ours"):
            shift_weights(made, POT)
    return found


def stepper(model: nn.Module) -> Step:
    """One training step."""
    model.train()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01)

    def step(x: Tensor, labels: Tensor) -> None:
        loss = nn.functional.cross_entropy(model(x), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return step


def in_turns(runs: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median processor seconds of each, the order turning from round to round."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    names = list(runs)
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            began = time.process_time()
            runs[name]()
            times[name].append(time.process_time() - began)
    return {name: float(np.median(found)) for name, found in times.items()}


def same_integers(nets: dict[str, nn.Sequential]) -> tuple[int, int]:
    """Integers of weights and signals of Brevitas's net, trained so far, and of ours; how many differ."""
    theirs = nets["brevitas"].eval()
    ours = shift_weights(net(nn.Conv2d, lambda: FixedPoint(8, relu=True, frac=4), nn.Linear), POT).eval()
    x = torch.randn(BATCH, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    compared = differ = 0
    with torch.no_grad():
        y, z = x, x
        for left, right in zip(theirs, ours, strict=True):
            if isinstance(right, nn.Conv2d | nn.Linear):
                right.parametrizations["weight"].original.copy_(left.weight)
                right.bias.copy_(left.bias)
                codes = left.quant_weight().int().numpy()
                w = left.weight.numpy()
                mine = pow2.values(pow2.encode(w, pow2.lowest(w, POT), POT))
                compared, differ = compared + codes.size, differ + int((codes != mine).sum())
            y = left(y)
            if isinstance(right, FixedPoint):
                scale = float(left.act_quant.scale())
                right.log2_range.fill_(7 + float(np.log2(scale)))
                z = right(z)
                compared, differ = (
                    compared + y.numel(),
                    differ + int(((y / scale).round() != (z / scale).round()).sum()),
                )
            else:
                z = right(z)
    theirs.train()
    return compared, differ


def training(figures: Figures) -> None:
    """Steps of all contestants, the first ones by themselves."""
    nets = contestants()
    steps = {name: stepper(model) for name, model in nets.items()}
    x, labels = torch.randn(BATCH, 3, 32, 32), torch.randint(0, 10, (BATCH,))
    runs = {name: lambda step=step: step(x, labels) for name, step in steps.items()}
    early = in_turns(runs, FIRST)
    compared, differ = same_integers(nets)
    figures.detail["integers_compared"] = compared
    figures.add("integers that differ from Brevitas's", differ, "1", "<= 0")
    late = in_turns(runs, ROUNDS)
    for when, found in ((f"first {FIRST} steps", early), ("steady", late)):
        for name in ("ours", "ours, learnt scales", "brevitas"):
            target = "<= 1.25" if (name, when) == ("ours", "steady") else None
            figures.add(f"step over plain torch: {name}, {when}", found[name] / found["plain"], "x", target)
    figures.detail["plain_step_ms"] = 1000 * late["plain"]


def convolutions(figures: Figures) -> None:
    """Exact 8-bit convolution over float32, shape by shape."""
    rng = np.random.default_rng(0)
    ratios = []
    for batch, in_, side, out, filter_, stride, padding, groups in SHAPES:
        x = torch.from_numpy(rng.integers(-128, 128, (batch, in_, side, side)).astype(np.int8))
        x = x.contiguous(memory_format=torch.channels_last)
        codes = torch.from_numpy(
            rng.choice([-64, -8, -1, 0, 1, 4, 16, 64], (out, in_ // groups, filter_, filter_))
        )
        weights = codes.to(torch.int8).reshape(groups, out // groups, -1)
        bias = torch.from_numpy(rng.integers(-9999, 9999, out)).int()
        sizes = {"side": filter_, "stride": stride, "padding": padding}
        exact = conv8.convolution8(weights, bias.numpy(), **sizes, shift=9, rounding="half-up")
        assert exact is not None, "this machine has no AVX-512 VNNI, or no C compiler"

        real, real_w, real_b = x.float().contiguous(), codes.float(), bias.float()
        last, last_w = (one.contiguous(memory_format=torch.channels_last) for one in (real, real_w))
        given = {"stride": stride, "padding": padding, "groups": groups}
        expected = conv2d(real.double(), real_w.double(), real_b.double(), **given)
        assert torch.equal(exact(x).long(), ((expected.long() + 256) >> 9).clamp(-128, 127))
        runs = {
            "exact": lambda x=x, exact=exact: exact(x),
            "NCHW": lambda a=real, w=real_w, b=real_b, given=given: conv2d(a, w, b, **given),
            "NHWC": lambda a=last, w=last_w, b=real_b, given=given: conv2d(a, w, b, **given),
        }
        in_turns(runs, 3)
        found = in_turns(runs, 40)
        ratio = found["exact"] / min(found["NCHW"], found["NHWC"])
        name = f"{in_}x{side}x{side} to {out}, {filter_}x{filter_}/{stride}" + (
            f", {groups} groups" if groups > 1 else ""
        )
        figures.add(f"8-bit convolution over float32: {name}", ratio, "x")
        ratios.append(ratio)
    figures.add("8-bit convolution over float32, median", float(np.median(ratios)), "x", "<= 0.3")
    figures.add("8-bit convolution over float32, worst", max(ratios), "x", "<= 1.0")


def packing(figures: Figures) -> None:
    """A million weights to packed codes."""
    w = np.random.default_rng(0).normal(0, 0.05, (1000, 1000)).astype(np.float32)
    slowest = 0.0
    for bits in (2, 3, 4, 5):
        pot = Pot(bits, scale="channel")
        run = {"pack": lambda pot=pot: pow2.pack(pow2.encode(w, pow2.lowest(w, pot), pot), pot)}
        slowest = max(slowest, in_turns(run, 41)["pack"])
    figures.add(
        "a million weights quantised and packed, slowest of 2 to 5 bits", 1000 * slowest, "ms", "<= 10"
    )


def main() -> int:
    """All three."""
    torch.set_num_threads(1)
    figures = Figures("shift_speed")
    figures.detail["int_mm"] = integer.has_int_mm()
    with torch.no_grad():
        convolutions(figures)
    packing(figures)
    training(figures)
    return figures.finish()


if __name__ == "__main__":
    sys.exit(main())
