"""What the tasks do without Spark around them: blocks of files, packed reports."""

from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from multitaskais.config import TrackRules
from tests.support.builders import fleet
from tracks_builder.decode import rows_of_reports
from tracks_builder.label import LabelTask
from tracks_builder.local import Piece, lines_of


@given(st.lists(st.binary(max_size=12), max_size=12), st.lists(st.integers(0, 120), max_size=5), st.booleans())
def test_wherever_a_file_is_cut_into_blocks_each_line_is_read_once(tmp_path_factory, lines, cuts, ended):
    lines = [line.replace(b"\n", b"") for line in lines]
    text = b"\n".join(lines) + (b"\n" if ended else b"")
    path = tmp_path_factory.mktemp("blocks") / "a.cdv"
    path.write_bytes(text)
    edges = sorted({0, len(text), *(c for c in cuts if c < len(text))})
    got = [b"".join(lines_of(Piece(f"file://{path}", a, b))) for a, b in itertools.pairwise(edges)]
    want = text if not text or text.endswith(b"\n") else text + b"\n"
    assert b"".join(got) in (text, want)


def test_of_an_enormous_line_only_the_beginning_is_kept(tmp_path):
    path = tmp_path / "a.cdv"
    path.write_bytes(b"x\n" + b"y" * 20_000_000 + b"\nz\n")
    parts = list(lines_of(Piece(f"file://{path}", 0, 5_000_000)))
    assert sum(map(len, parts)) < 5_100_000
    assert b"".join(lines_of(Piece(f"file://{path}", 5_000_000, 20_000_004))) == b"z\n"


@given(st.integers(0, 1000), st.integers(1, 6), st.integers(1, 40))
def test_reports_come_out_in_order_however_they_were_packed(seed, tasks, rows_a_batch):
    """Blocks of any tasks, batches that end anywhere, also within an hour of a vessel."""
    rng = np.random.default_rng(seed)
    reports = fleet(seed % 5, vessels=3, hours=3)
    reports["ship_type"], reports["ship_name"] = -1, b""
    shares = rng.permutation(len(reports)) % tasks
    table = pa.Table.from_batches([rows_of_reports(reports[shares == k]) for k in range(tasks) if (shares == k).any()])
    table = table.take(rng.permutation(table.num_rows)).sort_by("key").combine_chunks()

    def labelled(table, size):
        task = LabelTask(TrackRules())
        out = [b for batch in table.to_batches(max_chunksize=size) for b in task.rows(batch)]
        return pa.Table.from_batches([*out, *task.close()]).combine_chunks(), task.tally.counts

    at_once = labelled(pa.Table.from_batches([rows_of_reports(reports)]).sort_by("key").combine_chunks(), 10_000)
    in_pieces = labelled(table, rows_a_batch)
    assert in_pieces[0].equals(at_once[0])
    assert in_pieces[1] == at_once[1]
