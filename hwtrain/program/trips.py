"""How often each loop and branch of the matrix products runs (devices/mcu/src/hwt_gemm16.h).

A product (m, n, k) goes through chunks of terms, in each through strips of columns, in each through tiles of
rows. So a block of its code runs (something of k) x (something of n) x (something of m) times, and the
instructions of the product are a sum of such counts, each times the length of its blocks. ``trips`` names the
somethings; which of them a compiler's code has, and how long their blocks are, is counted on the simulators
(``./run bench mcu_closed_form``).
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Form = Literal["nn", "nt", "tn", "gradient"]
Copies = Literal["part", "tall", "odd", "never"]
"""Which strips of B are copied first, besides those of the form nt: such as are not whole; all, of more rows
than a tile has; all, where rows of B begin at odd halves; none at all."""
Term = tuple[float, str, str, str]
"""Instructions, and of which chunks, strips and rows each takes them."""
GRADIENT_CHUNK = 64


class Tiling(NamedTuple):
    """Of a back end: rows, columns and terms of a tile; by how many terms compilers unroll."""

    rows: int
    columns: int
    depth: int
    unroll: tuple[int, ...]
    copies: Copies


class Trips(NamedTuple):
    """By name: something of k, of n and of m."""

    chunks: dict[str, int]
    strips: dict[str, int]
    rows: dict[str, int]

    def sum(self, terms: list[Term]) -> float:
        """The instructions of all terms."""
        chunks, strips, rows = self
        return sum(each * chunks[a] * strips[b] * rows[c] for each, a, b, c in terms)


def trips(tiling: Tiling, form: Form, m: int, n: int, k: int) -> Trips:
    """Of C (m, n) from k terms. Names say what is counted: ``chunk`` and ``later chunk`` (all but the first),
    ``term%4`` (terms that a loop unrolled by four leaves over), ``whole`` and ``part`` strips, ``part>2``
    (1 if the part has more than two columns), ``tile3`` (tiles of three rows), ``no3`` (1 if none)."""
    return Trips(_chunks(tiling, form, k), _strips(tiling, form, m, n), _rows(tiling, m))


def _chunks(tiling: Tiling, form: Form, k: int) -> dict[str, int]:
    deep = min(GRADIENT_CHUNK, tiling.depth) if form == "gradient" else tiling.depth
    chunks = [min(deep, k - start) for start in range(0, k, deep)]
    found = {"once": 1, "chunk": len(chunks), "term": k, "later chunk": len(chunks) - 1}
    for by in tiling.unroll:
        found[f"term/{by}"] = sum(terms // by for terms in chunks)
        found[f"term%{by}"] = sum(terms % by for terms in chunks)
        found[f"term>={by}"] = sum(terms >= by for terms in chunks)
        found[f"term<{by}"] = sum(terms < by for terms in chunks)
        found[f"any%{by}"] = sum(terms % by > 0 for terms in chunks)
        found[f"none%{by}"] = sum(terms % by == 0 for terms in chunks)
        if by > 4:  # what is left over is written out, too
            for rest in range(1, by - 1):
                found[f"term%{by}>{rest}"] = sum(terms % by > rest for terms in chunks)
    if form == "nt":  # with one term B's columns lie side by side: it is read as in the form nn
        one = k == 1
        found |= {"unit": int(one), "long": int(not one)}
        found |= {"long chunk": len(chunks) * (not one), "long term": k * (not one)}
    return found


def _strips(tiling: Tiling, form: Form, m: int, n: int) -> dict[str, int]:
    lanes = tiling.columns
    whole, width = divmod(n, lanes)
    part, odd = int(width > 0), n % 2
    strips = whole + part
    all_ = form == "nt" or (tiling.copies == "tall" and m > tiling.rows) or (tiling.copies == "odd" and odd)
    copied = 0 if tiling.copies == "never" else strips if all_ else part
    found = {"once": 1, "strip": strips, "whole": whole, "part": part, "strip-1": strips - 1}
    found["flush"] = 1 - part
    found |= {"copied": copied, "direct": strips - copied, "copied whole": max(0, copied - part)}
    found |= {"n>=L": int(n >= lanes), "n<L": int(n < lanes), "copies": int(copied > 0)}
    if lanes == 16:  # two registers of eight
        found |= {"part>8": int(width > 8), "part<8": int(0 < width < 8)}
        found |= {"part<=8": int(0 < width <= 8), "part>=8": int(width >= 8)}
        for lane in range(1, 7):
            found |= {f"low>{lane}": int(lane < width < 8), f"high>{lane}": int(width > 8 + lane)}
    if lanes == 6:  # lane by lane; rows of an odd length are not aligned, and stored that way, too
        found |= {"odd strip": odd * strips, "even strip": (1 - odd) * strips}
        found |= {"odd whole": odd * whole, "even whole": (1 - odd) * whole}
        found |= {"odd part": odd * part, "even part": (1 - odd) * part}
        for lane in range(lanes):
            more = int(width > lane)
            found[f"ragged>{lane}"] = more + odd * whole
            if lane:
                found |= {f"part>{lane}": more, f"part={lane}": int(width == lane)}
                found[f"whole+part>{lane}"] = more + whole
    return found


def _rows(tiling: Tiling, m: int) -> dict[str, int]:
    most = tiling.rows
    found = {"once": 1, "row": m, "low": int(m <= most), "m>=R": int(m >= most), "tile": 0}
    for rows in (most, *(rows for rows in (4, 2, 1) if rows < most)):
        tiles, m = divmod(m, rows)
        found["tile"] += tiles
        found |= {f"tile{rows}": tiles, f"no{rows}": int(tiles == 0)}
        found |= {f"after{rows}": int(m > 0), f"done{rows}": int(m == 0)}
    return found
