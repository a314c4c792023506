"""The exported C through clang, CIRCT and Verilator: every array after every step is as in the C.

benchmarks/c_to_rtl.py does the same for a larger net, and for other modes and cards.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import hwtrain.export.c_to_rtl as module
from hwtrain.cli import main
from hwtrain.errors import NativeError, ProgramError, RunError
from hwtrain.export.c_to_rtl import Circuit, Deadlock, Matched, circuit, matched
from hwtrain.sim import circt
from hwtrain.sim.dataflow import Array, to_cf
from hwtrain.sim.llvm import read_function
from tests.hardware.test_hls import export, run


def directed(folder: Path, to: Path) -> None:
    """The same folder with vectors that saturate: weights and samples at the ends of their codes."""
    shutil.copytree(folder, to)
    rng = np.random.default_rng(5)
    for file in (to / "vectors").glob("*.hex"):
        name = file.stem
        if name == "x" or re.fullmatch(r"first_fc\d+_(weight|bias)", name):
            lines = file.read_text().split()
            ends = rng.choice([0x7FFF, 0x8000, 0x7FF0, 0x8010, 0, 3], len(lines))
            file.write_text("".join(f"{int(end):04x}\n" for end in ends))


COUNTED = """#include <stdio.h>
static const char *hwt_who;
static void hwt_clamped(int above) { fprintf(stderr, "%s %d\\n", hwt_who, above); }
"""


def clamps(folder: Path) -> dict[str, tuple[int, int]]:
    """How often each kernel's values were cut off above and below, as the C runs over the vectors."""
    copy = folder.with_name(folder.name + "-counted")
    shutil.copytree(folder, copy)
    header = copy / "include" / "hwt_fixed.h"
    helpers, mark, kernels = header.read_text().partition("/* acc (n) -> y (n) */")
    for line, counted in (
        ("    return value > high ?", "if (value > high || value < -high - 1) hwt_clamped(value > high);\n"),
        ("        if (value > most)\n", "if (value > most) hwt_clamped(1);\n"),
        ("        if (value < -most - 1)\n", "if (value < -most - 1) hwt_clamped(0);\n"),
    ):
        assert helpers.count(line) == 1
        helpers = helpers.replace(line, counted + line)
    named = "#define hwt_saturate(...) (hwt_who = __func__, hwt_saturate(__VA_ARGS__))\n"
    named += "#define hwt_requantize(...) (hwt_who = __func__, hwt_requantize(__VA_ARGS__))\n"
    header.write_text(COUNTED + helpers + named + mark + kernels)
    done = run(copy, "make", "test", CFLAGS="-std=c99 -O1 -w")
    found: dict[str, tuple[int, int]] = {}
    for name, above in re.findall(r"^(hwt_\w+) ([01])$", done.stderr, re.M):
        high, low = found.get(name, (0, 0))
        found[name] = (high + (above == "1"), low + (above == "0"))
    return found


def assert_matched(made: Circuit, folder: Path, steps: int) -> None:
    """With and without stalls; a stalled circuit takes longer, and that is all."""
    free, stalled = matched(made, folder, steps), matched(made, folder, steps, module.STALL_PERCENT)
    assert free.steps == stalled.steps == steps
    assert free.compared == stalled.compared > steps
    assert stalled.cycles > 1.2 * free.cycles


@pytest.mark.slow
def test_small_net_learns_in_a_circuit_and_reaches_every_clamp(tmp_path: Path) -> None:
    """With squared error, whose errors saturate, too; softmax2's cannot."""
    folder = tmp_path / "small"
    export(folder, "sequential", "fixed16", steps=60, loss="squared-error")
    made = circuit(folder, optimize="-O0")
    assert_matched(made, folder, 60)
    directed(folder, tmp_path / "directed")
    seen = clamps(tmp_path / "directed")
    for kernel in ("hwt_fixed_requantize", "hwt_fixed_propose_outer", "hwt_squared_error_forward"):
        assert min(seen[kernel]) > 0, kernel
    assert_matched(made, tmp_path / "directed", 60)


@pytest.mark.slow
def test_difference_and_deadlock_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "small"
    export(folder, "sequential", "fixed16", steps=3)
    sound = circuit(folder, "predict", "-O0")
    assert matched(sound, folder, 3).steps == 3
    with monkeypatch.context() as patch:  # the circuit is of other C than it is held to
        other = tmp_path / "include"
        shutil.copytree(folder / "include", other)
        vector = other / "hwt_vector.h"
        vector.write_text(vector.read_text().replace("x[i] > 0 ? x[i]", "x[i] > 0 ? 1"))
        compile_c = module.compile_c
        patch.setattr(module, "compile_c", lambda source, *include: compile_c(source, include[0], other))
        with pytest.raises(ProgramError, match=r"is not the C: differs z 0 \d"):
            matched(circuit(folder, "predict", "-O0"), folder, 3)
    with monkeypatch.context() as patch:  # an end that is never told
        lower = module.systemverilog
        patch.setattr(module, "systemverilog", lambda text: lower(text).replace("(done_valid)", "()"))
        with pytest.raises(Deadlock, match="stands still: deadlock at 0"):
            matched(circuit(folder, "predict", "-O0"), folder, 3)


