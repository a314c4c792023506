"""Spoken digits: log-mel features in Python and C, an oracle that shares nothing with them, bad archives."""

from __future__ import annotations

import ctypes
import io
import subprocess
import wave
import zipfile
from pathlib import Path

import numpy as np
import pytest

from hwtrain.data import known, load, spoken
from hwtrain.data.logmel import SPAN, log_mels
from hwtrain.errors import DataError
from hwtrain.native import build, compiler
from hwtrain.shipped import shipped

INCLUDE = shipped("devices") / "mcu" / "src", shipped("fpga") / "include"
SOURCE = """
#include "hwt_logmel.h"
void features(int32_t n, const int16_t *word, float *into)
{
    float room[HWT_LOGMEL_ROOM];
    hwt_logmel(n, word, into, room);
}
"""


def in_c(words: list[np.ndarray]) -> np.ndarray:
    features = build(SOURCE, INCLUDE).features
    made = np.full((len(words), 16, 16), np.nan, np.float32)
    for word, into in zip(words, made, strict=True):
        held = np.ascontiguousarray(word)  # of just its size: reading past it is another word's business
        features(len(held), ctypes.c_void_p(held.ctypes.data), ctypes.c_void_p(into.ctypes.data))
    return made


def by_numpy(word: np.ndarray) -> np.ndarray:
    """The same in float64 by NumPy's own transform; triangles as functions of frequency."""
    start = (len(word) - 5056) // 2
    cut = np.array([word[k] if 0 <= k < len(word) else 0 for k in range(start, start + 5056)]) / 32768
    frames = np.stack([cut[320 * k : 320 * k + 256] for k in range(16)])
    power = np.abs(np.fft.rfft(frames * np.hanning(257)[:256])) ** 2
    mel = np.linspace(2595 * np.log10(1 + 62.5 / 700), 2595 * np.log10(1 + 4000 / 700), 18)
    places = np.round(700 * (10 ** (mel / 2595) - 1) / 31.25)
    bands = [np.interp(np.arange(129), places[i : i + 3], [0, 1, 0]) for i in range(16)]
    logs = np.log(power @ np.array(bands).T + 1e-9)
    shares: np.ndarray = np.maximum(1 - (logs.max() - logs) / 12, 0)
    return shares


def invented(n: int = 24) -> list[np.ndarray]:
    """Noise and tones of many lengths, the shortest and odd ones too; silence; both ends of the range."""
    rng = np.random.default_rng(0)
    lengths = [0, 1, 2, SPAN - 1, SPAN, SPAN + 1, SPAN + 3, *rng.integers(3, 2 * SPAN, n)]
    words = [(rng.normal(size=m) * 10 ** rng.uniform(0, 4)).clip(-32768, 32767) for m in lengths]
    tone = 32767 * np.sin(np.arange(4000) * 0.7)
    return [word.astype(np.int16) for word in (*words, tone, np.full(6000, -32768), np.zeros(5000))]


def archive(path: Path, words: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path / "words.zip", "w") as made:
        for name, content in words.items():
            made.writestr(name, content)
    return path / "words.zip"


def wav(word: np.ndarray, rate: int = 8000, channels: int = 1) -> bytes:
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setparams((channels, 2, rate, 0, "NONE", ""))
        file.writeframes(word.astype("<i2").tobytes())
    return stream.getvalue()


def test_python_and_c_make_the_same_bits() -> None:
    words = invented()
    found = log_mels(words)
    assert found.dtype == np.float32
    assert (found.view(np.uint32) == in_c(words).view(np.uint32)).all()
    assert (found >= 0).all()
    assert (found.reshape(len(words), -1).max(axis=1) == 1).all()
    assert (log_mels([words[5]])[0] == found[5]).all()  # alone as among others


def test_real_recordings_python_c_and_an_oracle(shared: Path) -> None:
    words = spoken.recordings(shared / "data" / "spoken_digits.zip").words[::40]
    found = log_mels(words)
    assert (found.view(np.uint32) == in_c(words).view(np.uint32)).all()
    assert len(np.unique(found)) > 10_000
    assert 0.2 < (found == 0).mean() < 0.6
    for word, features in zip(words, found, strict=True):
        np.testing.assert_allclose(features, by_numpy(word), atol=2e-5)


