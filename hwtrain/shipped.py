"""Finds the folders of files that ship beside the code."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from hwtrain.errors import HwtrainError


def shipped(folder: Literal["devices", "fpga"]) -> Path:
    """The folder of files that ship beside the code, in a wheel as in a checkout.

    ``_shipped`` comes first: in an installed wheel the folder beside the package is site-packages,
    and could hold somebody else's ``devices``.
    """
    here = Path(__file__).resolve().parent
    places = (here / "_shipped" / folder, here.parent / folder)
    for place in places:
        if place.is_dir():
            return place
    raise HwtrainError(f"hwtrain's own {folder}/ files are missing at {places[-1]}: reinstall hwtrain")
