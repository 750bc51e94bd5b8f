"""One vessel with a third of all lines, and more reports than a task holds at once: the job ends in little memory, and cuts the same tracks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from benchmarks.cdv_archive import write
from multitaskais.ais.archives import read_reports
from multitaskais.config import TrackRules
from multitaskais.tracks.quality import screen
from multitaskais.tracks.segmentation import segment
from multitaskais.tracks.tracker import track_name
from tests.spark.conftest import BRITTANY
from tracks_builder.label import PENDING_MAX
from tracks_builder.schemas import PACKED_DTYPE

LINES = int(3.6 * PENDING_MAX)
BATCH_BYTES = 2 * 1024 * 1024  # small, so that the vessel's reports come in several batches
JVM_MEMORY = "512m"
WORKER_MEMORY_MB = 2048  # of addresses, not of pages: the libraries alone map much of it
RULES = TrackRules()


def tracks_at_once(reports):
    """(track, t) of a vessel's reports as the library's segmenter cuts them, all in one array."""
    reports = reports[screen(reports, BRITTANY, RULES) == 0]
    reports = reports[np.argsort(reports["t"], kind="stable")]
    rows = segment(reports, RULES)
    kept = rows["code"] == 0
    starts = zip(rows["start"][kept].tolist(), rows["suffix"][kept].tolist(), strict=True)
    mmsi = int(reports["mmsi"][0])
    return [track_name(mmsi, start, suffix) for start, suffix in starts], reports["t"][kept].tolist()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_vessel_with_a_third_of_all_lines_is_cut_as_if_it_were_whole_in_little_memory(tmp_path):
    pytest.importorskip("pyspark", reason="PySpark is not installed: pip install '.[tracks]'")
    archive = write(tmp_path / "in", lines=LINES, skewed_share=1 / 3)
    reports = np.concatenate([b.reports for b in read_reports(sorted((tmp_path / "in").rglob("*.cdv")))])
    vessels, counts = np.unique(reports["mmsi"], return_counts=True)
    huge = int(vessels[counts.argmax()])
    # It comes in pieces, or this test says nothing.
    assert counts.max() > PENDING_MAX + BATCH_BYTES / PACKED_DTYPE.itemsize
    assert 0.3 < counts.max() / archive.lines < 0.36
    batches = f"--conf spark.sql.execution.arrow.maxBytesPerBatch={BATCH_BYTES}"
    caps = f"--driver-memory {JVM_MEMORY} --conf spark.executor.pyspark.memory={WORKER_MEMORY_MB}m"
    done = subprocess.run(
        [sys.executable, Path(__file__).parents[2] / "tracks_builder" / "main.py", archive.glob, "brittany", "--output", tmp_path / "out", "--json"],
        env=os.environ | {"PYSPARK_SUBMIT_ARGS": f"--master local[2] --conf spark.ui.enabled=false {caps} {batches} pyspark-shell"},
        capture_output=True, text=True, timeout=550,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    summary = json.loads(done.stdout)
    assert (summary["in"], summary["kept"]) == (archive.lines, archive.position_reports)
    of_huge = ds.dataset(str(tmp_path / "out"), partitioning="hive").to_table(
        columns=["track_id", "t", "left_out"], filter=ds.field("mmsi") == huge
    )
    of_huge = of_huge.filter(pa.compute.is_null(of_huge["left_out"])).sort_by("t")
    names, times = tracks_at_once(reports[reports["mmsi"] == huge])
    assert of_huge["t"].to_pylist() == times
    assert of_huge["track_id"].to_pylist() == names
    assert len(set(names)) > 3
