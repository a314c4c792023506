"""Mutated cards and settings: each is read, or refused with one line; nothing else ever happens."""

from __future__ import annotations

import random
import re
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from hwtrain.analysis.trace import trace
from hwtrain.cards import SynapseCard, card_files, check_expectations, read_card
from hwtrain.config import read_config, to_toml
from hwtrain.errors import CardError, ConfigError, HwtrainError

CASES = 540
SETTINGS = """\
# a valid configuration
data = "digits"
net = "64-32-10"
activation = "relu"
loss = "mse"
rule = "shallow"
update = "stochastic-pulse"
cell = "single"
refresh = "periodic"
refresh_every = 7
conductances = 3
weight_range = 2.5
epochs = 2
batch = 3
summed = true
lr = 1e-2
lr_decay = 0.25
baseline_lr = 0.5
momentum = 0.1
clip = 10.0
seeds = 4
seed = 9
evaluate = "validation"
engine = "torch"
torch_device = "cpu"
checkpoint_every_s = 5

[device]
"fc1" = "pcmo"
"*" = "float32"
"""
VALUES = (
    *(
        "0",
        "1",
        "2",
        "-1",
        "0.5",
        "5",
        "1e-7",
        "1e308",
        "1e-320",
        "-0.0",
        "nan",
        "inf",
        "-inf",
        "1" + "0" * 30,
    ),
    *(
        '""',
        '"x"',
        '"single"',
        '"a\\nb"',
        '"\\u0000/"',
        '"' + "é" * 2000 + '"',
        "true",
        "[]",
        "[1, [2]]",
        "{}",
    ),
    *("{a = 1}", "1979-05-27", "07:32:00", "1979-05-27T07:32:00Z", "0x7fffffffffffffffffff", "[" * 2000),
)


def flip_byte(data: bytes, pick: random.Random) -> bytes:
    changed = bytearray(data)
    changed[pick.randrange(len(data))] = pick.randrange(256)
    return bytes(changed)


def flip_letter(data: bytes, pick: random.Random) -> bytes:
    changed = bytearray(data)
    changed[pick.randrange(len(data))] = pick.choice(b'abcdefxyz_019.-+ "=[]#\n')
    return bytes(changed)


def _lines(data: bytes, pick: random.Random, change: Callable[[str], str]) -> bytes:
    lines = data.decode().splitlines()
    keys = [place for place, line in enumerate(lines) if "=" in line and not line.startswith("#")]
    place = pick.choice(keys)
    lines[place] = change(lines[place])
    return "\n".join([*lines, ""]).encode()


def rename_key(data: bytes, pick: random.Random) -> bytes:
    def change(line: str) -> str:
        at = pick.randrange(line.index("="))
        return line[:at] + pick.choice("abgx_") + line[at + 1 :]

    return _lines(data, pick, change)


def swap_value(data: bytes, pick: random.Random) -> bytes:
    return _lines(data, pick, lambda line: f"{line.partition('=')[0]}= {pick.choice(VALUES)}")


def scale_value(data: bytes, pick: random.Random) -> bytes:
    def change(line: str) -> str:
        key, _, value = line.partition("=")
        number = re.fullmatch(r"\s*[-+]?[\d.]+(e[-+]?\d+)?\s*", value)
        if number is None:
            return line
        scaled = float(value) * pick.choice((0.5, 0.9, 1.1, 2, 10))
        whole = value.strip().lstrip("-").isdigit()
        return f"{key}= {max(1, round(scaled)) if whole and key.strip() != 'schema' else scaled!r}"

    return _lines(data, pick, change)


def drop_line(data: bytes, pick: random.Random) -> bytes:
    lines = data.decode().splitlines(keepends=True)
    del lines[pick.randrange(len(lines))]
    return "".join(lines).encode()


def drop_table(data: bytes, pick: random.Random) -> bytes:
    parts = re.split(r"(?m)^(?=\[)", data.decode())
    if len(parts) > 1:
        del parts[pick.randrange(1, len(parts))]
    return "".join(parts).encode()


def move_line(data: bytes, pick: random.Random) -> bytes:
    lines = data.decode().splitlines(keepends=True)
    line = lines.pop(pick.randrange(len(lines)))
    lines.insert(pick.randrange(len(lines) + 1), line)
    return "".join(lines).encode()


def cut(data: bytes, pick: random.Random) -> bytes:
    return data[: pick.randrange(len(data))]


MUTATIONS = (
    *(flip_byte, flip_letter, rename_key, swap_value, scale_value),
    *(drop_line, drop_table, move_line, cut),
)


def shares(found: Counter[tuple[str, str]], of: str) -> float:
    """Prints what became of the cases by mutation; the share of valid ones."""
    for name in sorted({name for name, _ in found}):
        kinds = {kind: n for (its, kind), n in sorted(found.items()) if its == name}
        sys.stdout.write(f"{of}: {name}: {kinds}\n")
    valid = sum(n for (_, kind), n in found.items() if kind == "valid")
    sys.stdout.write(f"{of}: valid {valid} of {found.total()}\n")
    return valid / found.total()


def assert_line(problem: HwtrainError, file: Path) -> None:
    message = str(problem)
    assert str(file) in message
    assert len(message.splitlines()) == 1


def test_a_mutated_card_is_read_or_refused(tmp_path: Path) -> None:
    pick = random.Random("cards")
    originals = {name: file.read_bytes() for name, file in card_files().items()}
    file = tmp_path / "card.toml"
    found: Counter[tuple[str, str]] = Counter()
    for number in range(CASES):
        mutation = MUTATIONS[number % len(MUTATIONS)]
        data = originals[pick.choice(sorted(originals))]
        for _ in range(pick.choice((1, 1, 1, 2))):
            data = mutation(data, pick)
        file.write_bytes(data)
        try:
            card = read_card(file)
        except CardError as problem:
            assert_line(problem, file)
            found[mutation.__name__, "refused"] += 1
            continue
        found[mutation.__name__, "valid"] += 1
        try:
            check_expectations(str(file), card)
        except CardError as problem:
            assert_line(problem, file)
        if isinstance(card, SynapseCard) and card.response:  # what is read must also work
            points = trace(card, up=2, down=2, seed=number)
            assert all(-1.5 <= point.weight <= 1.5 for point in points), data.decode()
    assert shares(found, "cards") >= 0.2


def test_mutated_settings_are_read_or_refused(tmp_path: Path) -> None:
    pick = random.Random("settings")
    file, again = tmp_path / "settings.toml", tmp_path / "again.toml"
    found: Counter[tuple[str, str]] = Counter()
    for number in range(CASES):
        mutation = MUTATIONS[number % len(MUTATIONS)]
        data = SETTINGS.encode()
        for _ in range(pick.choice((1, 1, 1, 2))):
            data = mutation(data, pick)
        file.write_bytes(data)
        try:
            config = read_config(file)
        except ConfigError as problem:
            assert_line(problem, file)
            found[mutation.__name__, "refused"] += 1
            continue
        found[mutation.__name__, "valid"] += 1
        again.write_text(to_toml(config), encoding="utf-8")
        assert read_config(again) == config
    assert shares(found, "settings") >= 0.2
