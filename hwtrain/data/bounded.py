"""Bounds on what a damaged file can cost: memory while it is read, and the length of a message."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

MAX_BYTES = 1 << 32
"""The most that one array may hold; it bounds an archive that unpacks to far more than its size."""

_CHUNK = 1 << 20


@runtime_checkable
class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def read_up_to(stream: _Readable, size: int) -> bytearray:
    """``size`` bytes, or fewer at the end of the stream; memory grows only with what is there."""
    data = bytearray()
    while len(data) < size and (chunk := stream.read(min(_CHUNK, size - len(data)))):
        data += chunk
    return data


def reason(error: Exception) -> str:
    """What another library says, in one line: some messages quote the whole file."""
    return (" ".join(str(error).split()) or type(error).__name__)[:120]
