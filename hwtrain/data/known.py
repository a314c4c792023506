"""Data sets with a name of their own: nothing to fetch."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from hwtrain.data import idx, npz, spoken
from hwtrain.data.split import Part
from hwtrain.errors import DataError

DIGITS = Path(__file__).resolve().parent / "digits.npz"
FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package puts its files."""
SPOKEN_DIGITS = "HWTRAIN_SPOKEN_DIGITS"
"""The variable of the environment that says where the archive is."""


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


def spoken_digits() -> tuple[Part, Part]:
    """2,700 and 300 spoken digits, log-mel images of 16 x 16; raises DataError without the archive."""
    named = os.environ.get(SPOKEN_DIGITS)
    if not named or not Path(named).is_file():
        raise DataError(
            f"spoken-digits: {named or 'no archive is named'}: let {SPOKEN_DIGITS} name the zip of the "
            "Free Spoken Digit Dataset's recordings, or give it with --data FILE.zip"
        )
    return spoken.read(Path(named))
