"""Rows of any number put in order of time with bounded memory: sorted runs on disk, merged block by block (an external merge sort)."""

from __future__ import annotations

import tempfile
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from multitaskais.types import Reports

RUN_ROWS = 1_000_000  # 80 MB of reports; a table with no more never touches the disk
BLOCK_ROWS = 16_384  # of each run in memory while they are merged


def in_time_order(
    batches: Iterable[Reports],
    *,
    run_rows: int = RUN_ROWS,
    block_rows: int = BLOCK_ROWS,
    on_spill: Callable[[str], None] = lambda folder: None,
) -> Iterator[Reports]:
    """Batches of rows with a field ``t`` -> the same rows by ``t`` (equal times in the order in which they came), block by block.

    What is more than ``run_rows`` goes to a temporary folder (``TMPDIR``) for as long as the iterator lives; ``on_spill`` is told of it.
    """
    with tempfile.TemporaryDirectory(prefix="multitaskais-", ignore_cleanup_errors=True) as folder:
        runs: list[Reports] = []
        held: list[Reports] = []
        rows = 0
        for batch in batches:
            held.append(batch)
            rows += len(batch)
            if rows >= run_rows:
                if not runs:
                    on_spill(folder)
                runs.append(_spilled(_sorted(held), Path(folder) / f"{len(runs)}.run"))
                held, rows = [], 0
        if held:
            runs.append(_sorted(held))
        del held
        yield from _merged(runs, block_rows)


def _sorted(parts: list[Reports]) -> Reports:
    table = np.concatenate(parts)
    return table[np.argsort(table["t"], kind="stable")]


def _spilled(run: Reports, file: Path) -> Reports:
    run.tofile(file)
    return np.memmap(file, run.dtype, "r", shape=run.shape)


def _merged(runs: list[Reports], block_rows: int) -> Iterator[Reports]:
    at = [0] * len(runs)
    while open_ := [k for k, run in enumerate(runs) if at[k] < len(run)]:
        # Up to the least end of the runs' next blocks all rows are at hand; of equal times all, however many there are.
        until = min(float(runs[k][min(at[k] + block_rows, len(runs[k])) - 1]["t"]) for k in open_)
        parts = []
        for k in open_:
            stop = bisect_right(runs[k], until, lo=at[k], key=lambda row: row["t"])
            parts.append(np.array(runs[k][at[k] : stop]))
            at[k] = stop
        yield _sorted(parts)
