"""Spoken digits: an archive of wav files named {digit}_{speaker}_{index}.wav, as log-mel images.

The layout is the Free Spoken Digit Dataset's (Jackson et al., CC BY-SA 4.0): 16-bit mono at 8 kHz, and
indices 0 to 4 of every speaker and digit are the test part.
"""

from __future__ import annotations

import io
import wave
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from hwtrain.data.bounded import read_up_to, reason
from hwtrain.data.logmel import RATE, log_mels
from hwtrain.data.split import Part
from hwtrain.errors import DataError

TESTED = 5
"""Recordings below this index are the test part."""
_LONGEST = 1 << 22
"""Bytes of a recording; four minutes are no word."""

_BAD_ZIP = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, ValueError)


@dataclass(frozen=True)
class Recordings:
    """Words in the order of their names: samples, digit, speaker, index."""

    words: list[NDArray[np.int16]]
    digits: NDArray[np.int64]
    speakers: NDArray[np.str_]
    indices: NDArray[np.int64]


def read(path: Path) -> tuple[Part, Part]:
    """The training and test parts: x (n, 16, 16) from 0 to 1, y (n,).

    Raises DataError for a damaged archive or recording.
    """
    found = recordings(path)
    x = log_mels(found.words)
    test = found.indices < TESTED
    if test.all() or not test.any():
        raise DataError(
            f"{path}: needs recordings of indices below {TESTED}, to test on, and others to train on"
        )
    return (
        Part(x[~test], found.digits[~test], f"{path} (index {TESTED} and above)"),
        Part(x[test], found.digits[test], f"{path} (index below {TESTED})"),
    )


def recordings(path: Path) -> Recordings:
    """Every recording of the archive; raises DataError for one that cannot be read."""
    words, names = [], []
    try:
        with zipfile.ZipFile(path) as archive:
            for info in sorted(archive.infolist(), key=lambda info: info.filename):
                if not info.is_dir() and info.filename.lower().endswith(".wav"):
                    names.append(_name(info.filename, path))
                    with archive.open(info) as stream:
                        words.append(_word(read_up_to(stream, _LONGEST + 1), f"{path}, {info.filename}"))
    except _BAD_ZIP as error:
        raise DataError(f"{path}: not a readable zip archive ({reason(error)}): fetch it again") from error
    if not names:
        raise DataError(f"{path}: holds no wav files: give an archive of DIGIT_SPEAKER_INDEX.wav")
    digits, speakers, indices = zip(*names, strict=True)
    return Recordings(words, np.array(digits), np.array(speakers), np.array(indices))


def _name(file: str, path: Path) -> tuple[int, str, int]:
    parts = PurePosixPath(file).stem.split("_")
    numbers = [part for part in (parts[0], parts[-1]) if part.isascii() and part.isdigit() and len(part) < 9]
    if len(parts) != 3 or len(numbers) != 2 or int(numbers[0]) > 9:
        raise DataError(f"{path}, {file[:80]}: not named DIGIT_SPEAKER_INDEX.wav: rename it or take it out")
    return int(numbers[0]), parts[1], int(numbers[1])


def _word(data: bytearray, where: str) -> NDArray[np.int16]:
    if len(data) > _LONGEST:
        raise DataError(f"{where}: longer than {_LONGEST} bytes: cut it to one word")
    try:
        with wave.open(io.BytesIO(data)) as file:
            kind = file.getframerate(), file.getnchannels(), 8 * file.getsampwidth()
            sound = file.readframes(file.getnframes())
    except (wave.Error, EOFError, RuntimeError) as error:
        raise DataError(f"{where}: not a wav file ({reason(error)}): fetch it again") from error
    if kind != (RATE, 1, 16):
        raise DataError(
            f"{where}: {kind[0]} Hz, {kind[1]} channel(s) of {kind[2]} bits: give {RATE} Hz, one channel, "
            "16 bits"
        )
    return np.frombuffer(sound[: len(sound) // 2 * 2], "<i2").astype(np.int16)
