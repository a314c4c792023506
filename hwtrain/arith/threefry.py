"""Counter-based random numbers: Threefry-2x32 with 20 rounds, and how hwtrain addresses it.

A number is a function of where it is used, never of when it was drawn, so thread counts, chunk
sizes, kills and resumes cannot change it.

The block function is that of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as
1, 2, 3", SC 2011. Key 0 and counter 0 give 6b200159 99ba4efe.

Addressing, the one place where it is decided (``T(key, counter)`` is the block function)::

    stream = T((seed_low, seed_high), (purpose, layer))     one per purpose and layer
    point  = T(stream, (step, sample << 8 | pass))          one per draw
    words  = T(point, (element, 0))                         one pair of words per element

``step`` has 32 bits, ``sample`` (the index in the batch, or the pair of an outer product) 24 and
``pass`` (a running number inside one sample) 8. A uniform uses the upper 24 bits of the first word;
a normal uses both words (Box-Muller). What a step draws by the ten thousand uses every bit: ``scatter``
takes a normal from one word, ``trains`` 32 uniforms from the bits of 24 words, ``lots`` a uniform from 8 bits
and, rarely, from 16 more. The block function of these three stops after 13 rounds, the other number for
which its authors publish test vectors (key 0 and counter 0 give 9d1c5ec6 8bd50731).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

Words = tuple[int, int]

_MASK = 0xFFFFFFFF
_PARITY = 0x1BD11BDA
_NORMAL = np.float32(0.0067859204), np.float32(1.4285637e-09)
_ROTATIONS = (13, 15, 26, 6, 17, 29, 16, 24)
_FEWER = 13
"""Rounds of what is drawn by the ten thousand."""


class Purpose(IntEnum):
    """What a stream is for; evaluation is its own purpose, so that looking changes nothing."""

    INIT = 1
    SHUFFLE = 2
    VARIATION = 3
    FAULTS = 4
    READ = 5
    READ_T = 6
    UPDATE = 7
    PULSE = 8
    PERTURB = 9
    EVAL_READ = 10
    PHYSICS = 20
    DISTURB = 21
    RULE = 22
    WRITE_NOISE = 30
    AGED_READ = 31
    AGEING = 32
    FIT_SAMPLE = 33


def threefry(key: Words, counter: Words, rounds: int = 20) -> Words:
    """One block in plain integers: the reference that the vector form is held against."""
    keys = (key[0], key[1], _PARITY ^ key[0] ^ key[1])
    x0, x1 = (counter[0] + keys[0]) & _MASK, (counter[1] + keys[1]) & _MASK
    for number in range(rounds):
        rotation = _ROTATIONS[number % 8]
        x0 = (x0 + x1) & _MASK
        x1 = ((x1 << rotation | x1 >> (32 - rotation)) & _MASK) ^ x0
        if number % 4 == 3:
            group = number // 4
            x0 = (x0 + keys[(group + 1) % 3]) & _MASK
            x1 = (x1 + keys[(group + 2) % 3] + group + 1) & _MASK
    return x0, x1


def threefry_words(
    key: Words, elements: NDArray[np.uint32], rounds: int = 20, second: int = 0
) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """``threefry(key, (element, second))`` for many elements at once."""
    keys = (key[0], key[1], _PARITY ^ key[0] ^ key[1])
    x0 = elements + np.uint32(keys[0])
    x1 = np.full_like(x0, (keys[1] + second) & _MASK)
    high = np.empty_like(x0)
    for number in range(rounds):
        rotation = _ROTATIONS[number % 8]
        x0 += x1
        np.left_shift(x1, rotation, out=high)
        np.right_shift(x1, 32 - rotation, out=x1)
        x1 |= high
        x1 ^= x0
        if number % 4 == 3:
            group = number // 4
            x0 += np.uint32(keys[(group + 1) % 3])
            x1 += np.uint32((keys[(group + 2) % 3] + group + 1) & _MASK)
    return x0, x1


@dataclass(frozen=True)
class Point:
    """One draw: every element of it has its own number."""

    key: Words

    def beside(self) -> Point:
        """Another point, whose words no element of this one has."""
        return Point(threefry(self.key, (0, 1)))

    def uniform(self, elements: NDArray[np.uint32] | int) -> NDArray[np.float32]:
        """Uniform in [0, 1) with 24 bits, one per element index (or for the first n elements)."""
        words, _ = threefry_words(self.key, _indices(elements))
        return _unit(words)

    def normal(self, elements: NDArray[np.uint32] | int) -> NDArray[np.float32]:
        """Standard normal by Box-Muller; the largest magnitude possible is 5.77."""
        first, second = threefry_words(self.key, _indices(elements))
        radius = np.sqrt(np.float32(-2.0) * np.log(_unit(first) + np.float32(2.0**-24)))
        normal: NDArray[np.float32] = radius * np.cos(np.float32(2.0 * np.pi) * _unit(second))
        return normal

    def scatter(self, elements: NDArray[np.uint32]) -> NDArray[np.float32]:
        """Nearly normal, for the noise of pulses: one word each, no logarithm, no cosine.

        Element e has word ``e >> 4 & 1`` of block ``(e >> 5) * 16 + (e & 15)``, so that 16 lanes fill 32
        neighbours. Its lower 20 bits are 20 coins, its upper 12 two numbers of 6 bits; with

            m = 64 (heads - 10) + first - second,  z = m (a + b m^2)

        a and b make variance and kurtosis those of a normal exactly. The sixth moment is 14.95 (15 of a
        normal), the distribution function is off by at most 0.0017, and |z| <= 5.27.
        """
        blocks = (elements >> 5) * np.uint32(16) + (elements & np.uint32(15))
        first, second = threefry_words(self.key, blocks, _FEWER)
        words = np.where(elements >> 4 & 1, second, first)
        heads = np.bitwise_count(words & np.uint32(0xFFFFF)).astype(np.int32)
        dither = (words >> np.uint32(20) & np.uint32(63)).astype(np.int32) - (words >> np.uint32(26))
        m = (64 * (heads - 10) + dither).astype(np.float32)
        normal: NDArray[np.float32] = m * (_NORMAL[0] + _NORMAL[1] * (m * m))
        return normal

    def trains(self, lines: NDArray[np.uint32], length: int) -> NDArray[np.float32]:
        """(lines, length <= 32) uniforms in [0, 1) with 24 bits, by bit planes.

        Bit t of plane k is bit 23 - k of the uniform t; plane k of a line is word ``k & 1`` of block
        ``12 line + (k >> 1)``. Who compares them with a chance can stop at the plane that decides.
        """
        blocks = (lines[:, None] * 12 + np.arange(12, dtype=np.uint32)).astype(np.uint32)
        planes = np.stack(threefry_words(self.key, blocks, _FEWER), axis=2).reshape(len(lines), 24)
        slots = np.arange(length, dtype=np.uint32)
        codes = np.zeros((len(lines), length), np.uint32)
        for plane in planes.T:
            codes = codes << np.uint32(1) | plane[:, None] >> slots & np.uint32(1)
        return codes.astype(np.float32) * np.float32(2.0**-24)

    def steps(self, elements: NDArray[np.uint32], pulse: int) -> NDArray[np.float32]:
        """Uniforms in [0, 1) with 24 bits, for pulse 0, 1, ... of the train on each element.

        Pulse k has word ``k & 1`` of the block whose counter is (element, 1 + (k >> 1)).
        """
        return _unit(threefry_words(self.key, elements, _FEWER, 1 + (pulse >> 1))[pulse & 1])

    def lots(self, elements: NDArray[np.uint32]) -> NDArray[np.float32]:
        """Uniforms in [0, 1) with 24 bits, an element each below 2^31, of which eight decide at first.

        The upper 8 bits of element e are byte ``e >> 4 & 3`` of word ``e >> 6 & 1`` of block
        ``(e >> 7) * 16 + (e & 15)``, so that 16 lanes serve 128 neighbours; its lower 16 bits are the
        upper half of the first word of block ``2^31 + e``. Who compares it with a chance needs them once
        in 256 times.
        """
        shared = (elements >> 7) * np.uint32(16) + (elements & np.uint32(15))
        words = np.where(elements >> 6 & 1, *reversed(threefry_words(self.key, shared, _FEWER)))
        upper = words >> np.uint32(8) * (elements >> 4 & np.uint32(3)) & np.uint32(255)
        own, _ = threefry_words(self.key, elements | np.uint32(1 << 31), _FEWER)
        lots: NDArray[np.float32] = _unit(upper << np.uint32(24) | own >> np.uint32(16) << np.uint32(8))
        return lots

    def permutation(self, n: int) -> NDArray[np.int64]:
        """A permutation of ``range(n)``: the order of n 64-bit draws."""
        first, second = threefry_words(self.key, _indices(n))
        draws = first.astype(np.uint64) << np.uint64(32) | second.astype(np.uint64)
        return np.argsort(draws, kind="stable")


@dataclass(frozen=True)
class Stream:
    """All draws of one purpose in one layer."""

    key: Words

    def at(self, step: int, sample: int = 0, pass_: int = 0) -> Point:
        """The draw at a place in training; see the addressing above for the widths."""
        if not (0 <= step < 1 << 32 and 0 <= sample < 1 << 24 and 0 <= pass_ < 1 << 8):
            raise OverflowError(f"no random address for step {step}, sample {sample}, pass {pass_}")
        return Point(threefry(self.key, (step, sample << 8 | pass_)))


@dataclass(frozen=True)
class Streams:
    """Every stream of one trial."""

    seed: int

    def stream(self, purpose: Purpose, layer: int = 0) -> Stream:
        """The stream of a purpose in a layer (arrays are numbered in the order of the net)."""
        key = (self.seed & _MASK, self.seed >> 32 & _MASK)
        return Stream(threefry(key, (int(purpose), layer)))


def _indices(elements: NDArray[np.uint32] | int) -> NDArray[np.uint32]:
    if isinstance(elements, int):
        return np.arange(elements, dtype=np.uint32)
    return elements


def _unit(words: NDArray[np.uint32]) -> NDArray[np.float32]:
    return (words >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)