def test_the_oracle_on_invented_words() -> None:
    for word in invented()[1:-1]:
        if np.abs(word).max(initial=0) > 100:  # what is all floor has no place above the rounding
            np.testing.assert_allclose(log_mels([word])[0], by_numpy(word), atol=2e-3)


def test_the_header_is_freestanding_c99_without_a_warning(tmp_path: Path) -> None:
    (tmp_path / "features.c").write_text(
        SOURCE.replace("void", "void features(int32_t, const int16_t *, float *);\nvoid", 1)
    )
    strict = ["-std=c99", "-pedantic", "-ffreestanding", "-Wall", "-Wextra", "-Wconversion", "-Werror"]
    command = [
        compiler(),
        *strict,
        *(f"-I{folder}" for folder in INCLUDE),
        "-c",
        "features.c",
        "-o",
        "features.o",
    ]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=100)


def test_an_archive_trains_by_path_and_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = {f"{i % 10}_ada_{i // 10}.wav": wav(word) for i, word in enumerate(invented(53))}
    file = archive(tmp_path, words | {"readme.txt": b"none"})
    split = load(file)
    assert (split.input_shape, split.classes, split.name) == ((1, 16, 16), 10, "words.zip")
    assert (len(split.eval_y), len(split.train_y)) == (50, len(words) - 50)
    monkeypatch.setenv(known.SPOKEN_DIGITS, str(file))
    named = load("spoken-digits")
    assert named.name == "spoken-digits"
    assert (named.train_x == split.train_x).all()
    assert len(load("spoken-digits", evaluate="validation").eval_y) == (len(words) - 50) // 6


@pytest.mark.slow
def test_the_whole_archive(shared: Path) -> None:
    split = load(shared / "data" / "spoken_digits.zip")
    assert (len(split.train_y), len(split.eval_y)) == (2700, 300)
    assert (np.bincount(split.train_y) == 270).all()
    found = spoken.recordings(shared / "data" / "spoken_digits.zip")
    assert (np.unique(found.speakers, return_counts=True)[1] == 500).all()
    assert (log_mels(found.words).view(np.uint32) == in_c(found.words).view(np.uint32)).all()


def test_bad_archives_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = wav(np.arange(900))
    (tmp_path / "words.zip").write_bytes(b"no archive")
    with pytest.raises(DataError, match=r"not a readable zip archive"):
        load(tmp_path / "words.zip")
    for members, said in (
        ({"a.txt": b""}, "holds no wav files"),
        ({"seven.wav": good}, r"seven\.wav: not named DIGIT_SPEAKER_INDEX\.wav"),
        ({"12_ada_0.wav": good}, "not named"),
        ({"1_ada_0.wav": good[:30]}, r"1_ada_0\.wav: not a wav file"),
        ({"1_ada_0.wav": b"RIFF" + good}, "not a wav file"),
        ({"1_ada_0.wav": wav(np.arange(9), rate=16000)}, "16000 Hz, 1 channel"),
        ({"1_ada_0.wav": wav(np.arange(8), channels=2)}, r"2 channel\(s\) of 16 bits"),
        ({"1_ada_0.wav": good}, "recordings of indices below 5, to test on, and others"),
        ({"1_ada_0.wav": good + bytes(1 << 22)}, "longer than"),
    ):
        with pytest.raises(DataError, match=said):
            load(archive(tmp_path, members))
    monkeypatch.delenv(known.SPOKEN_DIGITS, raising=False)
    with pytest.raises(DataError, match="spoken-digits: no archive is named: let HWTRAIN_SPOKEN_DIGITS name"):
        load("spoken-digits")
    monkeypatch.setenv(known.SPOKEN_DIGITS, str(tmp_path / "none.zip"))
    with pytest.raises(DataError, match=r"none\.zip: let HWTRAIN_SPOKEN_DIGITS"):
        load("spoken-digits")
