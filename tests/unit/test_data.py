"""Data sets: facts of the known ones, what the readers take, and what each bad input is told."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import pickle
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Subset, TensorDataset

from hwtrain.data import Split, known, load
from hwtrain.errors import ConfigError, DataError

X = np.arange(30 * 3 * 4, dtype=np.uint8).reshape(30, 3, 4)
Y = np.arange(30) % 3


def idx(array: np.ndarray, magic: int | None = None, shape: tuple[int, ...] | None = None) -> bytes:
    head = (magic or 0x800 + array.ndim, *(shape or array.shape))
    return struct.pack(f">{len(head)}I", *head) + array.astype(np.uint8).tobytes()


def folder(path: Path, ending: str = "-ubyte", **changed: bytes | None) -> Path:
    """The four files of X and Y; ``changed`` replaces one (``train_images=...``) or drops it."""
    for part in ("train", "t10k"):
        for kind, array in (("images-idx3", X), ("labels-idx1", Y)):
            content = changed.get(f"{part}_{kind[:6]}", idx(array))
            if content is not None:
                (path / f"{part}-{kind}{ending}").write_bytes(content)
    return path


def npz(path: Path, **arrays: Any) -> Path:
    np.savez(path / "data.npz", **arrays)
    return path / "data.npz"


def zipped(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path / "data.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return path / "data.npz"


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def text(path: Path, content: str | bytes) -> Path:
    file = path / "data.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def check(split: Split, classes: int, shape: tuple[int, ...], train: int, evaluated: int) -> None:
    assert (split.classes, split.input_shape) == (classes, shape)
    assert split.train_x.shape == (train, *shape)
    assert split.eval_x.shape == (evaluated, *shape)
    assert split.train_y.shape == (train,)
    assert split.eval_y.shape == (evaluated,)
    for x in (split.train_x, split.eval_x):
        assert x.dtype == np.float32
        assert x.min() >= 0
        assert x.max() <= 1
    assert split.train_y.dtype == split.eval_y.dtype == np.int64


# The known data sets


def test_the_packed_digits_are_the_source_file_cell_by_cell() -> None:
    with np.load(known.DIGITS, allow_pickle=False) as packed:
        table = np.c_[packed["x"].reshape(-1, 64), packed["y"]]
    source = "".join(",".join(map(str, row)) + "\n" for row in table.tolist())
    digest = "6ebb3d2fee246a4e99363262ddf8a00a3c41bee6014c373ed9d9216ba7f651b8"
    assert hashlib.sha256(source.encode()).hexdigest() == digest
    assert np.bincount(table[:, 64]).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert known.DIGITS.stat().st_size < 100_000
    assert "CC BY 4.0" in known.DIGITS.with_name("digits.LICENSE.md").read_text("utf-8")


def test_digits_are_1437_to_train_on_and_360_to_test_on_in_sixteenths() -> None:
    split = load("digits")
    check(split, 10, (1, 8, 8), 1437, 360)
    assert (split.name, split.eval_name) == ("digits", "test")
    x = np.concatenate([split.train_x, split.eval_x])
    assert np.unique(x * 16).tolist() == list(range(17))
    counts = np.bincount(np.concatenate([split.train_y, split.eval_y]))
    assert counts.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert np.bincount(split.eval_y).min() >= 20  # every class is tested


FIRST_TRAIN = [2, 9, 6, 2, 6, 3, 8, 8, 6, 2, 2, 4]
FIRST_VALIDATION = [8, 9, 3, 6, 3, 4, 8, 4, 3, 0, 3, 7]
FIRST_TEST = [3, 7, 4, 0, 9, 2, 8, 0, 6, 3, 9, 2]


def test_the_order_of_digits_never_changes() -> None:
    split = load("digits", evaluate="validation")
    check(split, 10, (1, 8, 8), 1198, 239)
    assert split.train_y[:12].tolist() == FIRST_TRAIN
    assert split.eval_y[:12].tolist() == FIRST_VALIDATION
    assert load("digits").eval_y[:12].tolist() == FIRST_TEST


@pytest.mark.skipif(not known.FASHION_MNIST.is_dir(), reason="dataset-fashion-mnist is absent")
def test_fashion_mnist_is_60000_and_10000_evenly_labelled_images() -> None:
    split = load("fashion-mnist")
    check(split, 10, (1, 28, 28), 60_000, 10_000)
    assert np.bincount(split.train_y).tolist() == [6000] * 10
    assert np.bincount(split.eval_y).tolist() == [1000] * 10
    assert split.train_x.mean(dtype=np.float64) == pytest.approx(0.2860, abs=5e-5)


def test_fashion_mnist_that_is_not_installed_names_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known, "FASHION_MNIST", tmp_path / "none")
    with pytest.raises(DataError, match=r"dataset-fashion-mnist.*--data PATH"):
        load("fashion-mnist")


def test_mnist_comes_through_the_npz_reader(shared: Path) -> None:
    split = load(shared / "data" / "mnist_10k.npz")
    check(split, 10, (1, 28, 28), 10_000, 10_000)
    official = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert np.bincount(split.eval_y).tolist() == official


def test_importing_the_readers_imports_no_torch() -> None:
    code = "import sys, hwtrain.data; sys.exit('torch' in sys.modules)"
    root = Path(__file__).resolve().parents[2]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)


# Parts and scales


@pytest.mark.parametrize("given_test", [False, True])
def test_validation_samples_overlap_neither_training_nor_test(given_test: bool) -> None:
    x, y = np.arange(600.0)[:, None] / 600, np.arange(600) % 3
    source = (x[:500], y[:500], x[500:], y[500:]) if given_test else (x, y)
    whole, held = load(source), load(source, evaluate="validation")
    train, validation = set(held.train_x.flat), set(held.eval_x.flat)
    assert len(validation) == len(whole.train_y) // 6
    assert not train & validation
    assert train | validation == set(whole.train_x.flat)
    assert not (train | validation) & set(whole.eval_x.flat)
    assert held.eval_name == "validation"
    assert all((np.rint(held.eval_x[:, 0] * 600) % 3) == held.eval_y)  # labels went along


def test_data_in_the_unit_interval_stay_as_they_are() -> None:
    x = np.linspace(0.2, 0.7, 30, dtype=np.float32).reshape(10, 3)
    split = load((x, Y[:10], x, Y[:10]))
    np.testing.assert_array_equal(split.train_x, x)
    assert not np.shares_memory(split.train_x, x)


def test_integer_images_are_divided_by_255() -> None:
    for dtype in (np.uint8, np.int64):
        split = load((X.astype(dtype), Y, X.astype(dtype), Y))
        np.testing.assert_array_equal(split.eval_x[:, 0], X / np.float32(255))


def test_columns_are_scaled_by_the_training_part_alone_and_the_rest_is_clipped() -> None:
    x = np.array([[-1.0, 1e9, 7.0], [3.0, 1e9 + 4, 7.0], [0.0, 1e9 + 1, 7.0]])
    test = np.array([[5.0, 1e9 + 2, 8.0], [-9.0, 0.0, 6.0]])
    split = load((x, np.array([0, 1, 1]), test, np.array([0, 1])))
    assert split.train_x.tolist() == [[0, 0, 0], [1, 1, 0], [0.25, 0.25, 0]]
    assert split.eval_x.tolist() == [[1, 0.5, 1], [0, 0, 0]]


def test_images_of_real_numbers_are_scaled_as_a_whole() -> None:
    x = np.array([[[-1.0, 1.0]], [[0.0, 3.0]]])
    split = load((x, np.array([0, 1]), x, np.array([0, 1])))
    assert split.train_x.tolist() == [[[[0, 0.5]]], [[[0.25, 1]]]]


def test_classes_count_labels_that_only_the_test_part_has() -> None:
    x = np.zeros((2, 1))
    assert load((x, np.array([0, 1]), x, np.array([0, 6]))).classes == 7


# The readers


@pytest.mark.parametrize("ending", ["-ubyte", "-ubyte.gz"])
@pytest.mark.parametrize("joint", ["-", "."])
def test_a_folder_of_idx_files_is_read(tmp_path: Path, ending: str, joint: str) -> None:
    for file in folder(tmp_path).iterdir():
        content = gzip.compress(file.read_bytes()) if ending.endswith("gz") else file.read_bytes()
        name = file.name.replace("-idx", f"{joint}idx").replace("-ubyte", ending)
        file.unlink()
        (tmp_path / name).write_bytes(content)
    split = load(str(tmp_path))
    check(split, 3, (1, 3, 4), 30, 30)
    np.testing.assert_array_equal(split.train_x[:, 0], X / np.float32(255))
    np.testing.assert_array_equal(split.train_y, Y)


@pytest.mark.parametrize(
    "keys", ["train_images train_labels test_images test_labels", "x_train y_train x_test y_test"]
)
def test_an_npz_is_read_with_its_own_test_part(tmp_path: Path, keys: str) -> None:
    arrays = (X, Y, np.asfortranarray(X[:9]), Y[:9].astype(">f4"))
    split = load(npz(tmp_path, **dict(zip(keys.split(), arrays, strict=True))))
    check(split, 3, (1, 3, 4), 30, 9)
    np.testing.assert_array_equal(split.eval_x[:, 0], X[:9] / np.float32(255))
    np.testing.assert_array_equal(split.eval_y, Y[:9])


def test_an_npz_without_a_test_part_is_split_80_to_20(tmp_path: Path) -> None:
    check(load(npz(tmp_path, x=X, y=Y)), 3, (1, 3, 4), 24, 6)


@pytest.mark.parametrize("header", ["", "a,b,c\n", "Label,0,1\n", '\n"with, comma",0,LABEL\r\n'], ids=repr)
def test_a_csv_takes_the_label_column_or_the_last(tmp_path: Path, header: str) -> None:
    rows = [(i / 50, i / 100, i % 3) for i in range(50)]
    if header.startswith("Label"):
        rows = [(label, a, b) for a, b, label in rows]
    body = "".join(f"{a},{b},{c}\n" for a, b, c in rows)
    split = load(text(tmp_path, header + body))
    check(split, 3, (2,), 40, 10)
    np.testing.assert_array_equal(np.rint(split.train_x[:, 0] * 50) % 3, split.train_y)
    np.testing.assert_allclose(split.train_x[:, 1] * 2, split.train_x[:, 0], rtol=1e-6)


def test_torch_datasets_are_read_alone_and_in_pairs() -> None:
    data = TensorDataset(torch.from_numpy(X)[:, None], torch.from_numpy(Y))
    check(load(data), 3, (1, 3, 4), 24, 6)
    split = load((Subset(data, range(20)), Subset(data, range(20, 30))))
    check(split, 3, (1, 3, 4), 20, 10)
    np.testing.assert_array_equal(split.eval_x[:, 0], X[20:] / np.float32(255))
    tensors = load((torch.from_numpy(X), torch.from_numpy(Y)))
    np.testing.assert_array_equal(tensors.train_x, load(data).train_x)


# What a bad input is told: the whole line, with what, where and the repair

F = np.zeros((6, 2))
L = np.array([0, 1, 0, 1, 0, 1])


def with_value(array: np.ndarray, at: Any, value: Any) -> np.ndarray:
    array = array.astype(np.asarray(value).dtype)
    array[at] = value
    return array


def changed(array: np.ndarray, name: str = "train_images", **kwargs: Any) -> Callable[[Path], Path]:
    return lambda path: folder(path, **{name: idx(array, **kwargs)})


def cut(path: Path) -> Path:
    return folder(path, train_images=idx(X)[:-1])


BAD: dict[str, tuple[Callable[[Path], Any], str]] = {
    "missing file": (lambda p: p / "no.npz", r"no\.npz: no such file.*digits, fashion-mnist"),
    "misspelt name": (lambda p: "digit", r"digit: no such file.*did you mean 'digits'\?"),
    "empty folder": (lambda p: p, r"no file train-images-idx3-ubyte or \.gz: put the four"),
    "one file of four": (lambda p: folder(p, t10k_labels=None), "no file t10k-labels-idx1-ubyte"),
    "other kind": (lambda p: Path(__file__), r"unknown kind of file '\.py': give a folder"),
    "folder as csv": (lambda p: (p / "d.csv").mkdir() or p / "d.csv", r"d\.csv: no file train"),
    # IDX
    "short idx": (cut, r"images-idx3-ubyte: dimensions \[30, 3, 4\] need 360 .* only 359 are"),
    "long idx": (
        lambda p: folder(p, t10k_labels=idx(Y) + b"\0"),
        r"t10k-labels.*need 30 bytes after byte 8, but more are there: fetch",
    ),
    "cut header": (lambda p: folder(p, train_images=b"\0\0\x08"), "ends at byte 3, inside its h"),
    "magic": (changed(X, magic=0x801), "magic number 0x00000801 at byte 0, not 0x00000803: give"),
    "absurd": (changed(X, shape=(2**32 - 1,) * 3), r"4294967295\] at byte 4 make \d+ bytes, not 1"),
    "no image": (changed(X[:0]), r"dimensions \[0, 3, 4\] at byte 4 make 0 bytes"),
    "count": (changed(Y[:29], "train_labels"), r"labels of shape \(29,\) for 30 samples: give one"),
    "not gzip": (
        lambda p: folder(p, "-ubyte.gz"),
        r"train-images-idx3-ubyte\.gz: damaged gzip data \(Not a gzipped file .*fetch the file",
    ),
    "cut gzip": (
        lambda p: folder(p, "-ubyte.gz", train_images=gzip.compress(idx(X))[:-9]),
        r"damaged gzip data \(Compressed file ended",
    ),
    "shapes differ": (
        changed(X.reshape(30, 4, 3), "t10k_images"),
        r"samples of shape \(1, 4, 3\), but those to train on have \(1, 3, 4\)",
    ),
    # npz
    "no zip": (lambda p: text(p, "x").rename(p / "d.npz"), "not a readable .npz .*not a zip file"),
    "pickle": (
        lambda p: Path(p / "d.npz").write_bytes(pickle.dumps([1])) and p / "d.npz",
        r"not a readable \.npz archive .*write it with numpy\.savez",
    ),
    "objects": (
        lambda p: npz(p, x=np.array([{}, None]), y=L[:2]),
        "key x: holds pickled objects, which are never read: store numbers",
    ),
    "strings": (lambda p: npz(p, x=F, y=np.array(list("ababab"))), "key y: is of type <U1: store"),
    "keys": (lambda p: npz(p, a=F), r"has the keys \['a'\]: name the arrays train_images/train_l"),
    "half a test part": (lambda p: npz(p, x=F, y=L, x_test=F), "key y_test: missing: store x and"),
    "declared shape": (
        lambda p: zipped(p, x=npy(F).replace(b"(6, 2)", b"(9, 2)"), y=npy(L)),
        r"key x: shape \(9, 2\) of float64 does not fit the 96 bytes stored",
    ),
    "no npy": (lambda p: zipped(p, x=b"abc", y=npy(L)), r"key x: damaged \.npy header \(EOF"),
    # csv
    "text cell": (
        lambda p: text(p, "a,label\n1,0\nfoo,1\n"),
        r"data\.csv, line 3, column 1: 'foo' is not a finite number: mend",
    ),
    "mixed first line": (lambda p: text(p, "1,x\n1,0\n"), "line 1, column 2: 'x' is not a finite"),
    "nan": (lambda p: text(p, "1,0\nnan,1\n"), "line 2, column 1: 'nan' is not a finite number"),
    "inf": (lambda p: text(p, "1,0\n1e999,1\n"), "line 2, column 1: '1e999' is not a finite num"),
    "ragged": (lambda p: text(p, "1,0\n1,2,3\n"), "line 2: 3 cells, not 2: give every row as many"),
    "empty": (lambda p: text(p, ""), r"0 rows of 0 column\(s\): give at least one row"),
    "header only": (lambda p: text(p, "a,label\n"), r"0 rows of 2 column\(s\)"),
    "semicolons": (lambda p: text(p, "a;b\nc;d\n"), "line 2, column 1: 'c;d' is not a finite"),
    "one column": (lambda p: text(p, "1\n0\n"), r"2 rows of 1 column\(s\).*separated by commas"),
    "mark": (
        lambda p: text(p, b"\xef\xbb\xbf1,0\n"),
        r"byte 0 starts a byte-order mark \(0xefbb\)",
    ),
    "latin": (lambda p: text(p, b"gr\xfc,label\n1,0\n"), "byte 2 is 0xfc, not UTF-8: save it as"),
    "open quote": (
        lambda p: text(p, '1,0\n"' + "1,0\n" * 50_000),
        r"line \d+: field larger than field limit.*: write plain CSV",
    ),
    # labels and arrays
    "negative": (lambda p: (F, L - 1), "sample 0 has label -1: labels are whole numbers from 0"),
    "fraction": (lambda p: (F, with_value(L, 2, 1.5)), r"sample 2 has label 1\.5: labels are"),
    "nan label": (lambda p: (F, with_value(L, 3, np.nan)), "sample 3 has label nan: labels are"),
    "huge label": (lambda p: (F, L * 2**62), r"sample 1 has label \d+: .*0 to 65535, so number"),
    "one class": (lambda p: (F, L * 0 + 4), "every label is 4: training needs at least two classe"),
    "named classes": (lambda p: (F, np.array(list("ababab"))), "labels are of type <U1: number"),
    "one-hot": (lambda p: (F, F), r"labels of shape \(6, 2\) for 6 samples: give one label per"),
    "nan value": (lambda p: (with_value(F, (4, 1), np.nan), L), "sample 4 of x holds nan, which"),
    "too large": (lambda p: (with_value(F, (5, 0), 1e39), L), r"sample 5 of x holds 1e\+39, which"),
    "complex": (lambda p: (F + 1j, L), "x is of type complex128: give real numbers"),
    "flat": (lambda p: (F[:, 0], L), r"x has shape \(6,\): give at least one sample, as \(n, feat"),
    "no samples": (lambda p: (F[:0], L[:0]), r"x has shape \(0, 2\): give at least one sample"),
    "two types": (lambda p: (X, Y, X / 255, Y), "is of type float64, but what is .* type uint8"),
    "three arrays": (lambda p: (F, L, F), r"a tuple of 3 is no data set: give a name, a path"),
    "array alone": (lambda p: F, r"ndarray is no data set: give a name, a path, a Dataset, a pair"),
    "no pairs": (
        lambda p: [(F[0], 0), 7],
        r"data set, sample 1: not a pair \(.*: give \(x, label\)",
    ),
    "shapes vary": (lambda p: [(F[0], 0), (F, 1)], r"sample 1: x has shape \(6, 2\) and the label"),
    "two labels": (
        lambda p: [(F[0], 0), (F[0], [0, 1])],
        r"sample 1: .* and the label \(2,\), not",
    ),
    "no items": (lambda p: ([], []), "train data set: holds no samples: give at least one"),
    "gradient": (
        lambda p: (torch.zeros(6, 2, requires_grad=True), L),
        r"x: not an array \(Can't call numpy\(\) on Tensor that requires grad",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_input_is_told_what_is_wrong_where_and_what_to_do(case: str, tmp_path: Path) -> None:
    build, pattern = BAD[case]
    with pytest.raises(DataError, match=pattern) as caught:
        load(build(tmp_path))
    assert "\n" not in str(caught.value)


def test_too_few_samples_to_hold_out_a_sixth_are_refused() -> None:
    with pytest.raises(DataError, match=r"5 training samples are too few .* give at least 6"):
        load((F[:5], L[:5], F, L), evaluate="validation")


def test_another_way_to_evaluate_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match="'valid': did you mean 'validation'"):
        load("digits", evaluate="valid")


def claim(path: Path) -> Path:
    """An archive whose directory claims 4 GB for a member of a few bytes."""
    file = zipped(path, x=npy(F), y=npy(L))
    data = bytearray(file.read_bytes())
    at = data.index(b"PK\x01\x02") + 24  # the first member's uncompressed size
    data[at : at + 4] = struct.pack("<I", 0xF0000000)
    file.write_bytes(data)
    return file


@pytest.mark.parametrize(
    "build",
    [
        changed(X, shape=(2**31, 1, 1)),
        lambda p: folder(p, "-ubyte.gz", train_images=gzip.compress(idx(X) + bytes(10**8), 1)),
        lambda p: zipped(p, x=npy(F).replace(b"(6, 2), }     ", b"(6, 200000000)}"), y=npy(L)),
        claim,
    ],
    ids=["idx shape", "gzip bomb", "npy shape", "zip size"],
)
def test_a_declared_size_that_is_not_there_takes_no_memory(
    build: Callable[[Path], Path], tmp_path: Path
) -> None:
    source = build(tmp_path)
    tracemalloc.start()
    try:
        with contextlib.suppress(DataError):  # the message is the business of the test above
            load(source)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()
