"""What stands about the C of ``--to hls``: macros, scripts, names, checks, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pycparser import c_parser

from hwtrain.errors import HwtrainError, NativeError, ProgramError, RunError
from hwtrain.export.hls_check import PRAGMAS, _pragmas, _reached, _subset, check_export
from hwtrain.export.printers.hls import Hls
from hwtrain.layers.base import Layer
from hwtrain.layers.dense import Dense
from hwtrain.layers.relu import Relu
from hwtrain.net import Net
from hwtrain.nets.base import mlp
from hwtrain.program.lower import lower
from hwtrain.shipped import shipped
from tests.hardware.test_hls import STRICT, export, run
from tests.programs import bound_on, small_cnn


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("hls") / "net"
    export(made, "sequential", "fixed8", "3-2-2", steps=2)
    return made


def test_each_compiler_is_told_what_it_takes(folder: Path) -> None:
    """All to Vitis, ports alone to Bambu, nothing to others; the C is the same."""
    told = {}
    for define in ("__VITIS_HLS__", "__SYNTHESIS__", "__BAMBU__", "NOBODY"):
        command = ["gcc", "-E", "-P", "-std=c99", f"-D{define}", "-Iinclude", "hwt_net.c"]
        lines = run(folder, *command).stdout.splitlines()
        told[define] = [line.strip() for line in lines if "#pragma" in line]
        plain = "".join("".join(line for line in lines if "#pragma" not in line).split())
        told[define].append(str(hash(plain)))
    assert told["__VITIS_HLS__"] == told["__SYNTHESIS__"]
    assert {text[-1] for text in told.values()} == {told["NOBODY"][-1]}
    assert told["NOBODY"][:-1] == []
    kinds = {name: {line.split()[2].upper() for line in told[name][:-1]} for name in told}
    assert kinds["__BAMBU__"] == {"INTERFACE"}
    assert kinds["__VITIS_HLS__"] == {"INTERFACE", "PIPELINE"}
    assert all(" m_axi " in line or "mode = m_axi" in line for line in told["__BAMBU__"][:-1])
    assert any("s_axilite port = return" in line for line in told["__VITIS_HLS__"])


STUBS = """
foreach name {open_project set_top add_files open_solution set_part create_clock csim_design csynth_design
              cosim_design export_design} {
    proc $name args [format {puts "%s $args"} $name]
}
"""


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, ["set_top hwt_net_step", "add_files hwt_net.c -cflags -Iinclude", "csim_design -argv"]),
        (
            {"SOURCE": "hwt_net_ap.cpp", "TOP": "hwt_ap_step", "STEPS_TO_RUN": "synth cosim export"},
            ["set_top hwt_ap_step", "add_files -tb tb_ap.cpp", "csynth_design", "cosim_design -argv"],
        ),
        ({"PART": "xcu50", "STEPS_TO_RUN": "export"}, ["set_part xcu50", "export_design -format"]),
    ],
)
def test_script_gives_its_commands_to_the_tool(
    settings: dict[str, str], said: list[str], folder: Path, tmp_path: Path
) -> None:
    stubs = tmp_path / "stubs.tcl"
    stubs.write_text(STUBS + f"source {folder / 'build_prj.tcl'}\n")
    done = run(folder, "tclsh", str(stubs), **settings)
    assert done.returncode == 0, done.stderr
    for text in said:
        assert text in done.stdout, done.stdout
    assert ("csim_design" in done.stdout) is not bool(settings)
    for file in re.findall(r"(?:add_files(?: -tb)? )(\S+)", done.stdout):
        assert (folder / file).exists(), file


def test_configuration_names_files_and_tops_that_are_there(folder: Path) -> None:
    text = (folder / "hls_config.cfg").read_text()
    lines = [line.split("=", 1) for line in text.splitlines() if "=" in line]
    assert {value for key, value in lines if key.endswith(".file")} == {"hwt_net.c", "tb_net.c", "vectors"}
    assert all((folder / value).exists() for key, value in lines if key.endswith(".file"))
    ((_, top),) = [line for line in lines if line[0] == "syn.top"]
    assert f"void {top}(" in (folder / "hwt_net.h").read_text()


def test_names_that_users_choose_become_names_of_c(tmp_path: Path) -> None:
    """Words of C, names that differ only in what C cannot write, and the end of a comment."""
    layers: dict[str, Layer] = {"int": Dense(3, 4), "a-b": Relu(), "*/ int": Dense(4, 4), "a b": Relu()}
    layers |= {"2é": Dense(4, 4), "2_": Dense(4, 2)}
    bound = bound_on(Net(layers), "fixed16")
    codes = bound.net.encode(torch.rand(2, 3)).numpy().reshape(2, 1, 3)
    program = lower(bound, (3,), name='x */ #error "named"')
    given = {"x": codes, "labels": np.zeros((2, 1), np.int32)}
    assert Hls(Hls.Options()).write(program, given, 0.125, tmp_path / "hls") > 40
    done = run(tmp_path / "hls", "clang", *STRICT, "-Iinclude", "-c", "hwt_net.c", "-o", "strict.o")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "hls" / "hwt_net.c").read_text()
    assert text.isascii()
    assert {"int_weight[12]", "b____int_weight[16]", "b_2__weight[16]", "b_2__weight_[8]"} <= set(
        re.findall(r"\b\w+_weight_*\[\d+\]", text)
    )


CODE = """
void %s(int a[12], int n)
{
    int own[8];
%s
}
"""


def parsed(body: str, name: str = "hwt_net_step") -> Any:
    return c_parser.CParser().parse(CODE % (name, body)).ext[0]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("HLS ARRAY_PARTITION variable=own cyclic factor=4 dim=1", None),
        ("HLS ARRAY_PARTITION variable=own cyclic factor=3", "3 does not divide 8"),
        ("HLS ARRAY_PARTITION variable=a block factor=5", "5 does not divide 12"),
        ("HLS ARRAY_PARTITION cyclic factor=2", "names no variable"),
        ("HLS ARRAY_PARTITION variable=other complete", "other is no variable of this function"),
        ("HLS DEPENDENCE variable=own inter false", None),
        ("HLS DEPENDENCE variable=own interr false", "DEPENDENCE has no option interr"),
        ("HLS UNROLL factor=2", None),
        ("HLS UNROL", "no pragma is called UNROL"),
        ("HLS INTERFACE port=a bundle=gmem0", "names no mode"),
        ("HLS INTERFACE m_axi bundle=gmem0", "names no port"),
        ("HLS INTERFACE m_axi port=a depth=11", "a has 12 values"),
        ("HLS", "no pragma is called nothing"),
        ("omp parallel for", "no pragma of HLS"),
    ],
)
def test_pragmas_are_held_to_names_and_code(line: str, said: str | None) -> None:
    function = parsed(f"#pragma {line}")
    if said is None:
        assert _pragmas(function) == 1
        return
    with pytest.raises(ProgramError, match=re.escape(said)):
        _pragmas(function)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("    own[0] = n % 3;", "divides (%): use a shift"),
        ("    int **deep = 0; (void)deep;", "has a pointer to a pointer"),
        ("    int run[n]; run[0] = 1;", "has an array run of a size that is known only when it runs"),
        ("    static int kept = 0; kept++;", "keeps kept from call to call"),
        ("again: n--; if (n) goto again;", "has a goto"),
        ("    struct { int x; } pair; pair.x = 1;", "has a struct"),
        ("    union { int x; } pair; pair.x = 1;", "has a union"),
        ("    double d = 0; (void)d;", "computes in floats"),
        ("    hwt_net_step(a, n);", "calls itself by way of itself"),
        ("    own[0] = malloc(4);", "calls malloc, which is not in the export"),
        ("    int (*f)(int) = 0; own[0] = (*f)(1);", "calls a function through a pointer"),
    ],
)
def test_c_that_synthesis_does_not_take_is_refused(body: str, said: str) -> None:
    function = parsed(body)

    def look() -> None:
        assert _reached({"hwt_net_step": function}, ["hwt_net_step"]) == ["hwt_net_step"]
        _subset(function, top=True)

    with pytest.raises(ProgramError, match=re.escape(said)):
        look()


def test_only_tops_own_arrays() -> None:
    _subset(parsed("", "hwt_net_step"), top=True)
    with pytest.raises(ProgramError, match="has an array own of its own"):
        _subset(parsed("", "hwt_step"), top=False)


def test_every_pragma_that_is_printed_is_a_known_one() -> None:
    text = (shipped("fpga") / "include" / "hwt_pragmas.h").read_text()
    printed = {kind.upper() for kind in re.findall(r"HWT_PRAGMA\(HLS (\w+)", text)}
    assert printed <= set(PRAGMAS)
    assert printed == {"PIPELINE", "INTERFACE"}


def given(inputs: tuple[int, ...]) -> dict[str, Any]:
    return {"x": np.zeros((1, 1, *inputs), np.int16), "labels": np.zeros((1, 1), np.int32)}


def nothing_left(base: Path) -> bool:
    return [path.name for path in base.rglob("*")] in ([], ["file"])


@pytest.mark.slow
def test_what_cannot_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer whose kernels divide, no compiler, a compiler that refuses, a place that is no folder."""
    dense = lower(bound_on(mlp("3-2-2", "relu"), "fixed16"), (3,))
    image = lower(bound_on(small_cnn("fixed16"), "fixed16"), (2, 8, 8))
    printer = Hls(Hls.Options())
    (tmp_path / "file").write_text("")
    cases: list[tuple[type[HwtrainError], str, Any, dict[str, str], Path]] = [
        (ProgramError, r"divides \(/\): use a shift", image, {}, tmp_path / "a"),
        (NativeError, "no C compiler nowhere: install one", dense, {"CC": "nowhere"}, tmp_path / "b"),
        (NativeError, "false refuses the export", dense, {"CC": "false"}, tmp_path / "c"),
        (RunError, "cannot write the export", dense, {}, tmp_path / "file" / "d"),
    ]
    for error, said, program, env, out in cases:
        shape = program.buffers["x"].shape[1:]
        with monkeypatch.context() as patch:
            for name, value in env.items():
                patch.setenv(name, value)
            with pytest.raises(error, match=said) as caught:
                printer.write(program, given(shape), 0.125, out)
        assert "\n" not in str(caught.value)
        assert nothing_left(tmp_path), list(tmp_path.rglob("*"))


