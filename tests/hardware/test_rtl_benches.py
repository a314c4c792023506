"""The benches of an exported folder, run as its user would: in cocotb with AXI models, and plain."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hwtrain.export import registers
from hwtrain.export.cosim import RtlSettings
from hwtrain.export.printers.rtl import _README, benches, describe
from hwtrain.export.rtl import RtlNet, module_text
from hwtrain.shipped import shipped
from tests.hardware.rtl_nets import RTL, made, samples


@pytest.fixture(params=["sequential", "lookahead"])
def net(request: pytest.FixtureRequest, tmp_path: Path) -> RtlNet:
    """The net whose folder lies in tmp_path."""
    mode = None if request.param == "sequential" else request.param
    program, made_net = made("fixed8", "6-5-3", 2, 0.5, "squared-error", mode=mode)
    shutil.copytree(RTL, tmp_path / "rtl")
    (tmp_path / "hwt_net.sv").write_text(module_text(made_net))
    describe(tmp_path, made_net)
    benches(tmp_path, program, made_net, samples(program, 20), RtlSettings(lanes=2, lr=0.5))
    return made_net


@pytest.fixture
def folder(net: RtlNet, tmp_path: Path) -> Path:
    return tmp_path


def off_by_one(folder: Path, word: int) -> None:
    """The golden vectors with one word changed."""
    file = folder / "bench" / "vectors.hex"
    lines = file.read_text().splitlines()
    lines[word] = f"{(int(lines[word], 16) + 1) & 0xFFFFFFFF:08x}"
    file.write_text("\n".join(lines) + "\n")


def cocotb(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "bench/test_hwt_net.py"]
    env = {**os.environ, "SIM": "icarus"}
    return subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=120
    )


@pytest.mark.parametrize("bench", ["hwt_net_tb.sv", "test_hwt_net.py"])
def test_the_benches_use_the_addresses_of_the_map(bench: str) -> None:
    text = (shipped("fpga") / "bench" / bench).read_text()
    if bench.endswith(".sv"):
        found = re.findall(r"(\w+) = 8'h(\w\w)[,;]", text)
    else:
        lines = re.findall(r"^([A-Z, ]+) = ([0x\dA-F, ]+)$", text, re.MULTILINE)
        found = [
            pair
            for names, values in lines
            for pair in zip(names.split(", "), values.split(", "), strict=True)
        ]
    named = {name.lower(): int(value, 16) for name, value in found if name != "ALL"}
    assert len(named) == 10
    assert named.items() <= registers.ADDRESS.items()


@pytest.mark.slow
def test_cocotb_with_axi_models_finds_every_value_equal(folder: Path) -> None:
    done = cocotb(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "TESTS=2 PASS=2 FAIL=0 SKIP=0" in done.stdout
    off_by_one(folder, -1)  # the last loss
    done = cocotb(folder)
    assert done.returncode == 1
    assert "TESTS=2 PASS=0 FAIL=2 SKIP=0" in done.stdout


@pytest.mark.slow
def test_the_plain_bench_runs_by_the_command_of_the_readme(net: RtlNet, folder: Path) -> None:
    told = [line.strip() for line in _README.splitlines()]
    command = " && ".join(line for line in told if line.startswith(("iverilog", "vvp")))

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, shell=True, cwd=folder, capture_output=True, text=True, check=False, timeout=120
        )

    weights = sum((layer.in_ + 1) * layer.out for layer in net.layers)
    compared = 2 + 20 * 2 * (net.classes + 1) + 4 + weights
    done = run()
    assert (done.returncode, done.stdout.split()[:4]) == (0, ["20", str(compared), "0", "0"])
    off_by_one(folder, -1)
    done = run()
    assert done.returncode != 0
    assert done.stdout.split()[:4] == ["20", str(compared), "1", "0"]
