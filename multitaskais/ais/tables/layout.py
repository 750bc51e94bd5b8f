"""Recognising: which table the names of its columns show, and which column holds what."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ... import times
from ...errors import FormatError
from . import units

TABLE_FORMATS = ("marinecadastre", "dma", "tracks")
HEADER_WITHIN = 20  # lines: comments and ``sep=`` may stand before the header
DELIMITERS = (",", ";", "\t", "|")

# our field -> names in the wild, lower case without blanks, underscores, points and units in brackets
_ALIASES: dict[str, tuple[str, ...]] = {
    "mmsi": ("mmsi", "sourcemmsi", "ssvid", "shipmmsi", "vesselmmsi", "mmsinumber", "userid"),
    "t": (
        "t", "basedatetime", "#timestamp", "timestamp", "datetimeutc", "datetime", "tagblocktimestamp", "dtposutc", "timestamputc", "timeutc",
        "positiontimestamp", "receivedat", "receivedtime", "rxtime", "unixtime", "epoch", "ts", "time", "date", "msgtime", "timestampexternal", "posdt",
    ),
    "lat": ("lat", "latitude", "y", "latdeg", "latitudedeg", "positionlatitude", "positionlat"),
    "lon": ("lon", "longitude", "long", "lng", "x", "londeg", "longitudedeg", "positionlongitude", "positionlon"),
    "sog": ("sog", "speedoverground", "speed", "speedknots", "sogknots", "speedkn", "speedkts"),
    "cog": ("cog", "courseoverground", "course", "cogdeg", "coursedeg"),
    "heading": ("heading", "trueheading", "hdg", "headingdeg"),
    "nav_status": ("navstatus", "status", "navigationalstatus", "navstat", "navigationstatus", "navstatuscode"),
    "msg_type": ("msgtype", "messagenr", "messagetype", "messageid", "msgid", "aistype"),
    "ship_type": ("shiptype", "vesseltype", "shipandcargotype", "typeofship", "shipcargotype"),
    "ship_name": ("shipname", "vesselname", "name"),
    "second": ("second", "utcsecond"),  # the ship's own, of its fix
    "station": ("station", "stationid"),
    "mobile": ("typeofmobile",),
    "time_of_day": (),  # where the time's column holds the date alone
    "geometry": ("geometry", "geom", "wkbgeometry", "wkt", "thegeom"),
}  # fmt: skip
# A table with both has its time in two columns, where none is named as a moment.
_DATES = ("date", "dateutc", "utcdate", "positiondate")
_TIMES_OF_DAY = ("time", "timeutc", "utctime", "timeofday", "positiontime")
_OF_MARINETRAFFIC = "dsrc"  # a column of its exports, whose ``SPEED`` is in 1/10 knot
_REQUIRED = ("mmsi", "t", "lat", "lon", "sog")
_CALLED = {"mmsi": "the MMSI", "t": "the time", "lat": "the latitude", "lon": "the longitude", "sog": "the speed"}
FIELDS = tuple(_ALIASES)
_OF_THE_ARCHIVE = ("dates", "year")  # what ``--columns`` says of all rows or lines


class Layout(NamedTuple):
    """How a table is laid out."""

    format: str
    fields: dict[str, str]  # our field -> the column's name
    names: tuple[str, ...]  # of all columns, in order
    delimiter: str = ","
    lines_before: int = 0  # of a CSV: up to and with the header
    day_first: bool | None = None  # of dates of two numbers and a year, where it is known
    factors: Mapping[str, float] | None = None  # our field -> to our unit from that of the column, where it is said

    def moments(self, rows: Sequence[Sequence[str]]) -> list[str]:
        """What whole rows say of their time."""
        at = [self.names.index(self.fields[f].strip()) for f in ("t", "time_of_day") if f in self.fields]
        return [" ".join(r[k] for k in at) for r in rows if len(r) == len(self.names)]


def _plain(name: str) -> str:
    name = units.split_unit(name.strip().strip("\ufeff").strip('"').lower())[0]
    return name.replace(" ", "").replace("_", "").replace(".", "").replace("-", "")


def parse_columns(text: str | None) -> dict[str, str]:
    """``--columns``: ``sog=Speed,cog=Course``, our field -> the column's name, where need be with its unit: ``sog=Speed[m/s]``.

    Raises ``FormatError``.
    """
    out: dict[str, str] = {}
    for item in (text or "").split(","):
        if not item.strip():
            continue
        field, equals, name = (part.strip() for part in item.partition("="))
        if not equals or not name or field not in (*FIELDS, *_OF_THE_ARCHIVE):
            known = ", ".join(f for f in FIELDS if f != "mobile")
            raise FormatError(
                f"--columns {item.strip()}: give FIELD=COLUMN with FIELD one of {known}, or dates=day_first or dates=month_first, "
                "or year=YYYY of a log whose stamps have none"
            )
        if field == "dates" and name not in ("day_first", "month_first"):
            raise FormatError(f"--columns {item.strip()}: give dates=day_first or dates=month_first")
        out[field] = name
    return out


def columns_of(names: Sequence[str], columns: Mapping[str, str] | None = None) -> dict[str, str]:
    """Our field -> the column's name in the file: the one that ``columns`` gives, else the first alias that is there."""
    by_plain = {_plain(n): n for n in reversed(names)}
    found: dict[str, str] = {}
    for ours, aliases in _ALIASES.items():
        # One in a unit that cannot be read gives way to another.
        mine = {_plain(n): n for n in reversed(names) if not units.is_refused(ours, units.split_unit(n)[1])}
        there = by_plain if not any(a in mine for a in aliases) else mine
        if (alias := next((a for a in aliases if a in there), None)) is not None:
            found[ours] = there[alias]
        elif ours in units.UNITS and (unit := _with_unit(ours, by_plain)):
            found[ours] = unit
    date = next((by_plain[a] for a in _DATES if a in by_plain), None)
    time_of_day = next((by_plain[a] for a in _TIMES_OF_DAY if a in by_plain), None)
    if date and time_of_day and found["t"] in (date, time_of_day) and "t" not in (columns or {}):
        found["t"], found["time_of_day"] = date, time_of_day
    for field, name in (columns or {}).items():
        if field in _OF_THE_ARCHIVE:
            continue
        exact = next((n for n in names if n.strip().strip('"') == name), None)
        if exact is None and _plain(name) not in by_plain:
            raise FormatError(f"--columns {field}={name}: there is no such column; there are {', '.join(names)}")
        found[field] = exact if exact is not None else by_plain[_plain(name)]
    if {"lat", "lon"} <= found.keys():
        found.pop("geometry", None)
    return found