def test_folder_that_nobody_may_write_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a read-only file system; permissions do not stop everybody."""

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("hwtrain.export.folder.tempfile.TemporaryDirectory", refuse)
    program = lower(bound_on(mlp("3-2-2", "relu"), "fixed16"), (3,))
    with pytest.raises(RunError, match="Read-only file system"):
        Hls(Hls.Options()).write(program, given((3,)), 0.125, tmp_path / "out")
    assert nothing_left(tmp_path)


def test_sum_that_no_bound_keeps_below_64_bits_is_refused(tmp_path: Path) -> None:
    from hwtrain.program.bounds import accumulator
    from hwtrain.program.ir import Program

    program = lower(bound_on(mlp("3-2-2", "relu"), "fixed16"), (3,))
    listing = program.listing
    buffers = {
        name: buffer.model_copy(update={"format": "i64"}) if name == "fc1.weight/weights" else buffer
        for name, buffer in listing.buffers.items()
    }
    wide = Program.__new__(Program)
    wide.listing, wide.contents = listing.model_copy(update={"buffers": buffers}), program.contents
    wide.buffers, wide.entries = buffers, program.entries
    with pytest.raises(ProgramError, match="beyond 64 bits: use fewer bits or a narrower layer"):
        accumulator(wide)


def test_check_wants_a_folder_of_an_export(tmp_path: Path) -> None:
    (tmp_path / "hwt_net.c").write_text("void other(void) {}\n")
    (tmp_path / "include").mkdir()
    with pytest.raises(ProgramError, match="no function is called hwt_net_"):
        check_export(tmp_path)
