"""Damaged files of every format: a reader returns a whole Split or raises DataError, nothing else.

Each case is a function of its number, so a failure is repeated by its number alone.
"""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hwtrain.data import Split, load
from hwtrain.errors import DataError

CASES = 1000
Rng = np.random.Generator


def any_bytes(rng: Rng, data: bytes) -> bytes:
    """One to four flips, a cut, or an insertion, anywhere."""
    out, at = bytearray(data), int(rng.integers(len(data) + 1))
    match rng.integers(4):
        case 0:
            return data[:at]
        case 1:
            return data[:at] + rng.bytes(int(rng.integers(1, 9))) + data[at:]
        case _:
            for place in rng.integers(len(data), size=rng.integers(1, 5)):
                out[place] ^= 1 << int(rng.integers(8))
            return bytes(out)


# IDX


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">{1 + array.ndim}I", 0x800 + array.ndim, *array.shape) + array.tobytes()


def idx_case(rng: Rng, folder: Path) -> Path:
    """Four files, of which one is damaged; in a third of the cases they are gzipped."""
    labels = np.arange(24, dtype=np.uint8) % 3
    images = rng.integers(256, size=(24, 5, 4), dtype=np.uint8)
    files = {
        f"{part}-{kind}-ubyte": idx(array)
        for part in ("train", "t10k")
        for kind, array in (("images-idx3", images), ("labels-idx1", labels))
    }
    name = list(files)[rng.integers(4)]
    zipped = rng.integers(3) == 0
    change = rng.integers(4 if zipped else 3)
    if change == 0:
        files[name] = any_bytes(rng, files[name])
    elif change == 1:
        files[name] = idx_header(rng, files[name])
    elif change == 2:
        files[name] = files[name][:16] + any_bytes(rng, files[name][16:])
    for other in files:
        content = gzip.compress(files[other], 1) if zipped else files[other]
        if zipped and other == name and change == 3:
            content = any_bytes(rng, content)
        (folder / f"{other}{'.gz' * bool(zipped)}").write_bytes(content)
    return folder


def idx_header(rng: Rng, data: bytes) -> bytes:
    at = 4 * int(rng.integers(4 if b"\x08\x03" in data[:4] else 2))
    values = (0, 1, 5, 23, 25, 0x801, 0x803, 0xD03, 1 << 16, (1 << 31) - 1, (1 << 32) - 1)
    return data[:at] + struct.pack(">I", rng.choice(values)) + data[at + 4 :]


# npz


def npz_case(rng: Rng, folder: Path) -> Path:
    """Values, headers or members are changed inside a sound archive, or bytes of the archive."""
    arrays = npz_arrays(rng)
    change = rng.integers(5)
    if change >= 3:
        key = list(arrays)[rng.integers(len(arrays))]
        arrays[key] = array_change(rng, arrays[key])
    members = {f"{key}.npy": npy(array) for key, array in arrays.items()}
    name = list(members)[rng.integers(len(members))]
    if change == 0:
        members[name] = npy_header(rng, members[name])
    elif change == 1:
        members[name] = any_bytes(rng, members[name])
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", rng.choice([0, 8])) as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    path = folder / "data.npz"
    content = stream.getvalue()
    path.write_bytes(any_bytes(rng, content) if change == 2 else content)
    return path


def npz_arrays(rng: Rng) -> dict[str, np.ndarray]:
    y = np.arange(24) % 3
    match rng.integers(3):
        case 0:
            return {"x": rng.normal(size=(24, 5)), "y": y.astype(np.float32)}
        case 1:
            x = rng.integers(256, size=(24, 3, 4), dtype=np.uint8)
            return {"train_images": x, "train_labels": y, "test_images": x, "test_labels": y}
        case _:
            x = rng.uniform(size=(24, 2, 3, 2)).astype(np.float16)
            return {"x_train": x, "y_train": y.astype(np.uint8), "x_test": x, "y_test": y}


