"""How many bytes of memory an object takes, by what they are."""

from __future__ import annotations

import struct
from pathlib import Path

_NOBITS, _WRITE, _ALLOCATED, _CODE = 8, 1, 2, 4


def sizes(file: Path) -> dict[str, int]:
    """``text``, ``rodata``, ``data`` and ``bss`` of a 32-bit little-endian ELF file, in bytes.

    By the flags of its sections (System V ABI, chapter 4): code; what is neither code nor written; what is
    written; what is written and 0 at first.

    Raises:
        ValueError: it is no such file.
    """
    raw = file.read_bytes()
    if raw[:6] != b"\x7fELF\x01\x01":
        raise ValueError(f"{file}: no 32-bit little-endian ELF file")
    (start,) = struct.unpack_from("<I", raw, 32)
    entry, count = struct.unpack_from("<HH", raw, 46)
    found = {"text": 0, "rodata": 0, "data": 0, "bss": 0}
    for place in range(count):
        _, kind, flags, _, _, size = struct.unpack_from("<6I", raw, start + place * entry)
        if flags & _ALLOCATED:
            written = "bss" if kind == _NOBITS else "data"
            found["text" if flags & _CODE else written if flags & _WRITE else "rodata"] += size
    return found
