"""Log-mel features of a spoken word, in an order of operations that C repeats to the bit.

``FRAMES`` frames about the middle of the recording, each under a Hann window; the power of its Fourier
transform; ``BANDS`` triangles that are evenly spaced on the mel scale, mel(f) = 2595 log10(1 + f/700)
(O'Shaughnessy, 1987); their natural logarithm; and of that, what lies less than ``DEPTH`` below the loudest,
as a share from 0 to 1. The loudest is 1 however loud the word was spoken, and all of a silence is.
devices/mcu/src/hwt_logmel.h is the same in C.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hwtrain.arith.float32 import log

F32 = NDArray[np.float32]
_f = np.float32

RATE = 8000
"""Samples a second."""
FRAMES, BANDS = 16, 16
SIZE, HOP = 256, 320
"""Samples of a frame, and from one frame to the next: 32 ms and 40 ms."""
SPAN = HOP * (FRAMES - 1) + SIZE
"""Samples that a word's frames span: 0.632 s."""
LOWEST_HZ, HIGHEST_HZ = 62.5, 4000.0
FLOOR = 1e-9
"""Added to every energy before its logarithm; a sine of full scale has 4096."""
DEPTH = 12.0
"""How far the smallest energy that counts lies below the largest, in natural logarithms: 52 dB."""
_BATCH = 100


def cosines() -> F32:
    """cos(2 pi k / SIZE) for k up to a quarter of a turn: window and transform are made of these."""
    found = np.cos(2 * np.pi * np.arange(SIZE // 4 + 1) / SIZE)
    found[-1] = 0  # not the 6e-17 that float64 makes of it
    table: F32 = found.astype(np.float32)
    return table


def edges() -> list[int]:
    """Where the triangles begin, peak and end, in places of the spectrum: BANDS + 2 whole numbers."""
    low, high = (2595 * np.log10(1 + hz / 700) for hz in (LOWEST_HZ, HIGHEST_HZ))
    exact = 700 * (10 ** (np.linspace(low, high, BANDS + 2) / 2595) - 1) * SIZE / RATE
    found: list[int] = []
    for place in np.rint(exact).astype(int).tolist():
        found.append(max(place, found[-1] + 1) if found else place)
    return found


def log_mels(words: list[NDArray[np.int16]]) -> F32:
    """(words, FRAMES, BANDS)."""
    cut = [_cut(word) for word in words]
    parts = [_features(np.stack(cut[start : start + _BATCH])) for start in range(0, len(cut), _BATCH)]
    return np.concatenate(parts)


def _cut(word: NDArray[np.int16]) -> NDArray[np.int16]:
    """The middle of the word, silence about a short one."""
    found = np.zeros(SPAN, np.int16)
    skip = (len(word) - SPAN) // 2
    first, last = max(skip, 0), min(len(word), skip + SPAN)
    found[first - skip : last - skip] = word[first:last]
    return found


def _features(words: NDArray[np.int16]) -> F32:
    starts = HOP * np.arange(FRAMES)[:, None] + np.arange(SIZE)
    frames = words[:, starts].astype(np.float32) * _f(1 / 32768)
    power = _power(frames * _window())
    at = edges()
    energies = []
    for low, middle, high in zip(at, at[1:], at[2:], strict=False):
        total = np.zeros(power.shape[:-1], np.float32)
        for k in range(low + 1, high):
            up = k <= middle
            share = _f(k - low) / _f(middle - low) if up else _f(high - k) / _f(high - middle)
            total = total + share * power[..., k]
        energies.append(total)
    logs = log(np.stack(energies, axis=-1) + _f(FLOOR))
    loudest = logs.max(axis=(1, 2), keepdims=True)
    shares: F32 = np.maximum(_f(1) - (loudest - logs) * _f(1 / DEPTH), _f(0))
    return shares


def _window() -> F32:
    """Hann's: (1 - cos(2 pi n / SIZE)) / 2."""
    return _f(0.5) - _f(0.5) * _turn()[0]


def _turn() -> tuple[F32, F32]:
    """Cosines and sines of a whole turn, every one from the table of a quarter."""
    quarter = cosines()
    n = SIZE // 4
    cos = np.concatenate([quarter, -quarter[n - 1 :: -1], -quarter[1:], quarter[n - 1 : 0 : -1]])
    return cos, np.roll(cos, n)  # sin(t) = cos(t - a quarter)


def _power(frames: F32) -> F32:
    """|X|^2 of (..., SIZE): a transform of radix 2 in place, decimated in time (Cooley and Tukey, 1965)."""
    cos, sin = _turn()
    bits = SIZE.bit_length() - 1
    order = [int(f"{k:0{bits}b}"[::-1], 2) for k in range(SIZE)]
    real, imag = frames[..., order], np.zeros_like(frames)
    half = 1
    while half < SIZE:
        parts = (*frames.shape[:-1], SIZE // (2 * half), 2, half)
        real, imag = real.reshape(parts), imag.reshape(parts)
        step = SIZE // (2 * half)
        c, s = cos[: SIZE // 2 : step], sin[: SIZE // 2 : step]
        a, b, r, i = real[..., 0, :], imag[..., 0, :], real[..., 1, :], imag[..., 1, :]
        turned, other = r * c + i * s, i * c - r * s  # times cos - i sin
        real = np.stack([a + turned, a - turned], axis=-2).reshape(frames.shape)
        imag = np.stack([b + other, b - other], axis=-2).reshape(frames.shape)
        half *= 2
    power: F32 = real * real + imag * imag
    return power
