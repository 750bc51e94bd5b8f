"""Claim: lines to reports, checksum and time included, 20 times as fast as pyais line by line with NumPy alone, 80 times where numba is installed.

The reference of the goals is ``pyais.decode`` of the bare sentences, which does less than we do (no time, no checksum, no
fields taken out); the whole work line by line is told beside it.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from multitaskais.ais.encode import cdv_lines, encode_static
from multitaskais.ais.positions import StaticData
from multitaskais.ais.vectorized import positions as kernel
from multitaskais.ais.vectorized.block import BlockDecoder, compiled_kernel

from .harness import Result, compare, require
from .reference import decode as reference
from .workload import voyages

HOURS, EVERY_S = 7.0, 10.0  # 400 ships: a million lines
THEIR_LINES, ROUNDS = 20_000, 5
QUICK_THEIR_LINES, QUICK_ROUNDS = 4_000, 2
STATIC_SHARE = 0.05
BARE, WHOLE = "`pyais.decode` of the bare sentences", "time, checksum, pyais and fields, line by line"
GOAL_NUMPY, GOAL_COMPILED = 20.0, 80.0
BLOCK_LINES = 65_536  # as `read_reports` and Spark hand them over
FIELDS = ("mmsi", "t", "lat", "lon", "sog", "cog", "heading", "nav_status", "msg_type")


def blocks_of(text: bytes, lines: int = BLOCK_LINES) -> list[bytes]:
    rows = text.splitlines(keepends=True)
    return [b"".join(rows[i : i + lines]) for i in range(0, len(rows), lines)]


def decode_all(blocks: list[bytes], line_kernel: kernel.LineKernel) -> list[np.ndarray]:
    decoder = BlockDecoder("cdv", line_kernel=line_kernel)
    return [decoder.decode(b).reports for b in blocks]


def lines_of(vessels: int, hours: float, every_s: float) -> bytes:
    """Position reports as ``.cdv`` lines."""
    return cdv_lines(voyages(vessels, hours, every_s)).tobytes()


def with_statics(text: bytes, vessels: int, share: float) -> bytes:
    """The same with ``share`` of lines from type 5, two lines each, as every archive has them."""
    rows = text.splitlines(keepends=True)
    step = int(2 / share)
    for k, i in enumerate(range(0, len(rows), step)):
        said = StaticData(227_000_000 + k % vessels, 0.0, 5, b"SHIP %d" % (k % vessels), 70, None, -1, -1, -1, -1, -1)
        rows[i] += b"".join(rows[i][:20] + s + b"\n" for s in encode_static(said))
    return b"".join(rows)


def run(quick: bool = False) -> list[Result]:
    vessels, rounds = (40, QUICK_ROUNDS) if quick else (400, ROUNDS)
    few = QUICK_THEIR_LINES if quick else THEIR_LINES
    text = lines_of(vessels, HOURS, EVERY_S)
    rows = text.splitlines()
    some = rows[:: max(1, len(rows) // few)][:few]
    sentences = [r[20:] for r in some]
    mixed = with_statics(text, vessels, STATIC_SHARE)

    expected = np.array(reference.decode(some), np.dtype([(f, "f8") for f in FIELDS]))
    out = []
    kernels: list[tuple[str, kernel.LineKernel, float]] = [("numpy", kernel.numpy_kernel, GOAL_NUMPY)]
    compiled = compiled_kernel()
    if compiled is not kernel.numpy_kernel:
        kernels.append(("numba", compiled, GOAL_COMPILED))
    for name, line_kernel, goal in kernels:
        found = np.concatenate(decode_all([b"\n".join(some) + b"\n"], line_kernel))
        require(len(found) == len(expected), "the number of reports")
        for f in FIELDS:
            require(np.array_equal(found[f].astype("f8"), expected[f], equal_nan=True), f)
        cases = (
            (name, f"position reports as `.cdv` lines, {name} kernel", text, BARE, reference.sentences_alone, sentences, goal),
            (f"{name}-whole", "the same", text, WHOLE, reference.decode, some, None),
            (f"{name}-mixed", f"the same with {STATIC_SHARE:.0%} of lines from ships' names (type 5)", mixed, WHOLE, reference.decode, some, GOAL_NUMPY),
        )  # fmt: skip
        for case, work, lines, what, theirs, their_lines, least in cases:
            blocks = blocks_of(lines)
            out.append(
                compare(
                    f"decode/{case}",
                    work=work,
                    reference=what,
                    unit="lines/s",
                    ours=partial(decode_all, blocks, line_kernel),
                    theirs=partial(theirs, their_lines),
                    units=float(lines.count(b"\n")),
                    their_units=float(len(their_lines)),
                    rounds=rounds,
                    goal=least,
                    same=f"all fields of {len(some):,} lines equal, bit by bit",
                )
            )
    return out
