"""Data sets with a name of their own: nothing to fetch, nothing to point at."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hwtrain.data import idx, npz
from hwtrain.data.split import Part
from hwtrain.errors import DataError

DIGITS = Path(__file__).resolve().parent / "digits.npz"
FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package puts its files."""


def digits() -> tuple[Part, None]:
    """1797 handwritten digits of 8 x 8 pixels, values 0..16 divided by 16 (see digits.LICENSE.md).

    It brings no test part, so the fixed shuffle makes 1437 to train on and 360 to test.
    """
    part, _ = npz.read(DIGITS)
    return Part(part.x / np.float32(16), part.y, part.where), None


def fashion_mnist() -> tuple[Part, Part]:
    """60,000 and 10,000 pictures of clothes, 28 x 28; raises DataError where not installed."""
    if not FASHION_MNIST.is_dir():
        raise DataError(
            f"{FASHION_MNIST}: Fashion-MNIST is not there: install Debian's dataset-fashion-mnist, "
            "or give the folder of its four files with --data PATH"
        )
    return idx.read(FASHION_MNIST)
