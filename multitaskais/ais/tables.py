"""Decoded archives: tables with one report a row -> ``REPORT_DTYPE``.

| format         | what its times are                                                                         |
|----------------|--------------------------------------------------------------------------------------------|
| marinecadastre | US Coast Guard NAIS, MarineCadastre CSV or Parquet: ISO 8601, UTC                           |
| dma            | Danish Maritime Authority ``aisdk-*.csv``: day first, UTC                                    |
| tracks         | any other table, also this project's tracks: any spelling of ``times``                       |

A table is known by its columns: by their names, whatever their case, blanks and underscores (``layout_of``), in a CSV with commas, semicolons, tabs or
bars, also below comment lines. ``columns`` (our field -> its name there) says what the names do not. How the times are spelt is decided by the values.
Speeds and courses are rounded to the 0.1 of the air, so that single-precision files give the same values as sentences.

Each line end of a CSV is one row, and a bad row costs one row: ``"`` is a letter of AIS and may stand anywhere.
"""

from __future__ import annotations

import csv
import io
import itertools
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from .. import times
from ..errors import FormatError, InputError
from ..records import REPORT_DTYPE, Counts, Reason
from .positions import LAT_MAX, LON_MAX, MMSI_MAX, SOG_NOT_AVAILABLE

TABLE_FORMATS = ("marinecadastre", "dma", "tracks")
UNSETTLED_BYTES = 256 << 20  # of a table are kept while no row has told whether day or month comes first
HEADER_WITHIN = 20  # lines: comments and ``sep=`` may stand before the header
DELIMITERS = (",", ";", "\t", "|")
INNER = "\x1e"  # a delimiter within a quoted field, while the row is taken apart

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
    "mobile": ("typeofmobile",),
    "geometry": ("geometry", "geom", "wkbgeometry", "wkt", "thegeom"),
}  # fmt: skip
_REQUIRED = ("mmsi", "t", "lat", "lon", "sog")
_CALLED = {"mmsi": "the MMSI", "t": "the time", "lat": "the latitude", "lon": "the longitude", "sog": "the speed"}
FIELDS = tuple(_ALIASES)

# ITU-R M.1371-5 table 45, as the archives spell it
_NAV_STATUS = {
    "under way using engine": 0,
    "at anchor": 1,
    "not under command": 2,
    "restricted manoeuvrability": 3,
    "restricted maneuverability": 3,
    "constrained by her draught": 4,
    "moored": 5,
    "aground": 6,
    "engaged in fishing": 7,
    "under way sailing": 8,
    "reserved for future amendment [hsc]": 9,
    "reserved for future amendment [wig]": 10,
    "power-driven vessel towing astern": 11,
    "power-driven vessel pushing ahead or towing alongside": 12,
    "reserved for future use [13]": 13,
    "reserved for future use": 13,
    "ais-sart": 14,
    "ais-sart (active)": 14,
    "undefined": 15,
    "not defined": 15,
}
# ITU-R M.1371-5 table 53, as the Danish archive spells it
_SHIP_TYPE = {
    "wig": 20,
    "fishing": 30,
    "towing": 31,
    "towing long/wide": 32,
    "dredging": 33,
    "diving": 34,
    "military": 35,
    "sailing": 36,
    "pleasure": 37,
    "hsc": 40,
    "pilot": 50,
    "sar": 51,
    "tug": 52,
    "port tender": 53,
    "anti-pollution": 54,
    "law enforcement": 55,
    "spare 1": 56,
    "spare 2": 57,
    "medical": 58,
    "not party to conflict": 59,
    "passenger": 60,
    "cargo": 70,
    "tanker": 80,
    "other": 90,
}
# MarineCadastre files before 2018 carry codes of the vessel register in place of the air's (their vessel type table)
_REGISTER_TYPE = {1001: 30, 1002: 30, 1003: 70, 1004: 70, 1012: 60, 1013: 60, 1014: 60, 1015: 60, 1016: 70, 1017: 80}
_REGISTER_TYPE |= {1019: 37, 1023: 52, 1024: 80, 1025: 31}
_VESSELS = {"class a", "class b"}  # other mobiles of the Danish archive are stations, marks and aircraft


