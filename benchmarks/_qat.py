"""What the accuracy studies of shift hardware share: nets, one trial that resumes, and the paired table.

A trial is a row of JSON an epoch and a checkpoint beside it, under runs/studies; what was done is not done
again. Every trial of a study has the same epochs, schedule, batches and first weights by seed.
"""

from __future__ import annotations

import copy
import io
import json
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from _study import work
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from hwtrain.arith.pow2 import Pot
from hwtrain.qat.fitted import fitted_weights, hold
from hwtrain.qat.layers import FixedPoint, shift_weights

Data = tuple[Tensor, Tensor, Tensor, Tensor]
"""Training images and labels, test images and labels."""

BATCH = 128


def cnn(act: Callable[[], nn.Module]) -> nn.Module:
    """Three convolutions of 16, 32 and 64 filters of 3 by 3 for images of 28 by 28, normalised.

    Pooling comes before the activation: both keep the order of numbers, so the result is the same.
    """
    layers: list[nn.Module] = []
    for in_, out in ((1, 16), (16, 32), (32, 64)):
        layers += [nn.Conv2d(in_, out, 3, padding=1, bias=False), nn.BatchNorm2d(out), nn.MaxPool2d(2), act()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * 9, 10))


class Block(nn.Module):
    """Two convolutions and a way round them (He et al., CVPR 2016, option A)."""

    def __init__(self, in_: int, out: int, stride: int, act: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *[nn.Conv2d(in_, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), act()],
            *[nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out)],
        )
        self.stride, self.grown, self.act = stride, out - in_, act()

    def forward(self, x: Tensor) -> Tensor:
        """The sum, rectified."""
        short = x[:, :, :: self.stride, :: self.stride]
        if self.grown:
            short = nn.functional.pad(short, (0, 0, 0, 0, 0, self.grown))
        y: Tensor = self.act(self.body(x) + short)
        return y


def resnet20(act: Callable[[], nn.Module], width: int = 8) -> nn.Module:
    """ResNet-20 for images of 32 by 32; width 16 is the paper's, 8 is half of it."""
    layers: list[nn.Module] = [nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), act()]
    in_ = width
    for stage in range(3):
        for place in range(3):
            out = width << stage
            layers.append(Block(in_, out, 2 if stage and not place else 1, act))
            in_ = out
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(in_, 10))


def quantised(make: Callable[[Callable[[], nn.Module]], nn.Module], bits: int | None, seed: int) -> nn.Module:
    """A net with its first weights; on power-of-two weights and 8-bit signals, if bits are given."""
    torch.manual_seed(seed)
    if bits is None:
        return make(nn.ReLU)
    net = make(lambda: FixedPoint(8, relu=True))
    shift_weights(net, Pot(bits, scale="channel"))
    return nn.Sequential(FixedPoint(8), net)


def fitted(make: Callable[[Callable[[], nn.Module]], nn.Module], bits: int, seed: int) -> nn.Module:
    """As ``quantised``, its convolutions, which normalisations follow, at powers of two of least squares."""
    torch.manual_seed(seed)
    net = make(lambda: FixedPoint(8, relu=True))
    pot = Pot(bits, scale="channel")
    fitted_weights((layer for layer in net.modules() if isinstance(layer, nn.Conv2d)), pot)
    shift_weights(nn.Sequential(*(layer for layer in net.modules() if isinstance(layer, nn.Linear))), pot)
    return nn.Sequential(FixedPoint(8), net)


def first_held(net: nn.Module, begin: float) -> Callable[[float], None]:
    """Holds the weights of the first convolution from a share of training on."""
    first = next(layer for layer in net.modules() if isinstance(layer, nn.Conv2d))
    return lambda share: hold(first) if share >= begin else None


def trained(study: str, name: str) -> int:
    """Epochs that a trial has behind it."""
    log = work(study) / name / "epochs.jsonl"
    return len(log.read_text().splitlines()) if log.exists() else 0


