"""Year after year: the same tracks as at once."""

from __future__ import annotations

import json

import pytest

from multitaskais.errors import ConfigError, InputError
from tests.spark.conftest import BRITTANY, tracks_in, write_archive
from tests.support.builders import merged, sail

NEW_YEAR_2018 = 1_514_764_800.0


@pytest.fixture(scope="module")
def two_years(tmp_path_factory):
    """Ships that never pause for three days around New Year."""
    ships = [sail(430, 600.0, mmsi=227_000_001 + i, t=NEW_YEAR_2018 - 130_000 - 7001 * i, sog=0.5) for i in range(3)]
    root = tmp_path_factory.mktemp("archive")
    write_archive(root, merged(*ships))
    return root


def job(output):
    from tracks_builder.job import Job

    return Job(("-",), BRITTANY, str(output))


def test_years_one_by_one_give_the_tracks_of_all_at_once(spark, build, two_years, tmp_path):
    from tracks_builder.years import build_years

    _, at_once = build(two_years / "*" / "*" / "*.cdv", output=tmp_path / "once")
    summaries = list(build_years(spark, str(two_years), [2017, 2018], job(tmp_path / "years")))
    assert [s.year for s in summaries] == [2017, 2018]
    assert sum(s.tracks for s in summaries) == len(set(at_once["track_id"].to_pylist()))
    one_by_one = tracks_in(tmp_path / "years")
    without = ["line"]  # numbers count from what was read
    assert one_by_one.drop_columns(without).equals(at_once.drop_columns(without))


def test_a_resumed_run_passes_over_what_is_done(spark, two_years, tmp_path):
    from tracks_builder.years import build_years

    first = next(build_years(spark, str(two_years), [2017], job(tmp_path)))
    stamp = {p: p.stat().st_mtime_ns for p in (tmp_path / "year=2017").iterdir()}
    again = list(build_years(spark, str(two_years), [2017, 2018], job(tmp_path), resume=True))
    assert again[0].as_dict() == json.loads((tmp_path / "_summary-2017.json").read_text()) == first.as_dict()
    assert stamp == {p: p.stat().st_mtime_ns for p in (tmp_path / "year=2017").iterdir()}
    assert again[1].tracks > 0


def test_a_year_that_is_not_there_is_an_error(spark, two_years, tmp_path):
    from tracks_builder.years import build_years

    with pytest.raises(InputError, match="2020: no such folder"):
        next(build_years(spark, str(two_years), [2020], job(tmp_path)))


@pytest.mark.parametrize("text", ["2019-2015", "17", "", "2015;2016"])
def test_years_that_are_none_are_an_error(text):
    from tracks_builder.years import parse_years

    with pytest.raises(ConfigError, match="2015-2019"):
        parse_years(text)


def test_years_are_ranges_and_lists():
    from tracks_builder.years import parse_years

    assert parse_years("2019, 2015-2017") == [2015, 2016, 2017, 2019]
