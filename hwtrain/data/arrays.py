"""Data that is in memory already: arrays, tensors and torch-style Datasets. Imports no torch."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from hwtrain.data.bounded import reason
from hwtrain.data.split import Part
from hwtrain.errors import DataError

_CHOICE = "give a name, a path, a Dataset, a pair (train, test) of Datasets, (x, y) or (x, y, x_test, y_test)"


@runtime_checkable
class Dataset(Protocol):
    """What torch calls a map-style Dataset: samples (x, label) by index."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


def read(source: Any) -> tuple[Part, Part | None]:
    """The training part, and the test part if there is one; raises DataError for another thing."""
    if not isinstance(source, tuple):
        return _dataset(source, "data set"), None
    if len(source) in (2, 4) and hasattr(source[0], "shape"):
        x, y, *test = map(_array, source, ("x", "y", "x_test", "y_test"))
        return Part(x, y, "(x, y)"), Part(test[0], test[1], "(x_test, y_test)") if test else None
    if len(source) == 2:
        return _dataset(source[0], "train data set"), _dataset(source[1], "test data set")
    raise DataError(f"a tuple of {len(source)} is no data set: {_CHOICE}")


def _dataset(source: Any, where: str) -> Part:
    kind = type(source)
    has_items = hasattr(kind, "__len__") and hasattr(kind, "__getitem__")
    if not has_items or hasattr(source, "shape"):  # an array alone has no labels
        raise DataError(f"{kind.__name__} is no data set: {_CHOICE}")
    samples, labels = [], []
    for index in range(len(source)):
        place = f"{where}, sample {index}"
        try:
            x, label = source[index]
        except (LookupError, TypeError, ValueError) as error:
            raise DataError(f"{place}: not a pair ({reason(error)}): give (x, label)") from error
        samples.append(_array(x, f"{place}: x"))
        labels.append(_array(label, f"{place}: label"))
        if samples[-1].shape != samples[0].shape or labels[-1].ndim:
            raise DataError(
                f"{place}: x has shape {samples[-1].shape} and the label {labels[-1].shape}, not "
                f"{samples[0].shape} and (): give samples of one shape, and numbers as labels"
            )
    if not samples:
        raise DataError(f"{where}: holds no samples: give at least one")
    return Part(np.stack(samples), np.stack(labels), where)


def _array(value: Any, where: str) -> NDArray[Any]:
    try:
        return np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{where}: not an array ({reason(error)}): give numbers on the CPU") from error
