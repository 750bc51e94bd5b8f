"""One reader of the ways in which the world writes a moment: prefixes, suffixes, tag blocks, tables and JSON alike.

    read_time("2024-05-01T14:00:00.25+02:00")  -> 1714564800.25
    read_time("1714564800123")                 -> 1714564800.123
    find_time(b"[2024-05-01 12:00:00.141] ")   -> 1714564800.141
    read_column(["05/01/2024 12:00:00", "05/13/2024 12:00:00"]) -> month first, since there is no 13th month

Times are Unix seconds, UTC. What has no zone is UTC; an offset is applied. Whole numbers count seconds, milliseconds, microseconds or
nanoseconds by their size, and only where the moment lies within ``EARLIEST`` and ``LATEST``: a counter, an MMSI or a length is no time.
A second 60 (a leap second) is the first moment of the next minute. What cannot be read is NaN; whether day or month comes first is
decided by the values of the whole column, or refused, never guessed.
"""

from __future__ import annotations

import calendar
import re
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .errors import FormatError

NAN = float("nan")
EARLIEST = 788_918_400.0  # 1995-01-01: the first trials of AIS came later
LATEST = 4_102_444_800.0  # 2100-01-01
_UNITS = (1.0, 1e3, 1e6, 1e9)  # s, ms, us, ns
_MONTHS = {name.lower(): i for i, name in enumerate(calendar.month_abbr) if name}

_CLOCK = r"(\d{1,2}):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?\s*([AaPp][Mm])?"
_ZONE = r"\s*(Z|z|UTC|GMT|[+-]\d\d:?\d\d|[+-]\d\d)?(?!\d|:\d)"
_ISO = re.compile(r"(\d{4})([-/.])(\d{1,2})\2(\d{1,2})[T\s_,-]+" + _CLOCK + _ZONE)
_DAY_ONLY = re.compile(r"(\d{4})([-/.])(\d\d)\2(\d\d)$")
_ORDINAL = re.compile(r"(\d{4})-(\d{3})[T\s]" + _CLOCK + _ZONE)
_BASIC = re.compile(r"(\d{4})(\d\d)(\d\d)[T_ -]?(\d\d)(\d\d)(\d\d)(?:[.,](\d{1,9}))?" + _ZONE)
_BASIC_WHOLE = re.compile(_BASIC.pattern + r"$")
# Two numbers and a year: the order of day and month is asked for.
_SHORT = re.compile(r"(\d{1,2})([-/.])(\d{1,2})\2(\d{4})[T\s,]+" + _CLOCK + _ZONE)
# 01 May 2024 12:00:00, 1-May-2024 12:00, 01/May/2024:12:00:00 +0000, Wed, 01 May 2024 12:00:00 +0000
_NAMED = re.compile(r"(\d{1,2})[\s/-]([A-Za-z]{3})[a-z]*[\s/-](\d{4})[\sT,:]+" + _CLOCK + _ZONE)
# Wed May  1 12:00:00 2024; May 1, 2024 12:00:00
_CTIME = re.compile(r"([A-Za-z]{3})\s+(\d{1,2})\s+(\d{1,2}):(\d\d):(\d\d)\s+(\d{4})")
_MONTH_DAY = re.compile(r"([A-Za-z]{3})[a-z]*\s+(\d{1,2}),?\s+(\d{4})[\sT,]+" + _CLOCK + _ZONE)
# In free text nine digits are an MMSI, or a moment before September 2001.
_NUMBER = re.compile(r"(?<![\w.])(\d{10,19})(?:\.(\d{1,9}))?(?!\w|:\d)")
# Syslog's: May  1 12:00:00, also behind its priority, <30>; no year stands before or behind.
_NO_YEAR = re.compile(
    r"(?:<\d{1,3}>)?\s*(?:[A-Za-z]{3},?\s+)?([A-Za-z]{3})\s+(\d{1,2})\s+(\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9}))?(?!\s*\d{4}\b)(?=\s|:|$)"
)
_WEEKDAY = re.compile(r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,?\s+", re.I)
_WHOLE_NUMBER = re.compile(r"(\d{1,19})(?:\.(\d*))?(?:[eE]\+?(\d{1,2}))?$")


def unix_time(
    year: int, month: int, day: int, hour: int, minute: int, second: int, fraction: float = 0.0, offset_s: float = 0.0
) -> float:
    """Calendar -> Unix s; NaN when there is no such moment.

    24:00:00 is the next day's first moment; a leap second (:60 at the end of June or December, UTC) the next minute's.
    offset_s: how far the clock is ahead of UTC.
    """
    if not (1 <= year <= 9999 and 1 <= month <= 12 and 1 <= day <= calendar.monthrange(year, month)[1]):
        return NAN
    if not (0 <= hour < 24 and 0 <= minute < 60 and 0 <= second <= 60) and (hour, minute, second, fraction) != (
        24,
        0,
        0,
        0.0,
    ):
        return NAN
    t = calendar.timegm((year, month, day, hour, minute, second)) + fraction - offset_s
    if second == 60:
        t -= fraction
        month_day = time.gmtime(t)[1:6] if t == t and abs(t) < LATEST else ()
        return t if month_day in ((1, 1, 0, 0, 0), (7, 1, 0, 0, 0)) else NAN
    return t


def epoch_time(whole: str, fraction: str = "") -> float:
    """Digits of a count since 1970 in s, ms, us or ns, whichever gives a moment that can be; NaN where none does."""
    value = int(whole)
    for unit in _UNITS:
        if EARLIEST <= value / unit < LATEST:
            seconds, rest = divmod(value, int(unit))
            # As the nearest double of the decimal number: seconds and fraction apart would round twice.
            digits = f"{rest:0{len(str(int(unit))) - 1}d}" if unit > 1 else ""
            return float(f"{seconds}.{digits}{fraction if unit > 1 or fraction else ''}0")
    return NAN


def _clock(h: str, m: str, s: str | None, fraction: str | None, half: str | None) -> tuple[int, int, int, float] | None:
    hour = int(h)
    if half:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if half.lower() == "pm" else 0)
    return hour, int(m), int(s or 0), float(f"0.{fraction}") if fraction else 0.0