def _with_unit(field: str, by_plain: Mapping[str, str]) -> str | None:
    """The column whose name is one of the field's with a unit behind it, such as ``speed_kmh``."""
    return next((n for plain, n in by_plain.items() if units.bare_of(field, plain, _ALIASES[field])), None)


def factors_of(
    found: Mapping[str, str], names: Sequence[str], columns: Mapping[str, str] | None = None
) -> dict[str, float]:
    """Our field -> the factor to our unit, where the column's name or ``columns`` states a unit (1.0 where it states ours).

    Raises ``FormatError`` for a unit that is not read.
    """
    factors: dict[str, float] = {}
    for field, name in found.items():
        if field not in units.UNITS:
            continue
        name = name.strip().strip("\ufeff").strip('"')
        asked = (columns or {}).get(field, name)
        for text in (units.split_unit(asked)[1], units.split_unit(name)[1]):
            if units.is_refused(field, text):
                raise units.refusal(field, name, text)
            if (factor := units.factor(field, text) if text else None) is not None:
                factors[field] = factor
                break
        else:
            plain = _plain(name)
            if plain not in _ALIASES[field] and (alias := units.bare_of(field, plain, _ALIASES[field])):
                factors[field] = units.factor(field, plain.removeprefix(alias).removeprefix("in")) or 1.0
    is_unsaid = "sog" not in factors and _plain(found.get("sog", "")) == "speed"
    if is_unsaid and any(_plain(n) == _OF_MARINETRAFFIC for n in names):
        factors["sog"] = 0.1
    return factors


def missing_of(found: Mapping[str, str]) -> list[str]:
    """The required fields that are not there."""
    there = set(found) | ({"lat", "lon"} if "geometry" in found else set())
    return [f for f in _REQUIRED if f not in there]


