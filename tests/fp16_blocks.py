"""The lines that devices/mcu/sim/check16.c must write, made with hwtrain's own arithmetic."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from hwtrain.arith.fp16 import chain, chunked, fma_halves

U32 = NDArray[np.uint32]
U16 = NDArray[np.uint16]

SIZES = (
    (1, 1, 1), (3, 16, 8), (5, 7, 33), (13, 17, 65), (64, 64, 64),
    (61, 45, 37), (1, 70, 40), (40, 3, 90), (9, 33, 96), (2, 80, 70),
)  # fmt: skip
KNOWN = (0x0000, 0x8000, 0x0001, 0x83FF, 0x3C00, 0xBC01, 0x7BFF, 0x7C00)
P = 16777619


def mixed(seed: int, i: U32) -> U32:
    """The random word at place i of a stream."""
    with np.errstate(over="ignore"):
        x = i * np.uint32(2654435761) + np.uint32(seed * 0x9E3779B9 % 2**32)
        x = x ^ x >> np.uint32(15)
        x = x * np.uint32(0x2C1B3C6D)
        x = x ^ x >> np.uint32(12)
        x = x * np.uint32(0x297A2D39)
    found: U32 = x ^ x >> np.uint32(15)
    return found


def draws(seed: int, n: int) -> U32:
    """The first n words of a stream."""
    return mixed(seed, np.arange(n, dtype=np.uint32))


def value(kind: int, x: U32) -> U16:
    """Bits of halves: any, about 1, or small with few digits."""
    sign = x & np.uint32(0x8000)
    if kind == 0:
        return x.astype(np.uint16)
    if kind == 1:
        bits = sign | np.uint32(11) + (x >> np.uint32(16)) % np.uint32(6) << np.uint32(10) | x & 0x3FF
    else:
        bits = sign | (x >> np.uint32(16)) % np.uint32(12) << np.uint32(10) | x & 0x301
    return bits.astype(np.uint16)


def hashed(h: int, values: NDArray[np.float16] | NDArray[np.float32]) -> int:
    """Horner's rule at P, modulo 2^32; every NaN is one."""
    flat = values.reshape(-1)
    kind, nan = (np.uint16, 0x7E00) if flat.dtype == np.float16 else (np.uint32, 0x7FC00000)
    bits = np.where(np.isnan(flat), nan, flat.view(kind)).astype(np.uint32) + np.uint32(1)
    n = len(bits)
    powers = np.full(n + 1, P, np.uint32)
    powers[0] = 1
    powers = np.multiply.accumulate(powers, dtype=np.uint32)
    with np.errstate(over="ignore"):
        total = int((bits * powers[n - 1 :: -1]).sum(dtype=np.uint32))
    return (h * int(powers[n]) + total) % 2**32


@cache
def blocks(partners: int = 16, repeats: int = 1) -> list[str]:
    """Every line, in order."""
    lines = []
    every = np.arange(65536).astype(np.uint16).view(np.float16)
    for place, name in enumerate("abc"):
        for partner in range(partners):
            x = mixed(77 + place, np.array([partner], np.uint32))
            other = [int(value(partner % 3, x)[0]), int(value(partner % 2, mixed(5, x))[0])]
            if partner % 2 == 0:
                other[partner // 2 % 2] = KNOWN[partner // 2 % 8]
            operands = [every] * 3
            for step, bits in enumerate(other, start=1):
                operands[(place + step) % 3] = np.full(65536, bits, np.uint16).view(np.float16)
            h = 0
            for part in np.split(fma_halves(*operands), 128):
                h = hashed(h, part)
            lines.append(f"{name} {partner} 65536 {h}")
    for repeat in range(repeats):
        h, hg, count, number = 0, 0, 0, 0
        for kind in range(3):
            for m, n, k in SIZES:
                seed = 100 * repeat + number
                number += 1
                a = value(kind, draws(2 * seed, m * k)).view(np.float16)
                b = value(kind, draws(2 * seed + 1, n * k)).view(np.float16)
                forms = [(a.reshape(m, k), b.reshape(k, n)), (a.reshape(m, k), b.reshape(n, k).T)]
                forms.append((a.reshape(k, m).T, b.reshape(k, n)))
                h = [hashed(before, chain(*form)) for before, form in zip(h or [0] * 3, forms, strict=True)]
                hg = hashed(hg, chunked(*forms[2]))
                count += m * n
        for name, found in zip(("nn", "nt", "tn", "gradient"), (*h, hg), strict=True):
            lines.append(f"{name} {repeat} {count} {found}")
    return lines
