"""Training from Python: what the command does, for notebooks and scripts."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from hwtrain.analysis.compare import Comparison, compare_cards
from hwtrain.config import TrainConfig, make_config
from hwtrain.convert import from_torch
from hwtrain.errors import HwtrainWarning
from hwtrain.net import Net
from hwtrain.training.loop import run
from hwtrain.training.metrics import Result


def train(
    net: str | Net | nn.Module | None = None,
    *,
    data: Any = "digits",
    out: str | Path | None = None,
    resume: bool = False,
    workers: int = 1,
    **settings: Any,
) -> Result:
    """Train a net on a device beside its controls, as ``hwtrain train`` does.

    Args:
        net: widths such as ``"64-32-10"``, a ``hwtrain.Net``, or a ``torch.nn.Sequential`` whose
            present weights are the first ones. None: one hidden layer that fits the data.
        data: the name or path of a data set, a torch ``Dataset`` of (x, label), a pair (train,
            test) of them, or arrays ``(x, y)`` or ``(x, y, x_test, y_test)``.
        out: folder for checkpoints and figures; None keeps everything in memory.
        resume: go on from the checkpoints in ``out``, with the same arguments as before.
        workers: processes. The result is the same for any number.
        settings: any key of the configuration: ``rule``, ``device``, ``update``, ``epochs`` ...

    Raises HwtrainError for bad input. What looks wrong with a result comes as HwtrainWarning.

    >>> result = train("64-8-10", device="ideal-envm", epochs=1, seeds=1)
    >>> result.accuracy > result.shallow_accuracy
    True
    """
    named = isinstance(data, str | Path)
    values: dict[str, Any] = {**settings, "data": str(data) if named else type(data).__name__}
    if not isinstance(net, Net | nn.Module):
        values["net"] = net
    config: TrainConfig = make_config(**values)
    built = from_torch(net) if isinstance(net, nn.Module) else net
    result = run(
        config,
        net=built if isinstance(built, Net) else None,
        data=None if named else data,
        out=None if out is None else Path(out),
        resume=resume,
        workers=workers,
    )
    for line in result.warnings:
        warnings.warn(line, HwtrainWarning, stacklevel=2)
    return result


def compare(
    *cards: str | Path, train: bool = False, updates: Sequence[str] = (), workers: int = 1, **settings: Any
) -> Comparison:
    """Cards side by side, as ``hwtrain compare`` does.

    Args:
        cards: ids or files; the first is what the others are held against.
        train: train on each card, with the same seeds, beside the software controls.
        updates: updates to train with; none: that of ``settings``.
        workers: processes. The result is the same for any number.
        settings: any key of the configuration but ``device``: ``data``, ``net``, ``epochs`` ...

    Raises HwtrainError for bad input.

    >>> pcmo, ideal = compare("pcmo", "ideal-envm").facts
    >>> pcmo.asymmetry > ideal.asymmetry
    True
    """
    return compare_cards(
        [str(card) for card in cards], train=train, updates=updates, workers=workers, **settings
    )
