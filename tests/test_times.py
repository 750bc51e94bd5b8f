"""Every way in which the world writes a moment is read by one reader, or is refused."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multitaskais.errors import FormatError
from multitaskais.times import EARLIEST, LATEST, find_time, read_column, read_time

moments = st.datetimes(datetime(1996, 1, 1), datetime(2099, 12, 30)).map(lambda d: d.replace(microsecond=0, tzinfo=UTC))


def epoch(d: datetime) -> int:
    return round(d.timestamp())


SPELLINGS = {
    "iso": lambda d: f"{d:%Y-%m-%dT%H:%M:%SZ}",
    "iso blank": lambda d: f"{d:%Y-%m-%d %H:%M:%S}",
    "iso fraction": lambda d: f"{d:%Y-%m-%dT%H:%M:%S}.000Z",
    "iso comma": lambda d: f"{d:%Y-%m-%d %H:%M:%S},000",
    "iso utc": lambda d: f"{d:%Y-%m-%d %H:%M:%S} UTC",
    "iso zero offset": lambda d: f"{d:%Y-%m-%dT%H:%M:%S}+00:00",
    "iso basic": lambda d: f"{d:%Y%m%dT%H%M%SZ}",
    "ordinal": lambda d: f"{d:%Y-%jT%H:%M:%SZ}",
    "slashes": lambda d: f"{d:%Y/%m/%d %H:%M:%S}",
    "fourteen digits": lambda d: f"{d:%Y%m%d%H%M%S}",
    "dots": lambda d: f"{d:%d.%m.%Y %H:%M:%S}",
    "month's name": lambda d: f"{d:%d-%b-%Y %H:%M:%S}",
    "mail": lambda d: f"{d:%a, %d %b %Y %H:%M:%S} +0000",
    "ctime": lambda d: f"{d:%a %b %d %H:%M:%S %Y}",
    "half days": lambda d: f"{d:%Y-%m-%d %I:%M:%S %p}",
    "seconds": lambda d: str(epoch(d)),
    "seconds with fraction": lambda d: f"{epoch(d)}.000",
    "scientific": lambda d: f"{epoch(d):.12e}",
    "milliseconds": lambda d: str(epoch(d) * 10**3),
    "microseconds": lambda d: str(epoch(d) * 10**6),
    "nanoseconds": lambda d: str(epoch(d) * 10**9),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@given(d=moments)
def test_a_moment_in_any_spelling_is_that_moment(spelling, d):
    text = SPELLINGS[spelling](d)
    assert read_time(text) == epoch(d)
    assert read_time(f' "{text}" '.encode()) == epoch(d)


@given(moments, st.integers(-14 * 60, 14 * 60), st.sampled_from(["%z", ":"]))
def test_an_offset_is_applied_and_never_cut_off(d, minutes, style):
    local = d.astimezone(timezone(timedelta(minutes=minutes)))
    text = local.isoformat() if style == ":" else f"{local:%Y-%m-%d %H:%M:%S%z}"
    assert read_time(text) == epoch(d)


@given(
    moments, st.sampled_from(["[{}] ", "{};N;", '{},NMEA0183,VDM,"tcp:192.0.2.1:3000","', "{} ", "<{}> ", "rx1 {}: "])
)
def test_a_moment_is_found_in_what_a_logger_wrote_around_it(d, around):
    d += timedelta(days=2200 if d.year < 2002 else 0)  # in free text nine digits are an MMSI
    for name in ("iso", "iso blank", "slashes", "fourteen digits", "seconds", "milliseconds", "microseconds"):
        assert find_time(around.format(SPELLINGS[name](d))) == epoch(d)


@given(st.integers(0, 10**20))
def test_a_count_is_a_moment_in_one_unit_or_none(n):
    t = read_time(str(n))
    if t == t and len(str(n)) != 14:
        assert EARLIEST <= t < LATEST
        assert any(math.isclose(n / unit, t) for unit in (1, 1e3, 1e6, 1e9))


@given(st.text(max_size=60))
def test_no_text_raises(text):
    for t in (read_time(text), find_time(text)):
        assert t != t or EARLIEST <= t < LATEST


@pytest.mark.parametrize(
    "text",
    ["", "0", "12", "28800000", "002573135", "257313500", "227006760", "0123-05-01 12:00:00", "2024-02-30 12:00:00",
     "2024-05-01 25:00:00", "2024-05-01 12:60:00", "12:00:00", "2024-05-01T12:00:00+99:00", "Unknown", "NaN", "1e400"],
)  # fmt: skip
def test_what_is_no_moment_is_none(text):
    assert math.isnan(read_time(text))


def test_a_leap_second_is_the_first_moment_of_the_next_year_and_stands_nowhere_else():
    new_year = datetime(2017, 1, 1, tzinfo=UTC).timestamp()
    for text in ("2016-12-31T23:59:60Z", "2016/12/31 23:59:60", "2017-01-01T00:59:60+01:00"):
        assert read_time(text) == new_year
    assert math.isnan(read_time("2016-12-30T23:59:60Z"))


def test_the_file_decides_whether_day_or_month_comes_first():
    ambiguous = "05/01/2024 12:00:00"
    assert math.isnan(read_time(ambiguous))
    may, january = (datetime(2024, m, d, 12, tzinfo=UTC).timestamp() for m, d in ((5, 1), (1, 5)))
    assert read_column([ambiguous, "05/13/2024 12:00:00"]).t[0] == may
    assert read_column([ambiguous, "13/05/2024 12:00:00"]).t[0] == january
    assert read_column([ambiguous], day_first=True).t[0] == january
    with pytest.raises(FormatError, match="day or month"):
        read_column([ambiguous, "06/01/2024 12:00:00"])
    with pytest.raises(FormatError, match="day first in some rows"):
        read_column(["13/05/2024 12:00:00", "05/13/2024 12:00:00"])
