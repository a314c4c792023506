"""One training step by hand: plain loops, one number at a time, nothing of hwtrain.

A net is a list of layers, a layer a tuple; weights are lists by name, ``fc.weight`` as [group][out][in].

    ("dense", name)  ("conv", name, filter, stride, padding)  ("relu",)  ("tanh",)  ("max", size)  ("flat",)

``Float32`` and ``Fixed`` are the two arithmetics. Signals are flat lists beside a shape.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

F = np.float32
ZERO, ONE = F(0), F(1)
Layer = tuple[Any, ...]
Signal = list[Any]


# ---------------------------------------------------------------- float32, in the specified order


def exp(x: Any) -> Any:
    """e^x: n = floor(x log2 e + 1/2), Taylor's series to the 7th power of the rest, times 2^n."""
    x = min(max(x, F(-87)), F(88))
    n = F(math.floor(x * F(1.44269504) + F(0.5)))
    r = (x - n * F(0.693359375)) - n * F(-2.12194440e-4)
    p = F(1 / 5040)
    for k in (6, 5, 4, 3, 2, 1, 0):
        p = p * r + F(1 / math.factorial(k))
    return p * F(2.0 ** int(n))


def log(x: Any) -> Any:
    """ln x, x = 2^e m with m from sqrt(1/2) on: 2 atanh((m - 1)/(m + 1)) + e ln 2."""
    fraction, e = math.frexp(float(x))  # fraction in [1/2, 1)
    if F(fraction) < np.array(0x3F3504F3, np.int32).view(F):
        fraction, e = 2 * fraction, e - 1
    m, n = F(fraction), F(e)
    s = (m - ONE) / (m + ONE)
    square = s * s
    p = F(2 / 9)
    for odd in (7, 5, 3, 1):
        p = p * square + F(2 / odd)
    return n * F(0.693359375) + (n * F(-2.12194440e-4) + s * p)


def tanh(x: Any) -> Any:
    """Its series below 1/4, else 1 - 2/(e^2|x| + 1) with the sign of x."""
    a = abs(x)
    square = a * a
    if a < F(0.25):
        p = F(62 / 2835)
        for term in (-17 / 315, 2 / 15, -1 / 3):
            p = p * square + F(term)
        y = a + a * square * p
    else:
        y = ONE - F(2) / (exp(a + a) + ONE)
    return -y if math.copysign(1.0, float(x)) < 0 else y


def dot(w: Signal, x: Signal) -> Any:
    """Term i goes to lane i mod 16; then lane l takes lane l + 8, then l + 4, l + 2, l + 1."""
    lanes = [ZERO] * 16
    for i in range(len(w)):
        lanes[i % 16] = lanes[i % 16] + w[i] * x[i]
    for half in (8, 4, 2, 1):
        for lane in range(half):
            lanes[lane] = lanes[lane] + lanes[lane + half]
    return lanes[0]


class Float32:
    """Numbers are numpy.float32; every operation rounds by itself."""

    zero, one = ZERO, ONE

    def matrix(self, weights: dict[str, Any], name: str) -> Any:
        """What is read."""
        return weights[name]

    def dot(self, w: Signal, x: Signal) -> Any:
        """A product of a row and a signal."""
        return dot(w, x)

    def with_bias(self, y: Any, b: Any, name: str) -> Any:
        """The bias is read as a row of one weight, whose input is 1."""
        return y + dot([b], [ONE])

    def end(self, acc: Any, name: str) -> Any:
        """Nothing to do."""
        return acc

    def update(self, weights: dict[str, Any], name: str, pairs: Any, lr: float, step: int) -> None:
        """Pair after pair: w += (scale d) x."""
        scale = F(-1 / self.batch) * F(lr)
        for group, rows in enumerate(weights[name]):
            for o, row in enumerate(rows):
                for x, d in pairs:
                    for i in range(len(row)):
                        row[i] = row[i] + (scale * d[group][o]) * x[group][i]

    batch = 1

    def loss(self, kind: str, z: Signal, label: int) -> tuple[Any, Signal]:
        """The loss of one sample and its gradient."""
        if kind == "mse":
            error = [v - ONE if c == label else v for c, v in enumerate(z)]
            total = ZERO
            for e in error:
                total = total + e * e
            return total / F(len(z)), [e * F(2 / len(z)) for e in error]
        assert kind == "softmax-ce"
        largest = max(z)
        powers = [exp(v - largest) for v in z]
        total = ZERO
        for p in powers:
            total = total + p
        shares = [p / total for p in powers]
        return log(total) - (z[label] - largest), [p - ONE if c == label else p for c, p in enumerate(shares)]


# ---------------------------------------------------------------- whole numbers


