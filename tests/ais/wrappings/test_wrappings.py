"""One fleet in every wrapping gives one and the same set of reports, tracks and alerts."""

from __future__ import annotations

import functools
import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multitaskais.ais.archives import read_reports
from multitaskais.engine import batch
from multitaskais.model import folder as modelfolder
from multitaskais.records import REPORT_DTYPE, Counts
from tests.ais.wrappings.wrappings import MARINECADASTRE, WRAPPINGS, cdv, lines, one_fleet, table, tag

FIELDS = ("mmsi", "t", "lat", "lon", "sog", "cog", "heading")
FLEET = one_fleet()


def read(path):
    counts, parts = Counts(), [np.zeros(0, REPORT_DTYPE)]
    for reports, of_batch in read_reports(path):
        counts.add(of_batch)
        parts.append(reports)
    return np.concatenate(parts), counts


def in_order(reports):
    return reports[np.lexsort((reports["mmsi"], reports["t"]))]


@functools.cache
def told():
    """Track ids and alerts of the fleet, as JSON lines."""
    return alerts_of(FLEET)


def alerts_of(reports):
    result = batch.run(modelfolder.load("anywhere"), reports, trace=True)
    return sorted({v.track_id for v in batch.track_verdicts(result)}), sorted(
        json.dumps(a.as_dict()) for a in result.alerts
    )


def test_there_are_forty_wrappings_and_the_fleet_has_an_alert():
    assert len(WRAPPINGS) >= 40
    tracks, alerts = told()
    assert len(tracks) == 4
    assert {json.loads(a)["alert_type"] for a in alerts} >= {"jump"}


@pytest.mark.parametrize("name", WRAPPINGS)
def test_a_wrapping_changes_no_report_no_track_and_no_alert(name, tmp_path):
    reports, counts = read(WRAPPINGS[name](FLEET, tmp_path))
    assert counts.received == counts.accepted + sum(counts.rejected.values())
    reports = in_order(reports)
    assert len(reports) == len(FLEET)
    for field in FIELDS:
        np.testing.assert_array_equal(reports[field], in_order(FLEET)[field], err_msg=field)
    # Tables without a status or a type of message: what they lack is told, so that only the wrapping is tried.
    for field in ("nav_status", "msg_type", "ship_type", "ship_name"):
        reports[field] = in_order(FLEET)[field]
    assert alerts_of(reports) == told()


@pytest.mark.parametrize(
    "name", ["rotated_logs", "statsat", "aiscatcher_json", "names_that_are_patterns", "geoparquet"]
)
def test_the_command_finds_the_same(name, tmp_path):
    (tmp_path / "in").mkdir()
    path = WRAPPINGS[name](FLEET, tmp_path / "in")
    command = [
        sys.executable,
        "-m",
        "multitaskais",
        "detect",
        str(path),
        "--model",
        "anywhere",
        "--json",
        "--out",
        str(tmp_path / "out"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["first"], said["accepted"] + said["rejected"].get("displaced", 0)) == (
        "2024-05-11 12:00:00",
        len(FLEET),
    )
    assert said["alerts"] == len({json.loads(a)["alert_id"] for a in told()[1]})
    if name == "rotated_logs":
        assert "passed over 1 file in which no AIS is recognised: README.md" in done.stderr


# ---------------------------------------------------------------- what breaks costs what it breaks

BREAKS = st.lists(
    st.tuples(st.floats(0, 0.999), st.sampled_from([b'"', b"\x00", b"\r", b"\xff", b"\\", b",", b'""', b"'", b"\x1e"])),
    max_size=6,
)
HARMLESS_OF_TABLES = (b'"', b"'", b"\x00", b"\\", b'""')


@settings(max_examples=60)
@given(BREAKS, st.booleans())
def test_broken_bytes_cost_at_most_their_own_rows_and_each_line_counts_once(tmp_path_factory, breaks, as_table):
    part = FLEET[:60]
    data = table(part, MARINECADASTRE) if as_table else lines(part, lambda t, s: tag(f"c:{t:.0f}") + s)
    body_at = data.index(b"\n") + 1 if as_table else 0
    hurt = set()
    for where, what in sorted(breaks, reverse=True):
        at = body_at + int(where * (len(data) - body_at - 1))
        hurt.add(data[:at].count(b"\n"))
        data = data[:at] + what + data[at:]
    path = tmp_path_factory.mktemp("broken") / "a.dat"
    path.write_bytes(data)
    reports, counts = read(path)
    assert counts.received == len(part) == counts.accepted + sum(counts.rejected.values())
    assert counts.accepted >= len(part) - len(hurt)
    kept = set(reports["t"].tolist())
    assert kept >= {t for i, t in enumerate(part["t"].tolist()) if i + (1 if as_table else 0) not in hurt}


def test_a_stray_quote_in_a_large_table_costs_nothing(tmp_path):
    many = np.tile(FLEET, 60)
    data = table(many, MARINECADASTRE | {"VesselName": lambda r: "THE STAR"})
    rows = data.split(b"\n")
    rows[10] = rows[10].replace(b"THE", b'"THE')
    rows[20_000] = rows[20_000].replace(b"THE", b'T"HE')
    (tmp_path / "a.csv").write_bytes(b"\n".join(rows))
    reports, counts = read(tmp_path / "a.csv")
    assert counts.received == counts.accepted == len(reports) == len(many)
    assert set(reports["ship_name"].tolist()) == {b"THE STAR", b'T"HE STAR'}


def test_the_same_lines_in_every_order_of_files_are_one_archive(tmp_path):
    for i, part in enumerate(np.array_split(FLEET, 5)):
        (tmp_path / f"{9 - i}.cdv").write_bytes(cdv(part))
    reports, _ = read(tmp_path)
    assert alerts_of(reports) == told()
