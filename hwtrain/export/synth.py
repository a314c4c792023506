"""What an exported RTL folder takes of an FPGA, by Yosys and nextpnr, beside its multiplying twins.

Four designs of the same net, on the same sources: as exported; with weights multiplied instead of shifted,
by multiplier blocks and in look-up tables; and that last one with as many lanes as fit into the tables of the
first, which takes more cycles. Then the lanes and their tree alone, undiluted by memories, control and random
numbers. A folder that multiplies already has no twins.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from hwtrain.errors import ConfigError, nearest
from hwtrain.export.cosim import exported
from hwtrain.export.rtl import RtlNet, cycles, module_text, rtl_net
from hwtrain.shipped import shipped
from hwtrain.sim import nextpnr, yosys

WANTED_MHZ = 100.0


@dataclass(frozen=True)
class Figure:
    """One design as the tools see it.

    ``lut`` counts those that carry and those that are memory; ``fmax_MHz`` is the median over the seeds,
    ``None`` with a reason in ``no_fmax``. ``cycles_per_step`` is ``None`` for an array, which does not train.
    """

    design: str
    weights: str
    lanes: int
    lut: int
    carry: int
    flip_flop: int
    dsp: int
    memory: int
    cells_by: str
    cycles_per_step: int | None
    fmax_MHz: float | None
    fmax_of_seeds: list[float]
    fmax_by: str | None
    no_fmax: str | None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class _Design:
    name: str
    weights: str
    lanes: int
    cycles_per_step: int | None
    sources: list[Path]
    top: str
    parameters: dict[str, int]
    blocks: bool


def synthesized(
    folder: Path, target: str, seeds: int = 3, hear: Callable[[str], None] = lambda what: None
) -> list[Figure]:
    """The figures of a folder on a family; ``hear`` is told what is at work.

    Raises:
        HwtrainError: no such folder or family, a tool that is missing or refuses a design.
    """
    if target not in yosys.FAMILIES:
        raise ConfigError(f"target = {target!r}: {nearest(target, yosys.FAMILIES)}")
    if seeds < 0:
        raise ConfigError(f"seeds = {seeds}: 0 places and routes nothing")
    program, settings, sources = exported(folder)
    yosys.yosys()
    part = nextpnr.PARTS.get(target)
    if part is not None and seeds:
        nextpnr.nextpnr(part)
    net = rtl_net(program, settings.lanes, settings.lr)
    figures = []
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch)

        def measured(design: _Design) -> Figure:
            return _measured(design, target, seeds, made, hear)

        if not net.code_bits:
            figures += [measured(_engine(net, sources, made, blocks)) for blocks in (True, False)]
            return figures
        ours = measured(_engine(net, sources, made, True))
        twins = [measured(_engine(_twin(net), sources, made, blocks)) for blocks in (True, False)]
        figures += [ours, *twins]
        # Where multiplying takes no more as it is, it is its own equal.
        for lanes in _fewer(net.lanes) if twins[1].lut > ours.lut else ():
            small = _twin(rtl_net(program, lanes, settings.lr))
            design = replace(_engine(small, sources, made, False), name="equal area")
            hear(f"{design.name}, {lanes} lanes: Yosys")
            if _cells(design, target, None).lut <= ours.lut:
                figures.append(measured(design))
                break
        figures += [measured(design) for design in _arrays(net, folder)]
    return figures


def _fewer(lanes: int) -> Iterator[int]:
    while lanes > 2:
        lanes //= 2
        yield lanes


def _twin(net: RtlNet) -> RtlNet:
    """The same net that multiplies by its master weights: more is cut from the sums instead."""
    layers = [
        replace(layer, frac=layer.frac + layer.low, bias_shift=layer.bias_shift - layer.low, low=0)
        for layer in net.layers
    ]
    return replace(net, layers=tuple(layers), code_bits=0)


def _engine(net: RtlNet, sources: list[Path], scratch: Path, blocks: bool) -> _Design:
    kind = "shift" if net.code_bits else "multiply, blocks" if blocks else "multiply, fabric"
    bits = net.code_bits or net.numbers.weight_bits
    top = scratch / f"{kind.replace(', ', '_')}_{net.lanes}" / "hwt_net.sv"
    top.parent.mkdir(exist_ok=True)
    top.write_text(module_text(net))
    return _Design(
        name="engine",
        weights=f"{bits} bits, {kind}",
        lanes=net.lanes,
        cycles_per_step=cycles(net),
        sources=[*sources, top],
        top="hwt_net",
        parameters={},
        blocks=blocks,
    )


def _arrays(net: RtlNet, folder: Path) -> Iterator[_Design]:
    signal, lanes = net.numbers.signal_bits, net.lanes
    names = ("hwt_shift_lane", "hwt_mult_lane", "hwt_adder_tree")
    sources = [folder / "rtl" / f"{name}.sv" for name in names]
    sources.append(shipped("fpga") / "synth" / "hwt_array.sv")
    widths = dict.fromkeys([signal, net.numbers.weight_bits])
    kinds = [("shift", net.code_bits, True), *(("multiply, fabric", bits, False) for bits in widths)]
    for kind, bits, blocks in kinds:
        product = signal + ((1 << (bits - 1)) - 2 if kind == "shift" else bits)
        yield _Design(
            name="array",
            weights=f"{bits} bits, {kind}",
            lanes=lanes,
            cycles_per_step=None,
            sources=sources,
            top="hwt_array",
            parameters={
                "Lanes": lanes,
                "SignalBits": signal,
                "WeightBits": bits,
                "Multiply": int(kind != "shift"),
                "AccBits": max(product, 2 * signal) + lanes.bit_length() + 4,
            },
            blocks=blocks,
        )


def _cells(design: _Design, target: str, netlist: Path | None) -> yosys.Cells:
    return yosys.synthesize(
        design.sources,
        design.top,
        yosys.FAMILIES[target],
        blocks=design.blocks,
        parameters=design.parameters,
        netlist=netlist,
    )


def _measured(design: _Design, target: str, seeds: int, scratch: Path, hear: Callable[[str], None]) -> Figure:
    what = f"{design.name} of {design.lanes} lanes, {design.weights}"
    hear(f"{what}: Yosys")
    netlist = scratch / "netlist.json"
    cells = _cells(design, target, netlist)
    part = nextpnr.PARTS.get(target)
    found: list[float] = []
    lacks = None
    if part is None:
        lacks = f"no nextpnr for {target} in a package registry: place and route it with the vendor's tool"
    elif not seeds:
        lacks = "not asked for"
    else:
        for seed in range(1, seeds + 1):
            hear(f"{what}: {part.tool}, seed {seed} of {seeds}")
            one = nextpnr.fmax_MHz(netlist, part, seed, WANTED_MHZ)
            if isinstance(one, str):
                lacks = f"{one} (seed {seed})"
                break  # a median of those that happen to come through would flatter
            found.append(one)
    fmax = statistics.median(found) if found and lacks is None else None
    return Figure(
        design=design.name,
        weights=design.weights,
        lanes=design.lanes,
        **asdict(cells),
        cells_by=f"{yosys.version()}, synthesis",
        cycles_per_step=design.cycles_per_step,
        fmax_MHz=fmax,
        fmax_of_seeds=found,
        fmax_by=f"{nextpnr.version(part)}, routed, median of {seeds}" if part and fmax is not None else None,
        no_fmax=lacks,
    )


def ratio(figures: list[Figure], design: str, bits: int | None = None) -> float | None:
    """Look-up tables of the shift design over those of the one that multiplies in them; None without both."""
    shift = next((f for f in figures if f.design == design and f.weights.endswith("shift")), None)
    fabric = next(
        (
            f
            for f in figures
            if f.design == design
            and f.weights.endswith("fabric")
            and (bits is None or f.weights.startswith(f"{bits} bits"))
        ),
        None,
    )
    return None if shift is None or fabric is None else shift.lut / fabric.lut
