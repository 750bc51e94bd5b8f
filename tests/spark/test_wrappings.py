"""The Spark job finds in every wrapping the tracks that ``detect`` finds."""

from __future__ import annotations

import pytest

from tests.ais.wrappings.wrappings import WRAPPINGS, one_fleet

FLEET = one_fleet()
# Each way of reading once; the others with the slow tests.
QUICK = (
    "cdv_plain",
    "rotated_logs",
    "names_that_are_patterns",
    "statsat",
    "geoparquet",
    "sentences_and_a_table_in_one_folder",
    "cdv_utf16",
)


@pytest.fixture(scope="module")
def expected(spark, tmp_path_factory):
    from multitaskais.config import REGIONS, TrackRules
    from multitaskais.tracks.segmentation import segment, track_ids

    labels = segment(FLEET, TrackRules(), REGIONS["brittany"])
    ids = track_ids(FLEET["mmsi"], labels)
    return sorted(
        (i, t) for i, t, code in zip(ids, FLEET["t"].tolist(), labels["code"].tolist(), strict=True) if not code
    )


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in WRAPPINGS])
def test_the_job_finds_the_tracks_of_the_fleet_in_any_wrapping(build, tmp_path, expected, name):
    (tmp_path / "in").mkdir()
    summary, tracks = build(WRAPPINGS[name](FLEET, tmp_path / "in"))
    assert summary.lines_in == summary.kept + sum(summary.rejected.values())
    rows = [r for r in tracks.to_pylist() if r["left_out"] is None]
    assert sorted((r["track_id"], r["t"]) for r in rows) == expected


def test_copies_that_came_minutes_later_count_once_as_in_detect(build, tmp_path):
    from multitaskais.model.samples import load_reports
    from tests.tracks.test_copies import fleet, written

    _, heard, n = fleet(120, 600)
    (tmp_path / "in").mkdir()
    path = written(tmp_path / "in" / "a.cdv", heard)
    summary, tracks = build(path)
    reports, counts = load_reports(path, None)
    assert summary.rejected == {"duplicate": n} == {str(r): m for r, m in counts.rejected.items()}
    assert sorted(tracks["t"].to_pylist()) == sorted(reports["t"].tolist())