HEAD = "define void @f(ptr noundef %a, ptr noundef %b, i32 noundef %n) #0 {\nentry:\n"


def lowered(body: str) -> str:
    return to_cf(read_function(HEAD + body + "}\n", "f"), "f", [Array("a", 8, 16), Array("b", 8, 16)])


LOOP = """  br label %loop
loop:
  %i = phi i32 [ 0, %entry ], [ %next, %loop ]
  %next = add nsw i32 %i, 1
  %more = icmp slt i32 %next, %n
  br i1 %more, label %loop, label %end
end:
  ret void
"""


def test_block_that_follows_itself_gets_one_on_its_way_back() -> None:
    text = lowered(LOOP)
    back = re.search(r"cf\.cond_br %v_more, (\^\w+)", text)
    assert back is not None
    assert back[1] != "^v_loop"
    assert re.search(rf"^{re.escape(back[1])}\(.*\n  cf\.br \^v_loop\(", text, re.M)


def test_three_ways_into_a_block_come_two_at_a_time() -> None:
    text = lowered(
        """  switch i32 %n, label %end [
    i32 1, label %one
    i32 2, label %two
  ]
one:
  br label %end
two:
  br label %end
end:
  %w = phi i16 [ 5, %entry ], [ 6, %one ], [ 7, %two ]
  store i16 %w, ptr %a, align 2
  ret void
"""
    )
    ways = re.findall(r"\^\w+(?=[,( \n])", re.sub(r"^\^.*:$", "", text, flags=re.M))
    assert max(map(ways.count, ways)) == 2
    assert sorted(re.findall(r"arith\.constant ([567]) : i16", text)) == ["5", "6", "7"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("  %q = sdiv i32 %n, 3\n  ret void\n", "no hardware is known for `%q = sdiv i32 %n, 3`"),
        ("  %r = call i32 @other(i32 %n)\n  ret void\n", None),
        (
            "  %p = select i1 true, ptr %a, ptr %b\n  store i16 1, ptr %p, align 2\n  ret void\n",
            "%p: points into one array or another",
        ),
        ("  store i32 1, ptr %a, align 4\n  ret void\n", "a: its values of 16 bits are read as i32"),
        ("  %s = alloca [4 x i16]\n  ret void\n", "no hardware is known for `%s = alloca"),
        ("  %c = call i32 @llvm.ctlz.i32(i32 %n, i1 false)\n  ret void\n", "a call of llvm.ctlz.i32"),
    ],
)
def test_what_no_circuit_is_known_for_is_refused_by_its_line(body: str, said: str | None) -> None:
    if said is None:  # a function: its own text is lowered beside
        assert "func.call @other(%v_n) : (i32) -> i32" in lowered(body)
        return
    with pytest.raises(ProgramError, match=re.escape(said)):
        lowered(body)


def test_cosim_takes_a_folder_of_c_and_answers_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "hwt_net.c").write_text("void other(void) {}\n")
    (tmp_path / "include").mkdir()
    for arguments, said in ((["--steps", "0"], "steps = 0: at least 1"), ([], "export it again")):
        assert main(["cosim", str(tmp_path), *arguments]) == 2
        assert said in capsys.readouterr().err
    monkeypatch.setattr(module, "circuit", lambda _: Circuit("step", Path("sim"), 12345))
    monkeypatch.setattr(module, "matched", lambda *_: Matched(20, 4000, 500))
    assert main(["cosim", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "20 steps, twice: 1,000 values of circuit and C compared, 0 differ" in text
    assert "12,345 lines of SystemVerilog by CIRCT" in text
    assert main(["cosim", str(tmp_path), "--json"]) == 0
    assert '"cycles": 4000' in capsys.readouterr().out


def test_missing_tools_and_a_compiler_that_crashes_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RunError, match="name a folder that hwtrain export --to hls made"):
        circuit(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(circt, "find_spec", lambda _: None)
        with pytest.raises(NativeError, match="pip install pycde"):
            circt.systemverilog("")
    for code, said in (
        ("import os; os.abort()", "CIRCT crashed with signal 6"),
        ("raise SystemExit('no such thing')", "CIRCT does not lower it: no such thing"),
        ("import time; time.sleep(60)", "CIRCT is not done after 0.5 s"),
        (
            "import sys; open(sys.argv[2], 'w').write('module arith_divsi_in(')",
            "the circuit divides, and CIRCT takes signed for unsigned",
        ),
    ):
        child = tmp_path / "circt_child.py"
        child.write_text(code + "\n")
        with monkeypatch.context() as patch:
            patch.setattr(circt, "LIMIT_S", 0.5 if "sleep" in code else 30)
            patch.setattr(circt, "__file__", str(tmp_path / "circt.py"))
            with pytest.raises(NativeError, match=re.escape(said)):
                circt.systemverilog("")
