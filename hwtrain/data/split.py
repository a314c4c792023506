"""From what a reader found to what is trained on: checks, hold-outs and scaling.

The order of samples is fixed: the permutation of Threefry seed 0, ``Purpose.SHUFFLE``, at step 0
for the test part (the last fifth, where a source brings none) and at step 1 for the validation part
(the last sixth of the training samples). So every seed and every machine sees the same parts.

Scale: data within [0, 1] stay; integer images within 0..255 are divided by 255; all else is mapped
by minimum and maximum, images as a whole and tables column by column. Only the part that is trained
on decides, and the part that is evaluated on is clipped to [0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwtrain.arith.threefry import Purpose, Streams
from hwtrain.errors import DataError

EVALUATE = ("test", "validation")

_TEST_STEP, _VALIDATION_STEP = 0, 1
_MAX_CLASSES = 1 << 16  # larger labels are some other column, and would ask for that many outputs


@dataclass(frozen=True)
class Part:
    """Samples as a reader found them, unchecked; ``where`` names their place in messages."""

    x: NDArray[Any]
    y: NDArray[Any]
    where: str


@dataclass(frozen=True, eq=False)
class Split:
    """A data set ready for training.

    ``train_x`` and ``eval_x`` are float32 in [0, 1], of shape (n, features) or
    (n, channels, height, width); ``train_y`` and ``eval_y`` are int64 of shape (n,), in
    0..classes-1. ``eval_name`` is "test" or "validation".
    """

    name: str
    train_x: NDArray[np.float32]
    train_y: NDArray[np.int64]
    eval_x: NDArray[np.float32]
    eval_y: NDArray[np.int64]
    eval_name: str
    classes: int

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one sample: (features,) or (channels, height, width)."""
        return self.train_x.shape[1:]


def make_split(name: str, train: Part, test: Part | None, evaluate: str) -> Split:
    """Check, hold out and scale; raises DataError with the place of the first thing wrong."""
    train = _checked(train)
    if train.y.min() == train.y.max():
        raise DataError(f"{train.where}: every label is {train.y[0]}: training needs at least two classes")
    if test is None:
        train, test = _parted(train, _TEST_STEP, len(train.y) * 4 // 5)
    else:
        test = _checked(test)
        _check_alike(train, test)
    # The test labels count too: both ways to evaluate must train the same net.
    classes = int(max(train.y.max(), test.y.max())) + 1
    if evaluate == "validation":
        held = len(train.y) // 6
        if held == 0:
            raise DataError(
                f"{train.where}: {len(train.y)} training samples are too few to hold out a sixth "
                "for validation: give at least 6"
            )
        train, test = _parted(train, _VALIDATION_STEP, len(train.y) - held)
    offset, span = _scale(train.x)
    train_x, eval_x = _scaled(train.x, offset, span), _scaled(test.x, offset, span)
    return Split(name, train_x, train.y, eval_x, test.y, evaluate, classes)


def _checked(part: Part) -> Part:
    """The part with x as (n, features) or (n, channels, height, width) and y as int64."""
    x, y, where = part.x, part.y, part.where
    if x.dtype.kind not in "biuf":
        raise DataError(f"{where}: x is of type {x.dtype}: give real numbers")
    if x.ndim == 3:
        x = x[:, None]
    if x.ndim not in (2, 4) or x.size == 0:
        raise DataError(
            f"{where}: x has shape {part.x.shape}: give at least one sample, as (n, features), "
            "(n, height, width) or (n, channels, height, width)"
        )
    if y.shape != x.shape[:1]:
        raise DataError(f"{where}: labels of shape {y.shape} for {len(x)} samples: give one label per sample")
    _check_finite(x, where)
    return Part(x, _labels(y, where), where)


def _check_finite(x: NDArray[Any], where: str) -> None:
    if x.dtype.kind != "f":
        return
    with np.errstate(over="ignore", invalid="ignore"):
        bad = ~np.isfinite(x.astype(np.float32, copy=False))
    if bad.any():
        at = np.unravel_index(np.argmax(bad), bad.shape)
        raise DataError(
            f"{where}: sample {at[0]} of x holds {x[at]}, which is no finite 32-bit number: "
            "mend or drop that sample"
        )


def _labels(y: NDArray[Any], where: str) -> NDArray[np.int64]:
    if y.dtype.kind not in "biuf":
        raise DataError(f"{where}: labels are of type {y.dtype}: number the classes from 0")
    with np.errstate(over="ignore", invalid="ignore"):
        wide = y.astype(np.float64)
    bad = (wide < 0) | (wide >= _MAX_CLASSES) | (wide != np.floor(wide))  # NaN fails the last
    if bad.any():
        at = int(np.argmax(bad))
        raise DataError(
            f"{where}: sample {at} has label {y[at]}: labels are whole numbers from 0 "
            f"to {_MAX_CLASSES - 1}, so number the classes from 0"
        )
    return wide.astype(np.int64)


def _check_alike(train: Part, test: Part) -> None:
    if train.x.shape[1:] != test.x.shape[1:]:
        raise DataError(
            f"{test.where}: samples of shape {test.x.shape[1:]}, but those to train on have "
            f"{train.x.shape[1:]}: give both parts one shape"
        )
    if (train.x.dtype.kind == "f") != (test.x.dtype.kind == "f"):
        raise DataError(
            f"{test.where}: x is of type {test.x.dtype}, but what is trained on is of type "
            f"{train.x.dtype}: give both parts on one scale and of one type"
        )


def _parted(part: Part, step: int, first: int) -> tuple[Part, Part]:
    order = Streams(0).stream(Purpose.SHUFFLE).at(step).permutation(len(part.y))
    kept, held = order[:first], order[first:]
    return (
        Part(part.x[kept], part.y[kept], part.where),
        Part(part.x[held], part.y[held], part.where),
    )


def _scale(x: NDArray[Any]) -> tuple[Any, Any]:
    """What to subtract from x and then to divide by."""
    images = x.ndim == 4
    if x.min() >= 0 and x.max() <= 1:
        return 0.0, 1.0
    if images and x.dtype.kind in "iu" and x.min() >= 0 and x.max() <= 255:
        return 0.0, 255.0
    axis = None if images else 0
    low = np.asarray(x.min(axis=axis), dtype=np.float64)
    span = np.asarray(x.max(axis=axis), dtype=np.float64) - low
    return low, np.where(span > 0, span, 1.0)


def _scaled(x: NDArray[Any], offset: Any, span: Any) -> NDArray[np.float32]:
    # float32 holds a byte exactly, and Fashion-MNIST in float64 would take 376 MB.
    y: Any = x.astype(np.float32 if x.dtype == np.uint8 else np.float64, order="C")
    y -= offset
    y /= span
    np.clip(y, 0.0, 1.0, out=y)
    return np.asarray(y, dtype=np.float32)