def near_miss(path: str, names: Sequence[str], found: Mapping[str, str]) -> FormatError:
    """The one line for a table that lacks a column."""
    missing = missing_of(found)
    which = " and ".join(_CALLED[f] for f in missing)
    how = ",".join(f"{f}=..." for f in missing)
    shown = ", ".join(n.strip().strip('"') for n in names[:30]) + (", ..." if len(names) > 30 else "")
    return FormatError(
        f"{path}: a table with columns {shown}: no column for {which}; name it with --columns {how} (fields: {', '.join(missing)})"
    )


def format_of(names: Sequence[str], columns: Mapping[str, str] | None = None) -> str | None:
    """The table format whose columns these are."""
    plain = {_plain(n) for n in names}
    if missing_of(columns_of(names, columns)):
        return None
    if "basedatetime" in plain:
        return "marinecadastre"
    if "#timestamp" in plain:
        return "dma"
    return "tracks"


def split_row(line: str, delimiter: str) -> list[str]:
    """The fields of one line; quotes count where they pair, else they are letters."""
    if '"' not in line:
        return line.split(delimiter)
    try:
        rows = list(csv.reader([line], delimiter=delimiter))
    except csv.Error:
        return line.split(delimiter)
    return rows[0] if len(rows) == 1 else line.split(delimiter)


def layout_of(
    head: bytes, path: str = "", archive_format: str | None = None, columns: Mapping[str, str] | None = None
) -> Layout | None:
    """The table that the first bytes of a stream show; None where they show none.

    Raises ``FormatError`` where they show a table of reports that lacks a column, or whose dates could be either way round.
    """
    lines = head.decode("utf-8", "replace").replace("\r\n", "\n").split("\n")
    columns = {field: name for field, name in (columns or {}).items() if field != "year"}
    best: tuple[int, list[str], dict[str, str]] | None = None
    given: str | None = None
    for number, line in enumerate(lines[:HEADER_WITHIN]):
        text = line.strip("\ufeff").rstrip()
        if text.lower().startswith("sep=") and len(text) == 5:
            given = text[4]
            continue
        for delimiter in (given,) if given else DELIMITERS:
            names = [n.strip() for n in split_row(text, delimiter)]
            if len(names) < 3 or "!" in text:
                continue
            try:
                found = columns_of(names, columns)
            except FormatError:
                if len({"mmsi", "lat", "lon"} & columns_of(names).keys()) >= 2:
                    raise
                continue
            if not missing_of(found):
                layout = Layout(
                    archive_format or format_of(names, columns) or "tracks",
                    found,
                    tuple(names),
                    delimiter,
                    number + 1,
                    factors=_factors(found, names, columns, path),
                )
                return _with_order(
                    layout,
                    [split_row(r, delimiter) for r in lines[number + 1 : -1] or lines[number + 1 :]],
                    path,
                    columns,
                )
            score = len({"mmsi", "t", "lat", "lon", "sog", "cog"} & found.keys())
            if score >= 2 and (best is None or score > best[0]):
                best = score, names, found
    if best is not None and (archive_format in TABLE_FORMATS or columns or best[0] >= 3):
        raise near_miss(path, best[1], best[2])
    return None


def _with_order(layout: Layout, rows: list[list[str]], path: str, columns: Mapping[str, str] | None) -> Layout:
    """Whether day or month comes first, as far as it is known."""
    asked = (columns or {}).get("dates")
    if asked:
        return layout._replace(day_first=asked == "day_first")
    try:
        order = times.day_comes_first(layout.moments(rows))
    except FormatError as e:
        raise FormatError(f"{path}: {e}; write them as ISO 8601") from None
    if order is None and layout.format == "dma":
        order = True
    return layout._replace(day_first=order)


def parquet_layout(
    path: str, names: Sequence[str], archive_format: str | None, columns: Mapping[str, str] | None
) -> Layout:
    """Raises ``FormatError`` where a column lacks."""
    found = columns_of(names, columns)
    if missing_of(found):
        raise near_miss(path, names, found)
    kind = archive_format if archive_format in TABLE_FORMATS else format_of(names, columns)
    asked = (columns or {}).get("dates")
    order = asked == "day_first" if asked else True if kind == "dma" else None
    return Layout(kind or "tracks", found, tuple(names), day_first=order, factors=_factors(found, names, columns, path))


def _factors(
    found: Mapping[str, str], names: Sequence[str], columns: Mapping[str, str] | None, path: str
) -> dict[str, float]:
    try:
        return factors_of(found, names, columns)
    except FormatError as e:
        raise FormatError(f"{path}: {e}") from None