def _offset(zone: str | None) -> float:
    if not zone or zone in ("Z", "z", "UTC", "GMT"):
        return 0.0
    digits = zone[1:].replace(":", "")
    minutes = int(digits[:2]) * 60 + int(digits[2:] or 0)
    if minutes > 18 * 60 or int(digits[2:] or 0) >= 60:
        return NAN
    return (-1 if zone[0] == "-" else 1) * minutes * 60.0


def _moment(year: int, month: int, day: int, clock: tuple[int, int, int, float] | None, zone: str | None) -> float:
    if clock is None:
        return NAN
    t = unix_time(year, month, day, *clock, _offset(zone))
    return t if EARLIEST <= t < LATEST else NAN


def _of_match(pattern: re.Pattern[str], m: re.Match[str], day_first: bool | None) -> float:
    g = m.groups()
    if pattern is _ISO:
        return _moment(int(g[0]), int(g[2]), int(g[3]), _clock(*g[4:9]), g[9])
    if pattern is _ORDINAL:
        start = unix_time(int(g[0]), 1, 1, 0, 0, 0)
        clock = _clock(*g[2:7])
        days = int(g[1])
        if start != start or clock is None or not 1 <= days <= 365 + calendar.isleap(int(g[0])):
            return NAN
        at = unix_time(1970, 1, 1, *clock)
        t = start + (days - 1) * 86_400.0 + at - _offset(g[7])
        return t if EARLIEST <= t < LATEST else NAN
    if pattern in (_BASIC, _BASIC_WHOLE):
        return _moment(int(g[0]), int(g[1]), int(g[2]), _clock(g[3], g[4], g[5], g[6], None), g[7])
    if pattern is _SHORT:
        if g[1] == ".":
            day_first = True  # 1.5.2024: so written nowhere with the month first
        if int(g[0]) > 12 or int(g[2]) > 12:
            day_first = int(g[2]) <= 12  # no thirteenth month
        if day_first is None:
            return NAN
        a, b = (g[0], g[2]) if day_first else (g[2], g[0])
        return _moment(int(g[3]), int(b), int(a), _clock(*g[4:9]), g[9])
    if pattern is _NAMED:
        return _moment(int(g[2]), _MONTHS.get(g[1].lower(), 0), int(g[0]), _clock(*g[3:8]), g[8])
    if pattern is _MONTH_DAY:
        return _moment(int(g[2]), _MONTHS.get(g[0].lower(), 0), int(g[1]), _clock(*g[3:8]), g[8])
    clock = _clock(g[2], g[3], g[4], None, None)
    return _moment(int(g[5]), _MONTHS.get(g[0].lower(), 0), int(g[1]), clock, None)


_DATED = (_ISO, _ORDINAL, _SHORT, _NAMED, _CTIME, _MONTH_DAY)


def _text(value: str | bytes) -> str:
    return value.decode("ascii", "replace") if isinstance(value, bytes) else value