def rounded(value: int, shift: int, rounding: str = "half-up", noise: int = 0) -> int:
    """value / 2^shift to a whole number, by exact fractions; stochastic takes noise for the cut-off part."""
    exact = Fraction(value) / Fraction(2) ** shift
    low = math.floor(exact)
    rest = exact - low
    if rounding == "half-up":
        return low + (rest >= Fraction(1, 2))
    if rounding == "half-even":
        return low + (rest > Fraction(1, 2) or (rest == Fraction(1, 2) and low % 2 == 1))
    if rounding == "stochastic" and shift > 0:
        return low + (rest + Fraction(noise % 2**shift, 2**shift) >= 1)
    return low


def clipped(value: int, bits: int) -> int:
    """Into so many bits, sign included."""
    return max(-(2 ** (bits - 1)), min(2 ** (bits - 1) - 1, value))


def threefry(key: tuple[int, int], counter: tuple[int, int]) -> tuple[int, int]:
    """Threefry-2x32, 20 rounds, from the paper: a key is added before the first and after every 4th round."""
    full = 2**32
    keys = [key[0], key[1], key[0] ^ key[1] ^ 0x1BD11BDA]
    a, b = (counter[0] + keys[0]) % full, (counter[1] + keys[1]) % full
    for number in range(20):
        turn = (13, 15, 26, 6, 17, 29, 16, 24)[number % 8]
        a = (a + b) % full
        b = (b * 2**turn % full + b // 2 ** (32 - turn)) ^ a
        if number % 4 == 3:
            s = number // 4 + 1
            a, b = (a + keys[s % 3]) % full, (b + keys[(s + 1) % 3] + s) % full
    return a, b


@dataclass
class Fixed:
    """Codes. ``powers`` of an array of powers of two: (its lowest power, how many doublings)."""

    signal: tuple[int, int, int]
    weight: tuple[int, int]
    rounding: str
    update_rounding: str
    seed: int = 0
    arrays: tuple[str, ...] = ()
    powers: dict[str, tuple[int, int]] = field(default_factory=dict)
    batch: int = 1
    zero = 0

    @property
    def one(self) -> int:
        """A signal of 1."""
        return clipped(2 ** self.signal[1], self.signal[0])

    def matrix(self, weights: dict[str, Any], name: str) -> Any:
        """The weights, or the powers of two nearest to them."""
        if name not in self.powers:
            return weights[name]
        return [[[self.power(w, name) for w in row] for row in rows] for rows in weights[name]]

    def power(self, master: int, name: str) -> int:
        """In units of the lowest power; the nearest one, ties upward, 0 below its half."""
        low, most = self.powers[name]
        size = Fraction(abs(master)) / Fraction(2) ** low
        if size < Fraction(1, 2):
            return 0
        k = 0
        while k < most and size >= Fraction(3, 2) * 2**k:
            k += 1
        return 2**k if master > 0 else -(2**k)

    def point(self, name: str) -> int:
        """Bits after the point of what is read, beyond those of a signal."""
        return self.weight[1] - (self.powers[name][0] if name in self.powers else 0)

    def dot(self, w: Signal, x: Signal) -> int:
        """Exact."""
        return sum(int(a) * int(b) for a, b in zip(w, x, strict=True))

    def with_bias(self, y: int, b: int, name: str) -> int:
        """The bias comes to the point of y, half up, before it is added."""
        return y + rounded(b * self.one, self.weight[1] - self.point(name))

    def end(self, acc: int, name: str) -> int:
        """A signal again."""
        return clipped(rounded(acc, self.point(name), self.rounding), self.signal[0])

    def update(self, weights: dict[str, Any], name: str, pairs: Any, lr: float, step: int) -> None:
        """The pairs add up and are rounded once; the learning rate is a shift."""
        bits, frac = self.weight
        rate = math.floor(-math.log2(lr) + 0.5) + math.floor(math.log2(self.batch) + 0.5)
        shift = self.signal[1] + self.signal[2] - frac + rate
        seed = self.seed % 2**32, self.seed // 2**32
        stream = threefry(seed, (7, self.arrays.index(name) + 1))  # 7: updates; arrays count from 1
        point = threefry(stream, (step, 0))
        element = 0
        for group, rows in enumerate(weights[name]):
            for o, row in enumerate(rows):
                for i in range(len(row)):
                    total = -sum(int(d[group][o]) * int(x[group][i]) for x, d in pairs)
                    first, second = threefry(point, (element, 0))
                    change = rounded(total, shift, self.update_rounding, second * 2**32 + first)
                    row[i] = clipped(int(row[i]) + change, bits)
                    element += 1

    def loss(self, kind: str, z: Signal, label: int) -> tuple[int, Signal]:
        """The loss of one sample and its gradient, in codes."""
        bits, frac, error_frac = self.signal
        z = [int(v) for v in z]
        if kind == "squared-error":
            error = [v - 2**frac * (c == label) for c, v in enumerate(z)]
            loss = clipped(rounded(sum(e * e for e in error), frac + 1), 32)
            return loss, [clipped(rounded(e, frac - error_frac), bits) for e in error]
        assert kind == "softmax2"
        below = [max(z) - v for v in z]
        powers = []
        for b in below:
            entry = b % 2**frac * 32 // 2**frac
            powers.append(round(2**15 * 2.0 ** (-entry / 32)) // 2 ** min(b // 2**frac, 31))
        total = sum(powers)
        place = total.bit_length() - 1
        entry = total * 32 // 2**place - 32  # the five bits below the leading one
        inverse = round(2**15 / (1 + (entry + 0.5) / 32))
        errors = [clipped(rounded(p * inverse // 2**place, 15 - error_frac), bits) for p in powers]
        errors[label] = clipped(-sum(e for c, e in enumerate(errors) if c != label), bits)
        loss = (place - 15) * 2**frac + (total - 2**place) * 2**frac // 2**place + below[label]
        return clipped(loss, 32), errors


def lowest_power(
    weight: tuple[int, int], bits: int, in_: int, out: int, std: float | None = None
) -> tuple[int, int]:
    """(log2 of the lowest power in units of a weight's code, doublings): the highest covers 3 deviations."""
    deviation = math.sqrt(2 / (in_ + out)) if std is None else std
    doublings = 2 ** (bits - 1) - 2
    highest = min(math.ceil(math.log2(3 * deviation)), weight[0] - 2 - weight[1])
    return weight[1] + highest - doublings, doublings


# ---------------------------------------------------------------- the net


Arithmetic = Float32 | Fixed


def train_step(
    layers: list[Layer],
    weights: dict[str, Any],
    loss: str,
    arithmetic: Arithmetic,
    batch: list[tuple[Signal, int]],
    shape: tuple[int, ...],
    lr: float,
    step: int,
) -> list[Any]:
    """Change the weights by one batch of (flat sample, label); the losses from before."""
    arithmetic.batch = len(batch)
    losses: list[Any] = []
    pairs: dict[str, list[Any]] = {name: [] for name in weights}
    first = next(layer[1] for layer in layers if layer[0] in ("dense", "conv"))
    for x, label in batch:
        z, tapes = forward(layers, weights, arithmetic, x, shape)
        value, d = arithmetic.loss(loss, z, label)
        losses.append(value)
        for layer, tape in zip(reversed(layers), reversed(tapes), strict=True):
            d = backward(layer, weights, arithmetic, d, tape, pairs, first)
    for name in weights:
        arithmetic.update(weights, name, pairs[name], lr, step)
    return losses


def forward(
    layers: list[Layer], weights: dict[str, Any], arithmetic: Arithmetic, x: Signal, shape: tuple[int, ...]
) -> tuple[Signal, list[Any]]:
    """Output of one sample, and for each layer what its way back needs."""
    tapes: list[Any] = []
    for layer in layers:
        match layer:
            case ("dense", name):
                tapes.append(x)
                x = matrix_vector(arithmetic, weights, name, [x])
                shape = (len(x),)
            case ("conv", name, filter_, stride, padding):
                places = positions(shape, filter_, stride, padding)
                groups = len(weights[f"{name}.weight"])
                patches = [patch(x, shape, place, filter_, groups, arithmetic.zero) for place in places]
                rows = [matrix_vector(arithmetic, weights, name, parts) for parts in patches]
                tapes.append((patches, shape, places))
                x = [row[channel] for channel in range(len(rows[0])) for row in rows]
                sides = [(side + 2 * padding - filter_) // stride + 1 for side in shape[1:]]
                shape = (len(rows[0]), *sides)
            case ("max", size):
                x, where, small = pooled(x, shape, size)
                tapes.append((where, len_of(shape)))
                shape = small
            case ("flat",):
                tapes.append(None)
                shape = (len(x),)
            case ("relu",):
                x = [v if v > 0 else arithmetic.zero for v in x]
                tapes.append(x)
            case ("tanh",):
                x = [tanh(v) for v in x]
                tapes.append(x)
    return x, tapes


def backward(
    layer: Layer,
    weights: dict[str, Any],
    arithmetic: Arithmetic,
    d: Signal,
    tape: Any,
    pairs: dict[str, list[Any]],
    first: str,
) -> Signal:
    """The gradient by a layer's input; notes the pairs (x, d) of its arrays, one a position."""
    match layer:
        case ("dense", name):
            pairs[f"{name}.weight"].append(([tape], [d]))
            pairs[f"{name}.bias"].append(([[arithmetic.one]], [d]))
            if name == first:
                return []
            (matrix,) = arithmetic.matrix(weights, f"{name}.weight")
            return [arithmetic.end(v, f"{name}.weight") for v in transposed(arithmetic, matrix, d)]
        case ("conv", name, filter_, _, _):
            patches, shape, places = tape
            array = f"{name}.weight"
            matrices = arithmetic.matrix(weights, array)
            groups, rows = len(matrices), len(matrices[0])
            back = [arithmetic.zero] * len_of(shape)
            for number, place in enumerate(places):
                column = [d[channel * len(places) + number] for channel in range(groups * rows)]
                parts = [column[g * rows : (g + 1) * rows] for g in range(groups)]
                pairs[array].append((patches[number], parts))
                pairs[f"{name}.bias"].append(([[arithmetic.one]], [column]))
                if name == first:
                    continue
                flat = [v for g in range(groups) for v in transposed(arithmetic, matrices[g], parts[g])]
                for value, pixel in zip(flat, pixels(shape, place, filter_), strict=True):
                    if pixel is not None:
                        back[pixel] = back[pixel] + value
            return [] if name == first else [arithmetic.end(v, array) for v in back]
        case ("max", _):
            where, size = tape
            spread = [arithmetic.zero] * size
            for value, pixel in zip(d, where, strict=True):
                spread[pixel] = value
            return spread
        case ("relu",):
            return [v if y > 0 else arithmetic.zero for v, y in zip(d, tape, strict=True)]
        case ("tanh",):
            return [v * (ONE - y * y) for v, y in zip(d, tape, strict=True)]
    return d


def matrix_vector(arithmetic: Arithmetic, weights: dict[str, Any], name: str, parts: list[Signal]) -> Signal:
    """W x + b of every group, as signals."""
    array = f"{name}.weight"
    found = []
    biases = [row[0] for row in weights[f"{name}.bias"][0]]
    for matrix, x in zip(arithmetic.matrix(weights, array), parts, strict=True):
        for row in matrix:
            acc = arithmetic.with_bias(arithmetic.dot(row, x), biases[len(found)], array)
            found.append(arithmetic.end(acc, array))
    return found


def transposed(arithmetic: Arithmetic, matrix: Any, d: Signal) -> Signal:
    """W^T d, the rows added in order."""
    found = []
    for i in range(len(matrix[0])):
        total = arithmetic.zero
        for row, error in zip(matrix, d, strict=True):
            total = total + row[i] * error
        found.append(total)
    return found


def len_of(shape: tuple[int, ...]) -> int:
    """Values in a signal of this shape."""
    return math.prod(shape)


def positions(shape: tuple[int, ...], filter_: int, stride: int, padding: int) -> list[tuple[int, int]]:
    """The upper left pixels of the patches, row by row; padding lies at negative places."""
    _, height, width = shape
    return [
        (top, left)
        for top in range(-padding, height + padding - filter_ + 1, stride)
        for left in range(-padding, width + padding - filter_ + 1, stride)
    ]


def pixels(shape: tuple[int, ...], place: tuple[int, int], filter_: int) -> list[int | None]:
    """The pixels of a patch by channel, row, column; None for padding."""
    channels, height, width = shape
    found: list[int | None] = []
    for channel in range(channels):
        for h in range(place[0], place[0] + filter_):
            for w in range(place[1], place[1] + filter_):
                inside = 0 <= h < height and 0 <= w < width
                found.append((channel * height + h) * width + w if inside else None)
    return found


def patch(
    x: Signal, shape: tuple[int, ...], place: tuple[int, int], filter_: int, groups: int, zero: Any
) -> list[Signal]:
    """The values of a patch, by group."""
    flat = [zero if pixel is None else x[pixel] for pixel in pixels(shape, place, filter_)]
    size = len(flat) // groups
    return [flat[g * size : (g + 1) * size] for g in range(groups)]


def pooled(x: Signal, shape: tuple[int, ...], size: int) -> tuple[Signal, list[int], tuple[int, ...]]:
    """The first largest value of each window, and where it stood; a narrow rim is dropped."""
    channels, height, width = shape
    y, where = [], []
    for channel in range(channels):
        for r in range(height // size):
            for c in range(width // size):
                window = [
                    (channel * height + h) * width + w
                    for h in range(r * size, (r + 1) * size)
                    for w in range(c * size, (c + 1) * size)
                ]
                best = max(window, key=lambda pixel: x[pixel])  # the first of equals
                y.append(x[best])
                where.append(best)
    return y, where, (channels, height // size, width // size)