class Layout(NamedTuple):
    """How a table is laid out."""

    format: str
    fields: dict[str, str]  # our field -> the column's name
    names: tuple[str, ...]  # of all columns, in order
    delimiter: str = ","
    lines_before: int = 0  # of a CSV: up to and with the header
    day_first: bool | None = None  # of dates of two numbers and a year, where it is known


def _plain(name: str) -> str:
    name = name.strip().strip("\ufeff").strip('"').lower().partition("(")[0].partition("[")[0]
    return name.replace(" ", "").replace("_", "").replace(".", "").replace("-", "")


def parse_columns(text: str | None) -> dict[str, str]:
    """``--columns``: ``sog=Speed,cog=Course``, our field -> the column's name. Raises ``FormatError``."""
    out: dict[str, str] = {}
    for item in (text or "").split(","):
        if not item.strip():
            continue
        field, equals, name = (part.strip() for part in item.partition("="))
        if not equals or not name or field not in (*FIELDS, "dates"):
            known = ", ".join(f for f in FIELDS if f != "mobile")
            raise FormatError(
                f"--columns {item.strip()}: give FIELD=COLUMN with FIELD one of {known}, or dates=day_first or dates=month_first"
            )
        if field == "dates" and name not in ("day_first", "month_first"):
            raise FormatError(f"--columns {item.strip()}: give dates=day_first or dates=month_first")
        out[field] = name
    return out


def columns_of(names: Sequence[str], columns: Mapping[str, str] | None = None) -> dict[str, str]:
    """Our field -> the column's name in the file: the one that ``columns`` gives, else the first alias that is there."""
    by_plain = {_plain(n): n for n in reversed(names)}
    found = {ours: by_plain[a] for ours, aliases in _ALIASES.items() for a in reversed(aliases) if a in by_plain}
    for field, name in (columns or {}).items():
        if field == "dates":
            continue
        if _plain(name) not in by_plain:
            raise FormatError(f"--columns {field}={name}: there is no such column; there are {', '.join(names)}")
        found[field] = by_plain[_plain(name)]
    if {"lat", "lon"} <= found.keys():
        found.pop("geometry", None)
    return found


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