def read_time(value: str | bytes, day_first: bool | None = None) -> float:
    """The moment that a whole field spells, Unix s; NaN where it spells none, or where day and month could be either."""
    text = _text(value).strip().strip("\"'[]()").strip()
    text = text[m.end() :] if (m := _WEEKDAY.match(text)) else text
    if m := _WHOLE_NUMBER.fullmatch(text):
        if m[3] is not None:
            return _in_range(float(text))
        if len(m[1]) == 14 and not m[2] and (t := _of_match(_BASIC_WHOLE, _BASIC_WHOLE.match(text), None)) == t:  # type: ignore[arg-type]
            return t
        return epoch_time(m[1], m[2] or "")
    for pattern in (*_DATED, _BASIC_WHOLE):
        if m := pattern.match(text):
            # Something may follow that is no part of it, such as a zone's name; digits may not.
            rest = text[m.end() :].strip()
            if rest and (rest[0].isdigit() or rest[0] in "+-:.,"):
                return NAN
            return _of_match(pattern, m, day_first)
    if m := _DAY_ONLY.fullmatch(text):
        return _moment(int(m[1]), int(m[3]), int(m[4]), (0, 0, 0, 0.0), None)
    return NAN


def _in_range(value: float) -> float:
    for unit in _UNITS:
        if EARLIEST <= value / unit < LATEST:
            return value / unit
    return NAN


def find_time(value: str | bytes) -> float:
    """The first moment spelt somewhere in free text, such as what a logger wrote before a sentence; NaN where there is none."""
    text = _text(value)
    for pattern in _DATED:
        if (m := pattern.search(text)) and (m.start() == 0 or not text[m.start() - 1].isdigit()):
            return _of_match(pattern, m, None)
    for m in _NUMBER.finditer(text):
        if len(m[1]) == 14 and m[2] is None and (whole := _BASIC_WHOLE.match(m[1])):
            t = _of_match(_BASIC_WHOLE, whole, None)
        else:
            t = epoch_time(m[1], m[2] or "")
        if t == t:
            return t
    if (m := _BASIC.search(text)) and not text[max(m.start() - 1, 0) : m.start()].isdigit():
        return _of_match(_BASIC, m, None)
    return NAN


class YearlessStamp(NamedTuple):
    """A stamp that leaves the year to the reader."""

    month: int
    day: int
    clock: tuple[int, int, int, float]

    def of(self, year: int) -> float:
        """Unix s; NaN where there is no such moment."""
        return unix_time(year, self.month, self.day, *self.clock)

    def nearest_to(self, t: float) -> float:
        """Unix s, of the year in which it lies nearest to ``t``; NaN where there is no such moment."""
        if not EARLIEST - 366 * 86_400.0 < t < LATEST:
            return NAN
        year = time.gmtime(t).tm_year
        found = [m for m in map(self.of, (year - 1, year, year + 1)) if m == m]
        return min(found, key=lambda m: abs(m - t), default=NAN)


def without_year(value: str | bytes) -> YearlessStamp | None:
    """What a log's prefix says where it begins with month, day and clock and no year, as syslog's; None for all others."""
    m = _NO_YEAR.match(_text(value))
    if m is None or (month := _MONTHS.get(m[1].lower(), 0)) == 0:
        return None
    return YearlessStamp(month, int(m[2]), (int(m[3]), int(m[4]), int(m[5]), float(f"0.{m[6]}") if m[6] else 0.0))


def has_unreadable_date(value: str | bytes) -> bool:
    """Whether the text holds something that looks like a date and is none that is read: such a line is dated by nothing else."""
    text = _text(value)
    return any(pattern.search(text) for pattern in _DATED) and find_time(text) != find_time(text)


class Column(NamedTuple):
    """Times of a column and what was decided about it."""

    t: NDArray[np.float64]  # (n,) Unix s, NaN where a field is no time
    day_first: bool | None  # None where no value needed it


def day_comes_first(values: Sequence[str | bytes]) -> bool | None:
    """Of dates of two numbers and a year: True day first, False month first, None where no value decides."""
    day = month = False
    for value in values:
        m = _SHORT.match(_text(value).strip().strip("\"'[]()").strip())
        if m is not None and m[2] != ".":
            day |= int(m[1]) > 12
            month |= int(m[3]) > 12
    if day and month:
        raise FormatError("its dates have the day first in some rows and the month first in others")
    return True if day else False if month else None


def is_short_date(value: str | bytes) -> bool:
    """Two numbers and a year: day and month could be either."""
    m = _SHORT.match(_text(value).strip().strip("\"'[]()").strip())
    return m is not None and m[2] != "."


def read_column(values: Sequence[str | bytes], day_first: bool | None = None) -> Column:
    """A column of texts. ``day_first``: where it is known from elsewhere.

    Raises ``FormatError`` where day and month could be either in all rows.
    """
    known: dict[str | bytes, float] = {}
    t = np.full(len(values), NAN)
    if day_first is None:
        day_first = day_comes_first(values)
        if day_first is None and any(is_short_date(v) for v in values):
            raise FormatError(
                f"whether day or month comes first in {_text(values[0]).strip()!r} cannot be told from the file"
            )
    for i, value in enumerate(values):
        if value not in known:
            known[value] = read_time(value, day_first)
        t[i] = known[value]
    return Column(t, day_first)
