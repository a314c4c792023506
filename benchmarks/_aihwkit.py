"""The peer of synapse_speed: the same training in aihwkit, driven over pipes by the benchmark.

Run by the Python that HWTRAIN_AIHWKIT_PYTHON names, where aihwkit and torch are installed, hwtrain not:

    python _aihwkit.py work.npz soft_bounds|one_sided_pair|tiki_taka_v2

work.npz holds x (n, in), labels (n), lr and the weights w0, w1, ... of the layers. Every line of stdin is a
JSON list [what, first, last]: ``train`` answers with the seconds of CPU that training on these samples took,
``look`` trains too and answers with pulses and refreshes a sample.
"""

from __future__ import annotations

import json
import math
import sys
import time
from typing import Any

import numpy as np
import torch
from aihwkit.nn import AnalogLinear, AnalogSequential
from aihwkit.optim import AnalogSGD
from aihwkit.simulator.configs import IOParameters, MappingParameter, SingleRPUConfig, UnitCellRPUConfig
from aihwkit.simulator.configs.compounds import BufferedTransferCompound, OneSidedUnitCell
from aihwkit.simulator.configs.devices import SoftBoundsDevice

DW, W_MAX, BL = 0.001, 0.6, 31


def configuration(cell: str) -> Any:
    """Soft bounds with aihwkit's own scatter; reads without noise or converters, as the benchmark's."""
    device = SoftBoundsDevice(dw_min=DW, w_max=W_MAX, w_min=-W_MAX)
    common = {
        "forward": IOParameters(is_perfect=True),
        "backward": IOParameters(is_perfect=True),
        "mapping": MappingParameter(max_input_size=0, max_output_size=0, digital_bias=True),
    }
    if cell == "soft_bounds":
        return SingleRPUConfig(device=device, **common)
    if cell == "tiki_taka_v2":
        read = IOParameters(is_perfect=True)
        # Its own defaults send one pulse of a buffered column at a time: less than the 31 of ours.
        fast = BufferedTransferCompound(unit_cell_devices=[device, device], transfer_forward=read)
        return UnitCellRPUConfig(device=fast, **common)
    pair = OneSidedUnitCell(
        unit_cell_devices=[device],
        refresh_every=1,
        units_in_mbatch=False,
        refresh_forward=IOParameters(is_perfect=True),
    )
    return UnitCellRPUConfig(device=pair, **common)


class Work:
    """A net on aihwkit's tiles and the samples to train it on."""

    def __init__(self, file: str, cell: str) -> None:
        work = np.load(file)
        self.x, self.labels = torch.from_numpy(work["x"]), torch.from_numpy(work["labels"])
        self.lr, self.refreshes = float(work["lr"]), cell == "one_sided_pair"
        first = [torch.from_numpy(work[name]) for name in sorted(n for n in work.files if n.startswith("w"))]
        torch.manual_seed(0)
        self.layers = [AnalogLinear(w.shape[1], w.shape[0], True, configuration(cell)) for w in first]
        for layer, w in zip(self.layers, first, strict=True):
            layer.set_weights(w, torch.zeros(len(w)))
        parts = [part for layer in self.layers for part in (layer, torch.nn.Tanh())]
        self.net = AnalogSequential(*parts[:-1])
        self.optimizer = AnalogSGD(self.net.parameters(), lr=self.lr)
        self.optimizer.regroup_param_groups(self.net)

    def step(self, n: int) -> None:
        """One sample."""
        self.optimizer.zero_grad()
        z = self.net(self.x[n : n + 1])
        torch.nn.functional.cross_entropy(z, self.labels[n : n + 1]).backward()
        self.optimizer.step()

    def train(self, first: int, last: int) -> dict[str, float]:
        """Seconds of CPU."""
        began = time.process_time()
        for n in range(first, last):
            self.step(n)
        return {"cpu_s": time.process_time() - began}

    def look(self, first: int, last: int) -> dict[str, float]:
        """Expected pulses and refreshed cells, a sample."""
        pulses = refreshed = 0.0
        for n in range(first, last):
            pulses += self._expected(n)
            before = self._sides()
            self.step(n)
            # Sides only rise; one that fell was reset.
            refreshed += sum(
                int(((b - a) < -2 * DW).any(0).sum()) for a, b in zip(before, self._sides(), strict=True)
            )
        return {"pulses": pulses / (last - first), "refreshed": refreshed / (last - first)}

    def _sides(self) -> list[torch.Tensor]:
        found = []
        for layer in self.layers:
            hidden = next(iter(layer.analog_tiles())).get_hidden_parameters()
            sides = [v.abs() for name, v in hidden.items() if name.startswith("hidden_weights")]
            found.append(torch.stack(sides) if self.refreshes else torch.zeros(2, 1))
        return found

    def _expected(self, n: int) -> float:
        signals, z = [], self.x[n : n + 1]
        weights = [layer.get_weights() for layer in self.layers]
        for k, (w, b) in enumerate(weights):
            signals.append(z[0])
            z = z @ w.T + b
            z = torch.tanh(z) if k < len(weights) - 1 else z
        d = torch.softmax(z, 1)[0]
        d[self.labels[n]] -= 1
        total = 0.0
        for k in reversed(range(len(weights))):
            total += expected_pulses(signals[k].numpy(), d.numpy(), self.lr, DW)
            d = (weights[k][0].T @ d) * (1 - signals[k] ** 2)
        return total


def expected_pulses(x: np.ndarray, d: np.ndarray, lr: float, dw: float) -> float:
    """Mean number of coincidences of trains of at most 31 slots, with update and BL management."""
    x, d = abs(x), abs(d)
    k = lr * float(x.max()) * float(d.max()) / dw
    if k == 0:
        return 0.0
    slots = min(math.ceil(k), BL)
    amplitude = math.sqrt(lr / (dw * slots))
    balance = math.sqrt(x.max() / (d.max() * min(1.0, BL / k)))
    columns, rows = np.minimum(1, x * amplitude / balance), np.minimum(1, d * amplitude * balance)
    return slots * float(columns.sum()) * float(rows.sum())


def main() -> None:
    """Answer until stdin ends."""
    torch.set_num_threads(1)
    work = Work(sys.argv[1], sys.argv[2])
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        what, first, last = json.loads(line)
        print(json.dumps(getattr(work, what)(first, last)), flush=True)


if __name__ == "__main__":
    main()