def _split(line: str, delimiter: str) -> list[str]:
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
    best: tuple[int, list[str], dict[str, str]] | None = None
    given: str | None = None
    for number, line in enumerate(lines[:HEADER_WITHIN]):
        text = line.strip("\ufeff").rstrip()
        if text.lower().startswith("sep=") and len(text) == 5:
            given = text[4]
            continue
        for delimiter in (given,) if given else DELIMITERS:
            names = [n.strip() for n in _split(text, delimiter)]
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
                    archive_format or format_of(names, columns) or "tracks", found, tuple(names), delimiter, number + 1
                )
                return _with_order(
                    layout, [_split(r, delimiter) for r in lines[number + 1 : -1] or lines[number + 1 :]], path, columns
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
    at = layout.names.index(layout.fields["t"].strip())
    try:
        order = times.day_comes_first([r[at] for r in rows if len(r) == len(layout.names)])
    except FormatError as e:
        raise FormatError(f"{path}: {e}; write them as ISO 8601") from None
    if order is None and layout.format == "dma":
        order = True
    return layout._replace(day_first=order)


_ASCII = bytes(c if c < 128 else ord("?") for c in range(256))  # the CSV reader's row handler cannot be given others


def csv_reports(
    blocks: Iterable[bytes], layout: Layout, path: str, chunk: int
) -> Iterator[tuple[NDArray[np.void], Counts]]:
    """Reports of the rows in ``blocks`` (whole lines, the header among the first). One row a line end, whatever stands in it."""
    before = layout.lines_before
    if layout.day_first is None:
        blocks, layout = _settled(blocks, layout, path)
    for block in blocks:
        text = block.replace(b"\r\n", b"\n").replace(b"\r", b" ")
        while before and text:
            _, _, text = text.partition(b"\n")
            before -= 1
        n = text.count(b"\n") + (not text.endswith(b"\n") and bool(text))
        if n:
            try:
                table = _rows(text, layout)
            except pa.ArrowException as e:
                raise InputError(f"{path}: not readable as {layout.format} CSV ({str(e).splitlines()[0]})") from None
            bad = n - table.num_rows
            for start in range(0, max(table.num_rows, 1), chunk):
                part = table.slice(start, chunk)
                reports, counts = to_reports(
                    {field: _one(part.column(name)) for field, name in layout.fields.items()},
                    layout.format,
                    layout.day_first,
                    path,
                )
                counts.received += bad
                counts.reject(Reason.MALFORMED, bad)
                bad = 0
                yield reports, counts


def _settled(blocks: Iterable[bytes], layout: Layout, path: str) -> tuple[Iterable[bytes], Layout]:
    """The same blocks, with the order of day and month as the first row that decides it has it; None where no row needs it."""
    waiting: list[bytes] = []
    rest = iter(blocks)
    at = layout.names.index(layout.fields["t"])
    skip = layout.lines_before
    short = False
    for block in rest:
        waiting.append(block)
        lines = block.decode("latin-1").splitlines()[skip:]
        skip = 0
        values = [r[at] for r in (_split(line, layout.delimiter) for line in lines) if len(r) == len(layout.names)]
        try:
            order = times.day_comes_first(values)
        except FormatError as e:
            raise FormatError(f"{path}: {e}; write them as ISO 8601") from None
        short |= any(times.is_short_date(v) for v in values[:100])
        if order is not None or not short or sum(map(len, waiting)) > UNSETTLED_BYTES:
            return itertools.chain(waiting, rest), layout._replace(day_first=order)
    return waiting, layout


def _one(column: pa.ChunkedArray) -> pa.Array:
    combined = column.combine_chunks()
    return pa.concat_arrays(combined.chunks) if isinstance(combined, pa.ChunkedArray) else combined


def _rows(text: bytes, layout: Layout) -> pa.Table:
    """The well-formed rows, all columns as bytes."""
    # Names may be there twice: columns are told apart by their place.
    place = {name: f"{i}" for i, name in reversed(list(enumerate(layout.names)))}
    if b'"' in text:
        text = b"\n".join(_unquoted(line, layout) if b'"' in line else line for line in text.split(b"\n"))
    table = pa.csv.read_csv(
        io.BytesIO(text.translate(_ASCII)),
        read_options=pa.csv.ReadOptions(
            block_size=len(text) + 64, use_threads=False, column_names=[f"{i}" for i in range(len(layout.names))]
        ),
        parse_options=pa.csv.ParseOptions(
            delimiter=layout.delimiter, quote_char=False, ignore_empty_lines=True, invalid_row_handler=lambda _: "skip"
        ),
        convert_options=pa.csv.ConvertOptions(
            check_utf8=False,
            column_types={f"{i}": pa.binary() for i in range(len(layout.names))},
            include_columns=[place[n] for n in dict.fromkeys(layout.fields.values())],
        ),
    )
    return table.rename_columns(list(dict.fromkeys(layout.fields.values())))


def _unquoted(line: bytes, layout: Layout) -> bytes:
    """One line with its fields bare; a delimiter within a field is ``INNER``. A quote without its pair is a letter."""
    text = line.decode("latin-1")
    fields = _split(text, layout.delimiter)
    if len(fields) != len(layout.names):
        fields = text.split(layout.delimiter)
    return layout.delimiter.join(f.replace(layout.delimiter, INNER).replace("\n", " ") for f in fields).encode(
        "latin-1", "replace"
    )


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
    return Layout(kind or "tracks", found, tuple(names), day_first=order)


def parquet_reports(
    source: str | IO[bytes],
    archive_format: str | None,
    chunk: int,
    path: str = "",
    columns: Mapping[str, str] | None = None,
    row_groups: Sequence[int] | None = None,
) -> Iterator[tuple[NDArray[np.void], Counts]]:
    """Stream a Parquet archive: MarineCadastre's columns, our own tracks, or any table of reports; of GeoParquet its points."""
    path = path or str(source)
    try:
        with pq.ParquetFile(source) as f:
            layout = parquet_layout(path, f.schema_arrow.names, archive_format, columns)
            wanted = list(dict.fromkeys(layout.fields.values()))
            for batch in f.iter_batches(batch_size=chunk, columns=wanted, row_groups=row_groups):
                yield to_reports(
                    {k: batch.column(v) for k, v in layout.fields.items()}, layout.format, layout.day_first, path
                )
    except (pa.ArrowException, OSError) as e:
        raise InputError(f"{path}: not readable as Parquet ({str(e).splitlines()[0]})") from None


def to_reports(
    columns: dict[str, pa.Array], archive_format: str, day_first: bool | None = None, path: str = ""
) -> tuple[NDArray[np.void], Counts]:
    """Columns of n rows -> the accepted reports and the counts of all rows.

    Raises ``FormatError`` where day and month of its dates could be either.
    """
    n = len(columns["mmsi"])
    mmsi = _floats(columns["mmsi"])
    t = _times(columns["t"], True if archive_format == "dma" and day_first is None else day_first, path)
    if "lat" in columns and "lon" in columns:
        lat, lon = _floats(columns["lat"]), _floats(columns["lon"])
    else:
        lat, lon = points_of(columns["geometry"], path)
    reason = np.zeros(n, dtype=np.uint8)
    tests: list[tuple[Reason, NDArray[np.bool_]]] = [
        (Reason.NO_TIME, np.isnan(t)),
        (Reason.BAD_MMSI, ~((mmsi >= 1) & (mmsi <= MMSI_MAX))),
        (Reason.NO_POSITION, ~((np.abs(lat) <= LAT_MAX) & (np.abs(lon) <= LON_MAX))),
    ]
    if "mobile" in columns:
        vessel = _mapped(columns["mobile"], dict.fromkeys(_VESSELS, 1), 0) == 1
        tests.insert(0, (Reason.NOT_A_POSITION, ~vessel))
    counts = Counts(received=n)
    for i, (why, failed) in enumerate(tests):
        new = failed & (reason == 0)
        reason[new] = i + 1
        counts.reject(why, int(np.count_nonzero(new)))
    keep = np.flatnonzero(reason == 0)
    counts.accepted = len(keep)
    out = np.zeros(len(keep), dtype=REPORT_DTYPE)
    out["mmsi"], out["t"], out["lat"], out["lon"] = mmsi[keep], t[keep], lat[keep], lon[keep]
    for name, missing_from, decimals in (("sog", SOG_NOT_AVAILABLE, 1), ("cog", 360.0, 1), ("heading", 360.0, 0)):
        out[name], lost = _measured(columns, name, keep, missing_from, decimals)
        counts.blank(name, lost)
    out["nav_status"] = _codes(columns, "nav_status", keep, _NAV_STATUS, 15, 0)
    out["msg_type"] = _codes(columns, "msg_type", keep, {}, 27, 1)
    out["ship_type"] = _codes(
        columns, "ship_type", keep, _SHIP_TYPE | {str(k): v for k, v in _REGISTER_TYPE.items()}, 255, 1
    )
    if "ship_name" in columns:
        names = columns["ship_name"].take(pa.array(keep)).to_pylist()
        out["ship_name"] = [_name(v) for v in names]
    return out, counts


def _name(value: object) -> bytes:
    raw = value.encode("ascii", "replace") if isinstance(value, str) else value
    raw = raw.replace(INNER.encode(), b",") if isinstance(raw, bytes) else raw
    return raw.split(b"@", 1)[0].strip()[:20] if isinstance(raw, bytes) and raw != b"Unknown" else b""


# Values that say "not available" and are no loss: ITU-R M.1371-5, and what archives write for it.
_SENTINELS = {"sog": (102.3, -0.1, 1023.0), "cog": (360.0, 409.5, 511.0, -49.6, 3600.0), "heading": (511.0, 360.0)}
COG_WRAP_DEG = 409.6  # a course of 12 bits that was read as a signed number: -149.6 is 260.0


def _measured(
    columns: dict[str, pa.Array], name: str, keep: NDArray[np.int64], missing_from: float, decimals: int
) -> tuple[NDArray[np.float64], int]:
    """Rounded to the resolution of the air; NaN below 0 and from ``missing_from`` on; and how many values that blanked."""
    if name not in columns:
        return np.full(len(keep), np.nan), 0
    value = np.round(_floats(columns[name])[keep], decimals)
    if name == "cog":
        wrapped = (value < 0) & (value >= -COG_WRAP_DEG / 2)
        value = np.where(wrapped, np.round(value + COG_WRAP_DEG, decimals), value)
    good = (value >= 0) & (value < missing_from)
    blanked = ~good & ~np.isnan(value) & ~np.isin(value, _SENTINELS[name])
    return np.where(good, value, np.nan), int(np.count_nonzero(blanked))


def _codes(
    columns: dict[str, pa.Array], name: str, keep: NDArray[np.int64], texts: dict[str, int], top: int, bottom: int
) -> NDArray[np.int64]:
    """Whole numbers bottom..top, or one of ``texts``; -1 for all else."""
    if name not in columns:
        return np.full(len(keep), -1)
    column = columns[name].take(pa.array(keep))
    if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
        value = _floats(column)
        for text, code in texts.items():
            if text.isdigit():
                value[value == int(text)] = code
    else:
        value = _mapped(column, texts, -1, numbers=True)
    ok = (value >= bottom) & (value <= top) & (value == np.floor(value))
    return np.where(ok, value, -1).astype(np.int64)


def _mapped(column: pa.Array, texts: dict[str, int], default: int, numbers: bool = False) -> NDArray[np.float64]:
    """Text of few distinct values -> codes."""

    def code(value: object) -> float:
        text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")
        text = text.strip().lower()
        if text in texts:
            return texts[text]
        try:
            number = float(text) if numbers else default
        except ValueError:
            return default
        return texts.get(str(int(number)), number) if number == number and abs(number) < 1e6 else default

    encoded = pc.dictionary_encode(column)
    table = np.array([code(v) for v in encoded.dictionary.to_pylist()] + [default], dtype=np.float64)
    return table[pc.fill_null(encoded.indices, len(table) - 1).to_numpy(zero_copy_only=False)]


def _text(column: pa.Array) -> pa.Array:
    """Trimmed text, null where empty; raises ArrowInvalid on bad UTF-8."""
    text = pc.utf8_trim_whitespace(column.cast(pa.string()))
    return pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)


