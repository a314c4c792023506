"""The RTL in four states under Icarus: nothing that was never set comes out."""

import subprocess
from pathlib import Path

import pytest

from hwtrain.export.cosim import RtlSettings, vectors
from hwtrain.export.rtl import cycles, module_text
from hwtrain.shipped import shipped
from tests.hardware.rtl_nets import RTL, made, samples

BENCH = shipped("fpga") / "bench" / "hwt_net_tb.sv"


def four_state(
    card: str, sizes: str, loss: str, steps: int, folder: Path, mode: str | None = None, **wrong: str
) -> tuple[int, list[int], int]:
    """Exit code; steps, compared, mismatches, unknown, cycles; and what the model of the cycles says.

    ``wrong`` are blocks by name, as texts that stand in for those of the tree.
    """
    lr = 0.5 if card == "fixed8" else 2**-7
    program, net = made(card, sizes, 4, lr, loss, mode=mode)
    words, _ = vectors(program, net, samples(program, steps), RtlSettings(lanes=4, lr=lr))
    (folder / "vectors.hex").write_text("".join(f"{word:08x}\n" for word in words.tolist()))
    (folder / "hwt_net.sv").write_text(module_text(net))
    for source in RTL.glob("*.sv"):
        (folder / source.name).write_text(wrong.get(source.stem, source.read_text()))
    sources = [BENCH, *sorted(folder.glob("*.sv"))]
    command = ["iverilog", "-g2012", "-Wall", "-s", "hwt_net_tb", "-o", "tb.vvp", *map(str, sources)]
    built = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=60)
    assert (built.returncode, built.stdout + built.stderr) == (0, "")
    command = ["vvp", "-n", "tb.vvp", "+vectors=vectors.hex", "+stall=30"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300)
    return done.returncode, [int(number) for number in done.stdout.splitlines()[0].split()], cycles(net)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("card", "loss", "steps"), [("fixed8", "squared-error", 60), ("shift4", "softmax2", 20)]
)
def test_in_four_states_nothing_unknown_comes_out(card: str, loss: str, steps: int, tmp_path: Path) -> None:
    code, found, model = four_state(card, "8-6-4", loss, steps, tmp_path)
    assert code == 0
    compared = 2 + 2 * steps * 5 + 4 + 8 * 6 + 6 + 6 * 4 + 4
    assert found[:4] == [steps, compared, 0, 0]
    assert abs(found[4] - (steps - 1) * model) < 50  # stalls move the first result and the last


@pytest.mark.slow
@pytest.mark.parametrize(
    ("card", "loss", "steps", "mode"),
    [
        ("fixed8", "squared-error", 60, "lookahead"),
        ("fixed8", "squared-error", 60, "speculative"),
        ("fixed16", "softmax2", 10, "lookahead"),  # with noise, and the next
        ("shift4", "softmax2", 10, "speculative"),
    ],
)
def test_in_four_states_nothing_unknown_comes_out_of_the_other_modes(
    card: str, loss: str, steps: int, mode: str, tmp_path: Path
) -> None:
    code, found, _ = four_state(card, "8-6-4", loss, steps, tmp_path, mode)
    assert (code, found[:4]) == (0, [steps, 2 + 2 * steps * 5 + 4 + 8 * 6 + 6 + 6 * 4 + 4, 0, 0])


@pytest.mark.slow
def test_the_bench_sees_what_is_unknown(tmp_path: Path) -> None:
    engine = (RTL / "hwt_engine.sv").read_text()
    right, wrong = "pad_q <= valid[2]", "pad_q <= 1'b0 && valid[2]"
    assert right in engine
    # Lanes beyond the matrix were never loaded: they may give nothing to the tree.
    code, found, _ = four_state(
        "fixed8", "6-5-3", "squared-error", 3, tmp_path, hwt_engine=engine.replace(right, wrong)
    )
    assert code != 0
    assert found[3] > 0
