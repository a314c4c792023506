"""Faults planted into the RTL, one at a time: each is clean for Verilator, and cosim sees values that differ.

All faults of a net are in one simulation, which is told at its start which of them it has.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from hwtrain.export.cosim import RtlSettings, vectors
from hwtrain.export.rtl import module_text
from hwtrain.sim import verilator
from tests.hardware.rtl_nets import HARNESS, RTL, made, samples

STEPS = 40
STALLS = (0, 40, 98)  # percent; at 98 a result waits longer than a step takes
NETS = {
    "shift": ("shift4", "5-9-6-3", 4, 0.005, "softmax2"),
    "whole": ("fixed8", "6-5-3", 4, 4.0, "squared-error"),  # no noise; weights go to their limits
}

# Net and block, and a piece of its text with [[what is right => what is wrong]].
COMMIT = r"""
# Of an update to its memory: up the gradient; of the word before; biases over weights, weights over biases.
shift engine value_i([[-(OuterBits'(outer)) => OuterBits'(outer)]])
shift engine master7_q <= [[master6_q => updated ? $signed(master_q[p*MasterBits+:MasterBits]) : master6_q]];
shift engine {Lanes{[[updated && !bias[ToWrite] => updated]]}}
shift engine {Lanes{[[updated && bias[ToWrite] => updated]]}}
# To the word of a cycle later; not to the last word; a bias made of a weight, and changed by half.
shift engine host_word_i : [[word_taps[16*ToWrite+:16] => word_taps[16*(ToWrite-1)+:16]]];
shift engine 4'd0}+:16] + [[block_taps[16*ToWrite+:16] => block_taps[16*(ToWrite-1)+:16]]];
shift engine updated     = [[is_update[ToWrite] => is_update[ToWrite] && !tail[ToWrite]]]
shift engine [[bias[3] || host_reads => host_reads]] ? bias_rdata[p*MasterBits
shift engine SignalBits'(1) << [[OneShift => OneShift - 1]]
# With the noise of weights on biases, of other weights, of other rows, of another step.
shift engine {11'd0, layer_q, [[state_q == UpdateBias => 1'b0]]}
shift engine LanesOut[k] ? [[32'(p) * 32'(InSize[16*k+:16]) => 32'(p)]] :
shift engine row_q <= row_q + ([[along_q && state_q == Update => 1'b0]]
shift engine step_q <= [[step_q + 32'd1 => step_q + 32'd2]]
# A lane with the lanes above; beyond the limits.
shift ram if ([[we_i[p] => |we_i[Lanes-1:p]]]) mem
whole engine new_q     <= is_update[8] ? [[changed => MasterBits'(whole_q) + changed - changed]] :
"""
STALL = r"""
# Results: on without being taken; fetched a beat late; a beat that waits skipped; over scores that wait.
shift results [[give => sending_q && !m_axis_tlast]] ? index_q + 16'd1
shift results .raddr_i([[next => index_q]])
shift results sending_q ? [[index_q => index_q | 16'd1]] :
shift engine (state_q == Loss && ([[pass_q != '0 => pass_q != 2'd1]] || out_ready_i))
# Samples: over the one that is learned; the one that comes is learned; its label; beats before they are
# taken; a label of no class.
shift samples .waddr_i([[word + (write_q ? 16'(Words) : 16'd0) => word]])
shift samples addr_i + ([[read_q => !write_q]] ?
shift samples label_o       = [[read_q => 1'b0]]
shift samples lanes = [[take => s_axis_tvalid]] && !at_label
shift samples [[s_axis_tdata < 32'(Classes) => s_axis_tdata <= 32'(Classes)]]
"""
COMPUTE = r"""
# Read before it is written; shares before their sum is known; a bias on the way back; a gradient at 0.
shift engine Forward: next_wait = [[tree_q ? 6'(TreeWait) : 6'(LaneWait) => 6'd3]];
shift engine pass_q == 2'd1 ? [[6'(ShareWait) => 6'(ShareWait) - 6'd3]] :
shift engine bias_term_q  <= [[j_backward[1] => 1'b0]] ? '0 : bias_term
shift engine [p*SignalBits+:SignalBits]) > [[0 => -1]] : !negative
# Pads add up; scores are rectified; a sum goes on from the last one.
shift engine tail[2] && [[!keep => !keep && p < 1]];
shift engine [[!negative || sum1_layer == LastLayer => !negative]];
shift engine acc_q <= ([[first[5] => first[5] && !tail[5]]] ? '0
# Half to even; no limit; powers of two by floor; ones' complement.
shift cut Rounding == 0 ? [[half => half && (odd || rest)]] :
whole requantize rounded > High ? [[High[OutBits-1:0] => rounded[OutBits-1:0]]]
shift pot_encode next    = [[magnitude_q[i-1] => 1'b0]]
shift shift_lane carry_o   = [[negative && !none => 1'b0]]
shift adder_tree sum_q <= [[node[(2*n+1)*SumBits+:SumBits] => node[(2*n+1)*SumBits+:SumBits] >> 1]] +
shift adder_tree carry_q <= [[carry[2*n+1] => carry[2*n+1] && carry[2*n+2]]]
shift threefry [[32'(Group + 1) => 32'(Group)]]
shift threefry_point rotation = [[5'd15 => 5'd14]]
shift softmax2 exp2_q >> [[whole_q => whole_q + 1'b1]]
shift softmax2 [[hot[6] ? hot_code : code_q => hot[6] ? code_q : hot_code]]
whole squared_error [[first ? square : total_q + square => first ? square : total_q - square]]
whole squared_error ErrorBits'(1) << [[Frac => Frac - 1]]
whole mult_lane [[weight * signal_i => weight * signal_i + ProductBits'(signal_i)]]
whole engine weight = [[kinds[8+:2] == KindUpdate => is_tree[4]]] ?
"""


def listed(text: str) -> list[tuple[str, str, str]]:
    """Net, block, piece."""
    lines = [line.split(" ", 2) for line in text.splitlines() if line and not line.startswith("#")]
    return [(net, block, piece.replace("\\n", "\n")) for net, block, piece in lines]


BUGS = listed(COMMIT + STALL + COMPUTE)


def split(piece: str) -> tuple[str, str, str, str]:
    """What stands before the change, the right text, the wrong one, what stands after."""
    found = re.fullmatch(r"(.*)\[\[(.*) => (.*?)\]\](?!\])(.*)", piece, re.DOTALL)
    assert found is not None
    return found[1], found[2], found[3], found[4]


def test_there_are_as_many_faults_as_are_told_of() -> None:
    assert (len(BUGS), len(listed(COMMIT)), len(listed(STALL))) == (45, 15, 9)
    assert len(set(BUGS)) == len(BUGS)


def changed(text: str, piece: str, bug: int | None = None) -> str:
    """The text with the wrong piece; with a number, with either as the simulation is told."""
    start, right, wrong, end = split(piece)
    whole = start + right + end
    assert text.count(whole) == 1, whole
    return text.replace(
        whole, start + (wrong if bug is None else f"(planted() == {bug} ? ({wrong}) : ({right}))") + end
    )


@dataclass(frozen=True)
class Planted:
    """A simulation with every fault of a net, and its golden vectors."""

    program: Path
    words: np.ndarray
    golden: int

    def run(self, bug: int, stall: int, folder: Path, flipped: int | None = None) -> tuple[int, list[int]]:
        """Exit code and what is printed; ``flipped`` is the byte of the vectors that is not as it was."""
        data = bytearray(self.words.astype("<i4").tobytes())
        if flipped is not None:
            data[flipped] ^= 0x10
        (folder / "vectors.bin").write_bytes(data)
        done = verilator.run(self.program, [str(folder / "vectors.bin"), str(stall), "1", str(bug)], 60)
        assert done.returncode in (0, 1), done.stdout + done.stderr
        return done.returncode, [int(number) for number in done.stdout.split()]


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Planted]:
    found = {}
    for name, (card, sizes, lanes, lr, loss) in NETS.items():
        folder = tmp_path_factory.mktemp(name)
        program, net = made(card, sizes, lanes, lr, loss)
        texts = {source.stem: source.read_text() for source in RTL.glob("*.sv")}
        for number, (where, block, piece) in enumerate(BUGS, 1):
            if where == name:
                texts[f"hwt_{block}"] = changed(texts[f"hwt_{block}"], piece, number)
        texts |= {"hwt_net": module_text(net)}
        for stem, text in texts.items():
            (folder / f"{stem}.sv").write_text(text)
        (folder / "planted.sv").write_text('import "DPI-C" function int planted();\n')
        bench = HARNESS.read_text().replace("argc == 4", "argc == 5 && (bug = std::atoi(argv[4]), true)")
        bench = bench.replace("10000000", "20000").replace("50000000", "20000")  # a hang is soon told
        (folder / "bench.cpp").write_text(
            'static int bug;\nextern "C" int planted() { return bug; }\n' + bench
        )
        sources = [folder / "planted.sv", *(folder / f"{stem}.sv" for stem in sorted(texts))]
        simulation = verilator.build(sources, "hwt_net", folder / "bench.cpp", "-O0", lint=False)
        words, share = vectors(program, net, samples(program, STEPS), RtlSettings(lanes=lanes, lr=lr))
        assert share > 0.5
        found[name] = Planted(simulation, words, STEPS * (net.classes + 1))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("stall", STALLS)
def test_without_a_fault_every_value_is_equal(
    net: str, stall: int, planted: dict[str, Planted], tmp_path: Path
) -> None:
    code, numbers = planted[net].run(0, stall, tmp_path)
    assert (code, numbers[2]) == (0, 0)


@pytest.mark.slow
@pytest.mark.parametrize("bug", range(1, len(BUGS) + 1), ids=lambda bug: f"{bug}-{BUGS[bug - 1][1]}")
def test_a_planted_bug_is_clean_and_a_mismatch(bug: int, planted: dict[str, Planted], tmp_path: Path) -> None:
    name, block, piece = BUGS[bug - 1]
    card, sizes, lanes, lr, loss = NETS[name]
    (tmp_path / "hwt_net.sv").write_text(module_text(made(card, sizes, lanes, lr, loss)[1]))
    wrong = tmp_path / f"hwt_{block}.sv"
    wrong.write_text(changed((RTL / wrong.name).read_text(), piece))
    sources = [tmp_path / "hwt_net.sv", wrong, *sorted(f for f in RTL.glob("*.sv") if f.name != wrong.name)]
    assert verilator.lint(sources, "hwt_net") == ""
    runs = [planted[name].run(bug, stall, tmp_path) for stall in STALLS]
    assert max(numbers[2] for _, numbers in runs) > 0
    assert max(code for code, _ in runs) == 1


@pytest.mark.slow
@pytest.mark.parametrize("net", NETS)
def test_one_flipped_byte_of_the_golden_values_is_exit_1(
    net: str, planted: dict[str, Planted], tmp_path: Path
) -> None:
    one = planted[net]
    size = 4 * len(one.words)
    for at in np.random.default_rng(0).integers(size - 4 * one.golden, size, 20):
        code, numbers = one.run(0, 0, tmp_path, flipped=int(at))
        assert (code, numbers[2]) == (1, 1)