def _floats(column: pa.Array) -> NDArray[np.float64]:
    """(n,) numbers, NaN where there is none."""
    if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
        value = column.cast(pa.float64())
    else:
        try:
            value = _text(column).cast(pa.float64())
        except pa.ArrowInvalid:  # some value is no number, or has a decimal comma: one by one
            return np.array([_float(v) for v in column.to_pylist()], dtype=np.float64)
    return np.array(pc.fill_null(value, float("nan")).to_numpy(zero_copy_only=False), dtype=np.float64)


def _float(value: object) -> float:
    if isinstance(value, bytes):
        value = value.decode("ascii", "replace")
    if isinstance(value, str):
        value = value.replace(INNER, ",").strip()
        if value.count(",") == 1 and "." not in value:
            value = value.replace(",", ".")
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return float("nan")


_ISO = "%Y-%m-%dT%H:%M:%S"
_DAY_FIRST = "%d/%m/%Y %H:%M:%S"
# What may follow the first 19 characters of the usual spellings and changes nothing.
_PLAIN_ENDS = ("", "Z", ".0", ".000", ".0Z", ".000Z", "+00:00", " UTC")


def _times(column: pa.Array, day_first: bool | None, path: str) -> NDArray[np.float64]:
    """(n,) Unix s, UTC; NaN where it is no time."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_timestamp(column.type):
        us = column.cast(pa.timestamp("us"), safe=False).cast(pa.int64())
        return _floats(us) / 1e6
    if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
        return _epochs(_floats(column))
    try:
        text = _text(column)
    except pa.ArrowInvalid:
        text = pa.array([v.decode("ascii", "replace").strip() if v else None for v in column.to_pylist()], pa.string())
    first = (
        next((v for v in text.to_pylist() if v), "")
        if len(text) < 64
        else next((v for v in text[:64].to_pylist() if v), "")
    )
    if first.replace(".", "", 1).isdigit() and len(first.partition(".")[0]) != 14:
        numbers = _floats(text)
        return np.where(np.isnan(numbers), _times_one_by_one(text, day_first, path), _epochs(numbers))
    t = _usual_times(text, _DAY_FIRST if times.is_short_date(first) and day_first else _ISO)
    odd = np.flatnonzero(np.isnan(t))
    if len(odd):
        t[odd] = _times_one_by_one(text.take(pa.array(odd)), day_first, path)
    return t


def _epochs(value: NDArray[np.float64]) -> NDArray[np.float64]:
    """Counts of s, ms, us or ns -> s; a number that is no moment of AIS in any unit stays as it is, for the screen to reject."""
    t = value.copy()
    for unit in (1e3, 1e6, 1e9):
        seconds = value / unit
        t = np.where((value >= times.LATEST) & (seconds >= times.EARLIEST) & (seconds < times.LATEST), seconds, t)
    return t


def _usual_times(text: pa.Array, spelling: str) -> NDArray[np.float64]:
    """Those in the one usual spelling; NaN for all others."""
    begin = pc.utf8_slice_codeunits(text, 0, 19)
    if spelling == _ISO:
        begin = pc.replace_substring(begin, " ", "T")
    # the parser would take 30 February for 1 March: what it read must spell what stands there
    stamp = pc.strptime(begin, format=spelling, unit="s", error_is_null=True)
    same = pc.and_(
        pc.equal(pc.strftime(stamp, format=spelling), begin),
        pc.is_in(pc.utf8_slice_codeunits(text, 19), value_set=pa.array(_PLAIN_ENDS)),
    )
    stamp = pc.if_else(same, stamp, pa.scalar(None, stamp.type))
    return _floats(stamp.cast(pa.int64()))


def _times_one_by_one(text: pa.Array, day_first: bool | None, path: str) -> NDArray[np.float64]:
    values = ["" if v is None else v for v in text.to_pylist()]
    try:
        return times.read_column(values, day_first).t
    except FormatError as e:
        raise FormatError(f"{path}: {e}; say it with --columns dates=day_first or dates=month_first") from None


def points_of(column: pa.Array, path: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(latitude, longitude), each (n,), of points in WKB or WKT; NaN where there is no point."""
    lat, lon = np.full(len(column), np.nan), np.full(len(column), np.nan)
    if not (
        pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type) or pa.types.is_string(column.type)
    ):
        raise FormatError(f"{path}: its geometry is {column.type}: write the points as WKB, or as columns lat and lon")
    for i, value in enumerate(column.to_pylist()):
        point = _point(value)
        if point is not None:
            lon[i], lat[i] = point
    return lat, lon


def _point(value: bytes | str | None) -> tuple[float, float] | None:
    if not value:
        return None
    if isinstance(value, bytes) and len(value) >= 21 and value[0] in (0, 1):
        order = "<" if value[0] else ">"
        (kind,) = struct.unpack(order + "I", value[1:5])
        at = 9 if kind & 0x20000000 else 5  # extended WKB names the reference system first
        if kind & 0xFF == 1 and len(value) >= at + 16:
            x, y = struct.unpack(order + "dd", value[at : at + 16])
            return x, y
        return None
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else value
    try:
        # POINT (lon lat), also with SRID=4326; before it, or as hexadecimal WKB
        if "POINT" in text.upper():
            x, y = text.upper().partition("POINT")[2].strip(" ZM()").split()[:2]
            return float(x), float(y.strip(")"))
        return _point(bytes.fromhex(text))
    except ValueError:
        return None
