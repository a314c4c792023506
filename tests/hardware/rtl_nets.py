"""Nets as RTL, and samples for them: what tests of the RTL share."""

from pathlib import Path
from typing import Any

import numpy as np

from hwtrain.config import make_config
from hwtrain.export.cosim import STALL_PERCENT, Cosim, RtlSettings, simulate
from hwtrain.export.printers.rtl import describe
from hwtrain.export.rtl import RtlNet, module_text, rtl_net
from hwtrain.export.run import Memory
from hwtrain.nets.base import mlp
from hwtrain.program.ir import Program
from hwtrain.program.lower import lower
from hwtrain.registry import lookup
from hwtrain.shipped import shipped
from hwtrain.training.trial import Spec, place

RTL = shipped("fpga") / "rtl"
HARNESS = shipped("fpga") / "bench" / "cosim.cpp"


def made(
    card: str, net: str, lanes: int, lr: float, loss: str = "softmax2", **more: Any
) -> tuple[Program, RtlNet]:
    mode = more.get("mode")
    spec = Spec("device", "speculative" if mode else "backprop", card, seed=0, lr=lr)
    config = make_config(rule_options={"mode": mode, **more.get("options", {})} if mode else None)
    bound, _ = place(spec, config, mlp(net, loss=lookup("losses", loss)()))
    program = lower(bound, shape=(int(net.split("-")[0]),), batch=more.get("batch", 1))
    made_net = rtl_net(program, lanes, lr)
    assert made_net.loss == loss.replace("-", "_")
    return program, made_net


def samples(program: Program, steps: int) -> Memory:
    """Inputs of all sizes, some large enough to saturate what they meet."""
    rng = np.random.default_rng(0)
    numbers = program.listing.numbers
    assert numbers is not None
    one = 1 << numbers.signal_frac
    x = np.where(rng.random((steps, 1)) < 0.2, 4 * one, one) * rng.uniform(-0.3, 1, (steps, *_in(program)))
    return {"x": np.rint(x)[:, None].astype(np.int64), "labels": rng.integers(0, _out(program), (steps, 1))}


def _in(program: Program) -> tuple[int, ...]:
    return program.buffers["x"].shape[1:]


def _out(program: Program) -> int:
    return program.buffers["z"].shape[-1]


def run(
    program: Program,
    net: RtlNet,
    lr: float,
    steps: int,
    folder: Path,
    rtl: Path = RTL,
    stalls: tuple[int, ...] = (STALL_PERCENT,),
) -> Cosim:
    """Cosim of these sources, with the handshakes asserted."""
    (folder / "hwt_net.sv").write_text(module_text(net))
    describe(folder, net)
    sources = [folder / "hwt_net.sv", *sorted((folder / "verify").glob("*.sv")), *sorted(rtl.glob("*.sv"))]
    settings = RtlSettings(lanes=net.lanes, lr=lr)
    return simulate(program, net, sources, HARNESS, samples(program, steps), settings, "-O1", stalls)


def half_up(folder: Path) -> str:
    """The card shift4 with updates rounded half up: no random numbers, much less to build."""
    text = (shipped("devices") / "shift" / "shift4.toml").read_text()
    (folder / "half-up.toml").write_text(text.replace("frac = 13", 'frac = 13\nrounding = "half-up"'))
    return str(folder / "half-up.toml")
