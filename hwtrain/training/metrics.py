"""What a run found: means over seeds, controls beside them, and warnings about what looks wrong."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from hwtrain.config import SOFTWARE, TrainConfig
from hwtrain.data import Split
from hwtrain.training.cost import PulseCost, mean, mean_cost, total
from hwtrain.training.trial import Outcome

HARDWARE = ("area_m2", "inference_J", "inference_s", "step_J", "step_s")
"""What ``Result.hardware`` holds."""
_CLIPPED = 0.5
_ADC = 0.5
_BEYOND = 0.01


@dataclass(frozen=True)
class Result:
    """The figures of a run; ``tensors`` holds the final state of each trial by its name.

    Accuracies are fractions on ``eval_name``, at the final epoch, mean over seeds. Pulses, energy,
    time and endurance are those of training one trial of the device, mean over seeds. A run without
    controls has None for theirs. ``hardware``: area of all arrays, energy and time of an inference and of a
    training step, one array after another; None is what a card does not say.
    ``wall_s`` is that of this call, resumed or not.
    """

    config: TrainConfig
    run: Path | None
    eval_name: str
    accuracy: float
    accuracy_sd: float | None
    baseline_accuracy: float | None
    baseline_accuracy_sd: float | None
    shallow_accuracy: float | None
    shallow_accuracy_sd: float | None
    pulses: float
    clipped_share: float | None
    energy_J: float | None
    pulse_time_s: float | None
    endurance_used: float | None
    hardware: dict[str, float | None]
    wall_s: float
    warnings: list[str]
    trials: list[dict[str, Any]]
    tensors: dict[str, dict[str, Tensor]] = field(repr=False)

    def as_dict(self) -> dict[str, Any]:
        """Everything but tensors, for result.json and ``--json``."""
        plain = {
            name: value for name, value in vars(self).items() if name not in ("config", "run", "tensors")
        }
        names = ("rule", "device", "update", "cell", "data", "net", "epochs", "seeds", "engine")
        settings = {name: getattr(self.config, name) for name in names}
        return {"format": 1, "run": str(self.run) if self.run else None, **settings, **plain}


def summarise(
    config: TrainConfig, outcomes: list[Outcome], data: Split, run: Path | None, wall_s: float
) -> Result:
    """Means over seeds of each role."""
    rows = [_row(outcome) for outcome in outcomes]
    device = [row for row in rows if row["role"] == "device"]
    accuracies = [row["accuracy"] for row in device]
    # A run whose device is the software baseline itself is its own control.
    own = {"baseline": ("backprop", SOFTWARE), "shallow": ("shallow", SOFTWARE)}
    controls = {
        role: [row["accuracy"] for row in rows if row["role"] == role or (row["rule"], row["device"]) == what]
        for role, what in own.items()
    }
    cost = mean_cost(
        [PulseCost(row["pulses"], row["clipped"], row["energy_J"], row["pulse_time_s"]) for row in device]
    )
    return Result(
        config,
        run,
        data.eval_name,
        statistics.fmean(accuracies),
        _mean_sd(accuracies)[1],
        *_mean_sd(controls["baseline"]),
        *_mean_sd(controls["shallow"]),
        cost.pulses,
        cost.clipped_share,
        cost.energy_J,
        cost.time_s,
        mean(row["endurance_used"] for row in device),
        {name: mean(row["hardware"][name] for row in device) for name in HARDWARE},
        wall_s,
        list(dict.fromkeys(line for outcome in outcomes for line in warnings_of(outcome))),
        rows,
        {outcome.spec.name: outcome.tensors for outcome in outcomes},
    )


def warnings_of(outcome: Outcome) -> list[str]:
    """Lines about layers of which the pulses or converters do not do their work."""
    lines = []
    device = outcome.spec.device
    figures = outcome.position.rows[-1]["layers"].values()
    if any(layer["scatters"] for layer in figures) and not any(layer["writes"] for layer in figures):
        lines.append(
            f"device {device}: no effect: scatter of pulses and ageing, for rule {outcome.spec.rule} writes "
            "none; it loads weights, to the nearest state"
        )
    for path, layer in outcome.position.rows[-1]["layers"].items():
        share = layer["clipped"] / layer["pulses"] if layer["pulses"] else 0.0
        if share > _CLIPPED:
            lines.append(
                f"layer {path} on device {device}: {share:.0%} of the pulses were clipped, the cells "
                "stand at an end of their range: lower lr, widen weight_range, or choose another cell"
            )
        if layer["weights_beyond"] > _BEYOND * layer["weights"]:
            lines.append(
                f"layer {path} on device {device}: {layer['weights_beyond'] / layer['weights']:.0%} of the "
                "first weights lie beyond the largest that its cells can hold: widen weight_range"
            )
        if layer["weights_off"]:
            lines.append(
                f"layer {path} on device {device}: {layer['weights_off']} of {layer['weights']} first "
                f"weights stayed off, by {layer['off_steps'] / layer['weights_off']:.1f} steps on average: "
                "the cells do not follow their card: mend its response, or look at the array"
            )
        outputs = layer["adc_outputs"]
        for count, what, repair in (
            ("adc_clipped", "beyond the ADC's range", "raise"),
            ("adc_lost", "below one step of the ADC", "lower"),
        ):
            if outputs and layer[count] / outputs > _ADC:
                lines.append(
                    f"layer {path} on device {device}: {layer[count] / outputs:.0%} of the outputs lie "
                    f"{what}: {repair} read.adc_range_cells (or _share, or _A) in the card"
                )
    return lines


def _row(outcome: Outcome) -> dict[str, Any]:
    """One trial's figures."""
    spec, last = outcome.spec, outcome.position.rows[-1]
    layers = list(last["layers"].values())
    return {
        "name": spec.name,
        "role": spec.role,
        "rule": spec.rule,
        "device": spec.device,
        "seed": spec.seed,
        "lr": spec.lr,
        "accuracy": last["accuracy"],
        "loss": last["loss"],
        "pulses": sum(layer["pulses"] for layer in layers),
        "clipped": sum(layer["clipped"] for layer in layers),
        "resets": sum(layer["resets"] for layer in layers),
        "energy_J": total(layer["energy_J"] for layer in layers),
        "pulse_time_s": total(layer["time_s"] for layer in layers),
        "endurance_used": endurance_used(layers),
        "hardware": {name: total(layer["hardware"][name] for layer in layers) for name in HARDWARE},
        "wall_s": outcome.position.wall_s,
    }


def endurance_used(layers: list[dict[str, Any]]) -> float | None:
    """The share that the most used cell of all has had; None where a card or an array does not say."""
    used = [
        layer["wear"] / layer["endurance"] if layer["endurance"] and layer["wear"] is not None else None
        for layer in layers
    ]
    return max(used) if used and None not in used else None  # type: ignore[type-var]


def _mean_sd(values: list[float]) -> tuple[float | None, float | None]:
    """Mean and standard deviation over seeds; one seed has no deviation, none has neither."""
    if not values:
        return None, None
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None