def trial(
    study: str,
    name: str,
    net: nn.Module,
    data: Data,
    *,
    seed: int,
    epochs: int,
    lr: float,
    augment: Callable[[Tensor, torch.Generator], Tensor] = lambda x, _: x,
    before: Callable[[float], None] = lambda _: None,
) -> list[float]:
    """Train with SGD, Nesterov momentum and one cycle of the learning rate; test accuracy by epoch.

    ``before`` is called ahead of every step with the share of training that is done.
    """
    folder = work(study) / name
    folder.mkdir(parents=True, exist_ok=True)
    log, kept = folder / "epochs.jsonl", folder / "checkpoint.safetensors"
    rows = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    x, y, test_x, test_y = data
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    steps = len(y) // BATCH
    optimiser = torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9, nesterov=True, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, lr, epochs * steps, pct_start=0.2)
    if rows:
        held = load_file(kept)
        net.load_state_dict({key[4:]: value for key, value in held.items() if key.startswith("net.")})
        for number, parameter in enumerate(optimiser.param_groups[0]["params"]):
            if f"momentum.{number}" in held:
                optimiser.state[parameter]["momentum_buffer"] = held[f"momentum.{number}"]
        optimiser.step()  # without gradients: only so that the schedule does not complain
        for _ in range(len(rows) * steps):
            schedule.step()
    for epoch in range(len(rows), epochs):
        generator = torch.Generator().manual_seed(1000 * seed + epoch)
        order = torch.randperm(len(y), generator=generator)
        net.train()
        total, began = 0.0, time.process_time()
        for step in range(steps):
            before((epoch + step / steps) / epochs)
            part = order[step * BATCH : (step + 1) * BATCH]
            loss = nn.functional.cross_entropy(net(augment(x[part], generator)), y[part])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += float(loss.detach())
        net.eval()
        row = {"epoch": epoch + 1, "loss": total / steps, "accuracy": accuracy(net, test_x, test_y)}
        rows.append(row | {"cpu_s": time.process_time() - began})
        held = {f"net.{key}": _kept(value) for key, value in net.state_dict().items()}
        for number, parameter in enumerate(optimiser.param_groups[0]["params"]):
            found = optimiser.state[parameter].get("momentum_buffer")
            if found is not None:
                held[f"momentum.{number}"] = _kept(found)
        _replace(kept, lambda path: save_file(held, path))  # noqa: B023 - called at once
        _replace(log, lambda path: path.write_text("".join(json.dumps(row) + "\n" for row in rows)))
        print(f"{study}: {name}: {rows[-1]}", file=sys.stderr, flush=True)
    return [row["accuracy"] for row in rows]


@torch.no_grad()
def accuracy(net: nn.Module, x: Tensor, y: Tensor) -> float:
    """Per cent right."""
    hits = sum(int((net(x[i : i + 500]).argmax(1) == y[i : i + 500]).sum()) for i in range(0, len(y), 500))
    return 100 * hits / len(y)


def weights_of(study: str, name: str) -> dict[str, Tensor]:
    """The state of a trial's net after its last epoch."""
    held = load_file(work(study) / name / "checkpoint.safetensors")
    return {key[4:]: value for key, value in held.items() if key.startswith("net.")}


def started_from(net: nn.Module, state: dict[str, Tensor]) -> nn.Module:
    """A quantised net whose float weights are those of a plain one."""
    made = copy.deepcopy(net)
    own = made.state_dict()
    for key, value in state.items():
        found = f"1.{key}"
        if found not in own:  # a weight behind its parametrisation
            head, _, last = found.rpartition(".")
            found = f"{head}.parametrizations.{last}.original"
        own[found] = value
    made.load_state_dict(own)
    return made


def cifar10(path: Path) -> Data:
    """The JPEG copy of CIFAR-10 beside the checkout, standardised by channel."""
    from PIL import Image

    pack = np.load(path)
    found = []
    for split in ("train", "test"):
        data, at = pack[f"{split}_jpeg"].tobytes(), pack[f"{split}_offsets"]
        images = [np.asarray(Image.open(io.BytesIO(data[a:b]))) for a, b in pairwise(at)]
        x = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255
        found += [x, torch.from_numpy(pack[f"{split}_labels"].astype(np.int64))]
    mean, std = found[0].mean((0, 2, 3), keepdim=True), found[0].std((0, 2, 3), keepdim=True)
    return (found[0] - mean) / std, found[1], (found[2] - mean) / std, found[3]


def shifted_and_flipped(x: Tensor, generator: torch.Generator) -> Tensor:
    """A batch moved by up to 4 pixels, half of the batches mirrored."""
    left, top, mirror = torch.randint(0, 9, (3,), generator=generator).tolist()
    side = x.shape[-1]
    x = nn.functional.pad(x, (4, 4, 4, 4))[:, :, top : top + side, left : left + side]
    return x.flip(3) if mirror % 2 else x


def _kept(value: Tensor) -> Tensor:
    return value.clone(memory_format=torch.contiguous_format)


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    unproved = path.with_name(f"{path.name}.tmp")
    write(unproved)
    unproved.replace(path)
