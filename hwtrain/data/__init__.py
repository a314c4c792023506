"""Data sets: three with names (`digits`, `fashion-mnist`, `spoken-digits`), and readers for your own.

Nothing is ever downloaded, and no pickle is ever read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hwtrain.data import arrays, idx, known, npz, spoken, table
from hwtrain.data.arrays import Dataset
from hwtrain.data.split import EVALUATE, Part, Split, make_split
from hwtrain.errors import ConfigError, DataError, nearest

__all__ = ["Split", "load"]

_KNOWN = {"digits": known.digits, "fashion-mnist": known.fashion_mnist, "spoken-digits": known.spoken_digits}


def load(source: str | Path | Dataset | tuple[Any, ...], *, evaluate: str = "test") -> Split:
    """Read a data set and split it into what is trained on and what is evaluated on.

    ``source`` is one of

    * ``"digits"`` (inside the package), ``"fashion-mnist"`` (Debian's package, read in place), or
      ``"spoken-digits"`` (an archive that the environment names, as log-mel images);
    * a path: a folder of the four MNIST-style IDX files, an ``.npz``, a ``.csv``, or a ``.zip`` of
      spoken digits;
    * a torch-style Dataset, or a pair ``(train, test)`` of them;
    * arrays ``(x, y)`` or ``(x, y, x_test, y_test)``.

    x is a table (n, features) or images (n, height, width) or (n, channels, height, width); y holds
    whole numbers from 0, one per sample. A source with no test part is split 80/20.
    ``evaluate="validation"`` holds out a sixth of the training samples and never returns the test
    part. `hwtrain.data.split` says how samples are shuffled and scaled.

    Raises DataError for whatever cannot be read, and ConfigError for another ``evaluate``.
    """
    if evaluate not in EVALUATE:
        raise ConfigError(f"evaluate cannot be {evaluate!r}: {nearest(evaluate, EVALUATE)}")
    if isinstance(source, str) and source in _KNOWN:
        return make_split(source, *_KNOWN[source](), evaluate)
    if isinstance(source, str | Path):
        return make_split(Path(source).name, *_read(source), evaluate)
    return make_split(type(source).__name__, *arrays.read(source), evaluate)


def _read(source: str | Path) -> tuple[Part, Part | None]:
    path = Path(source)
    try:
        if path.is_dir():
            return idx.read(path)
        if not path.exists():
            hint = nearest(str(source), _KNOWN)
            raise DataError(f"{path}: no such file, folder or data set: check the path, or {hint}")
        if path.suffix.lower() == ".npz":
            return npz.read(path)
        if path.suffix.lower() == ".csv":
            return table.read(path), None
        if path.suffix.lower() == ".zip":
            return spoken.read(path)
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"{path}: {reason}: check the path and its rights") from error
    raise DataError(
        f"{path}: unknown kind of file {path.suffix!r}: give a folder of IDX files, .npz, .csv or .zip"
    )