def array_change(rng: Rng, array: np.ndarray) -> np.ndarray:
    match rng.integers(5):
        case 0:
            types = ("f2", "f4", ">f8", "i1", "u8", "?", "c8", "S2", "g")
            return array.astype(rng.choice(types))
        case 1:
            return array[: rng.integers(len(array))]
        case 2:
            return np.asfortranarray(array.reshape(rng.choice([1, 2, 3, 4, 6]), -1))
        case _:
            values = [np.nan, np.inf, -1, 0.5, 2, 300] if array.dtype.kind == "f" else [0, 1, 9, 99]
            changed = array.copy()
            changed.flat[rng.integers(array.size)] = rng.choice(values)
            return changed


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def npy_header(rng: Rng, data: bytes) -> bytes:
    swaps = [
        (b"(24,", b"(-4,"),
        (b"(24,", b"(99999999999999999999,"),
        (b"(24,", b"(24L,"),
        (b"(24,", b"((((("),
        (b"(24,", b"(True,"),
        (b"(24,", b"(4, 6,"),
        (b"False", b"True "),
        (b"'fortran", b"'Fortran"),
        (b"{", b"\x00"),
        (b"'<f8'", b"'|O8'"),
        (b"'<f8'", b"'<i8'"),
        (b"'|u1'", b"'|i1'"),
        (b"'<i8'", b"'<m8'"),
        (b"'<i8'", b"'<u8'"),
        (b"'<i8'", b"[('a', '<i8')]"),
        (b"'<i8'", b"(((), 1), ())"),
        (b"\x93NUMPY\x01", b"\x93NUMPY\x02"),
        (b"\x93NUMPY\x01", b"\x93NUMPY\x09"),
    ]
    possible = [swap for swap in swaps if swap[0] in data[:128]]
    old, new = possible[rng.integers(len(possible))]
    grown = len(new) - len(old)  # taken from the padding, so that the header keeps its length
    head = data[:128].replace(old, new, 1)
    return (head[: 127 - grown] + head[127:] if grown > 0 else head) + data[128:]


# CSV

BAD_CELLS = ("nan", "-inf", "1e400", "", "abc", "0x10", "1,2", '"', "1;2", "\x00", "é", "1\n2")
GOOD_CELLS = ('"3"', " 7 ", "0.25", "-3", "1e30", "1e-320", "65536", "+2", "1e2", ".5", "2.", "-0")
CELLS = BAD_CELLS + GOOD_CELLS  # good ones are good features; only some are labels


def csv_case(rng: Rng, folder: Path) -> Path:
    """A cell, the header or any bytes are changed."""
    rows = [[f"{value:.3f}" for value in rng.normal(size=4)] + [str(i % 3)] for i in range(24)]
    header = ["a", "b", "c", "d", "label"]
    change = rng.integers(3)
    if change == 0:
        row = rows[rng.integers(24)]
        row[rng.integers(5)] = CELLS[rng.integers(len(CELLS))]
    elif change == 1:
        header[rng.integers(5)] = ["label", "1", "", "x,y", "nan", '"q', "LABEL "][rng.integers(7)]
    lines = rows if change != 1 and rng.integers(2) else [header, *rows]
    data = "".join(",".join(line) + "\n" for line in lines).encode()
    path = folder / "data.csv"
    path.write_bytes(any_bytes(rng, data) if change == 2 else data)
    return path


def check(split: Split) -> None:
    assert split.classes >= 2
    for x, y in ((split.train_x, split.train_y), (split.eval_x, split.eval_y)):
        assert x.dtype == np.float32
        assert x.shape == (len(y), *split.input_shape)
        assert x.size > 0
        assert x.min() >= 0  # and so no NaN
        assert x.max() <= 1
        assert y.dtype == np.int64
        assert y.shape == (len(y),)
        assert y.min() >= 0
        assert y.max() < split.classes


@pytest.mark.parametrize("build", [idx_case, npz_case, csv_case])
def test_a_damaged_file_is_refused_in_one_line_or_read_as_a_whole(
    build: Callable[[Rng, Path], Path], tmp_path: Path
) -> None:
    name, read, messages = build.__name__, 0, []
    for case in range(CASES):
        folder = tmp_path / str(case)
        folder.mkdir()
        source = build(np.random.default_rng(case), folder)
        try:
            check(load(source, evaluate=("test", "validation")[case % 2]))
            read += 1
        except DataError as error:
            messages.append(str(error))
    assert all("\n" not in message and len(message) < 600 for message in messages)
    share = read / CASES
    print(f"{name}: {CASES} cases, {share:.0%} read, {1 - share:.0%} refused")  # noqa: T201
    assert 0.2 <= share <= 0.8
