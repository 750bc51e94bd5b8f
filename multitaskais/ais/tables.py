"""Decoded archives: tables with one report a row -> ``REPORT_DTYPE``.

| format         | source                                             | time column                          |
|----------------|----------------------------------------------------|--------------------------------------|
| marinecadastre | US Coast Guard NAIS, MarineCadastre CSV or Parquet | ``BaseDateTime``, ISO 8601, UTC      |
| dma            | Danish Maritime Authority ``aisdk-*.csv``          | ``# Timestamp``, day first, UTC      |
| tracks         | this project's tracks Parquet                      | ``t``, Unix s                        |

Columns are found by name, whatever their case, blanks and underscores. Speeds and courses are rounded to the 0.1 of the
air, so that single-precision files give the same values as sentences.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..errors import FormatError, InputError
from ..records import REPORT_DTYPE, Counts, Reason
from .positions import LAT_MAX, LON_MAX, MMSI_MAX, SOG_NOT_AVAILABLE

TABLE_FORMATS = ("marinecadastre", "dma", "tracks")
CSV_BLOCK_BYTES = 1 << 22

# our field -> names in the wild, lower case without blanks and underscores
_ALIASES: dict[str, tuple[str, ...]] = {
    "mmsi": ("mmsi",),
    "t": ("t", "basedatetime", "#timestamp", "timestamp"),
    "lat": ("lat", "latitude"),
    "lon": ("lon", "longitude"),
    "sog": ("sog",),
    "cog": ("cog",),
    "heading": ("heading",),
    "nav_status": ("navstatus", "status", "navigationalstatus"),
    "msg_type": ("msgtype",),
    "ship_type": ("shiptype", "vesseltype"),
    "ship_name": ("shipname", "vesselname", "name"),
    "mobile": ("typeofmobile",),
}
_REQUIRED = ("mmsi", "t", "lat", "lon")

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


def _plain(name: str) -> str:
    return name.strip().strip("\ufeff").strip('"').lower().replace(" ", "").replace("_", "")


def columns_of(names: list[str]) -> dict[str, str]:
    """Our field -> the column's name in the file; the first alias that is there."""
    by_plain = {_plain(n): n for n in reversed(names)}
    return {ours: by_plain[a] for ours, aliases in _ALIASES.items() for a in reversed(aliases) if a in by_plain}


def format_of(names: list[str]) -> str | None:
    """The table format whose columns these are."""
    plain = {_plain(n) for n in names}
    if not all(f in columns_of(names) for f in _REQUIRED):
        return None
    if "basedatetime" in plain:
        return "marinecadastre"
    if "#timestamp" in plain or "timestamp" in plain:
        return "dma"
    return "tracks"


def table_format(header: bytes) -> str | None:
    """The table format whose header line this is; None when it is none."""
    return format_of(header.decode("utf-8", "replace").rstrip("\r\n").split(","))


class _Ascii(io.RawIOBase):
    """A stream with each byte beyond ASCII as '?': the CSV reader's row handler cannot be given others."""

    _TABLE = bytes(c if c < 128 else ord("?") for c in range(256))

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        data = self._stream.read(len(buffer)).translate(self._TABLE)
        buffer[: len(data)] = data
        return len(data)


def csv_reports(
    stream: IO[bytes], archive_format: str, path: str, chunk: int
) -> Iterator[tuple[NDArray[np.void], Counts]]:
    """Stream a CSV archive. Rows with a wrong number of columns are counted as malformed."""
    bad_rows = [0]

    def bad_row(_: object) -> str:
        bad_rows[0] += 1
        return "skip"

    try:
        header = _header(stream)
        names = header.split(",")
        found = columns_of(names)
        _require(found, path)
        reader = pa.csv.open_csv(
            _Ascii(stream),
            read_options=pa.csv.ReadOptions(
                block_size=CSV_BLOCK_BYTES, use_threads=False, column_names=[n.strip('"') for n in names]
            ),
            parse_options=pa.csv.ParseOptions(invalid_row_handler=bad_row),
            convert_options=pa.csv.ConvertOptions(
                check_utf8=False,
                column_types={n.strip('"'): pa.binary() for n in names},
                include_columns=[n.strip('"') for n in dict.fromkeys(found.values())],
            ),
        )
        by_field = {ours: n.strip('"') for ours, n in found.items()}
        for batch in reader:
            for start in range(0, batch.num_rows, chunk):
                part = batch.slice(start, chunk)
                reports, counts = to_reports({k: part.column(v) for k, v in by_field.items()}, archive_format)
                _add_malformed(counts, bad_rows)
                yield reports, counts
        if bad_rows[0]:
            counts = Counts()
            _add_malformed(counts, bad_rows)
            yield np.zeros(0, REPORT_DTYPE), counts
    except (pa.ArrowException, KeyError) as e:
        if "Empty CSV" in str(e):
            return
        raise InputError(
            f"{path}: not readable as {archive_format} CSV ({(str(e) or type(e).__name__).splitlines()[0]})"
        ) from None
    except (OSError, EOFError) as e:
        raise InputError(f"{path}: cannot be read ({e})") from None


def _header(stream: IO[bytes]) -> str:
    return stream.readline().decode("utf-8", "replace").strip("\ufeff\r\n")


def _require(found: dict[str, str], path: str) -> None:
    if missing := [f for f in _REQUIRED if f not in found]:
        expected = ", ".join("/".join(_ALIASES[f]) for f in missing)
        raise FormatError(f"{path}: line 1 has no column for {expected}; give --format if it is no table of reports")


def _add_malformed(counts: Counts, bad_rows: list[int]) -> None:
    counts.received += bad_rows[0]
    counts.reject(Reason.MALFORMED, bad_rows[0])
    bad_rows[0] = 0


def parquet_reports(path: str, archive_format: str | None, chunk: int) -> Iterator[tuple[NDArray[np.void], Counts]]:
    """Stream a Parquet archive: MarineCadastre's columns, or our own tracks."""
    try:
        with pq.ParquetFile(path) as f:
            names = f.schema_arrow.names
            found = columns_of(names)
            _require(found, path)
            kind = archive_format if archive_format in TABLE_FORMATS else format_of(names)
            for batch in f.iter_batches(batch_size=chunk, columns=list(dict.fromkeys(found.values()))):
                yield to_reports({k: batch.column(v) for k, v in found.items()}, kind or "tracks")
    except (pa.ArrowException, OSError) as e:
        raise InputError(f"{path}: not readable as Parquet ({str(e).splitlines()[0]})") from None


def to_reports(columns: dict[str, pa.Array], archive_format: str) -> tuple[NDArray[np.void], Counts]:
    """Columns of n rows -> the accepted reports and the counts of all rows."""
    n = len(columns["mmsi"])
    mmsi = _floats(columns["mmsi"])
    t = _times(columns["t"], archive_format)
    lat, lon = _floats(columns["lat"]), _floats(columns["lon"])
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
    out["sog"] = _measured(columns, "sog", keep, SOG_NOT_AVAILABLE, 1)
    out["cog"] = _measured(columns, "cog", keep, 360.0, 1)
    out["heading"] = _measured(columns, "heading", keep, 360.0, 0)
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
    return raw.split(b"@", 1)[0].strip()[:20] if isinstance(raw, bytes) and raw != b"Unknown" else b""


def _measured(
    columns: dict[str, pa.Array], name: str, keep: NDArray[np.int64], missing_from: float, decimals: int
) -> NDArray[np.float64]:
    """Rounded to the resolution of the air; NaN below 0 and from ``missing_from`` on."""
    if name not in columns:
        return np.full(len(keep), np.nan)
    value = np.round(_floats(columns[name])[keep], decimals)
    return np.where((value >= 0) & (value < missing_from), value, np.nan)


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
        except pa.ArrowInvalid:  # some value is no number: one by one
            return np.array([_float(v) for v in column.to_pylist()], dtype=np.float64)
    return np.array(pc.fill_null(value, float("nan")).to_numpy(zero_copy_only=False), dtype=np.float64)


def _float(value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return float("nan")


_TIME_FORMATS = {"marinecadastre": "%Y-%m-%dT%H:%M:%S", "dma": "%d/%m/%Y %H:%M:%S", "tracks": "%Y-%m-%dT%H:%M:%S"}


def _times(column: pa.Array, archive_format: str) -> NDArray[np.float64]:
    """(n,) Unix s, UTC; NaN where it is no time."""
    if pa.types.is_timestamp(column.type):
        us = column.cast(pa.timestamp("us"), safe=False).cast(pa.int64())
        return _floats(us) / 1e6
    if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
        return _floats(column)
    try:
        text = _text(column)
    except pa.ArrowInvalid:
        text = pa.array([v.decode("ascii", "replace").strip() if v else None for v in column.to_pylist()], pa.string())
    text = pc.utf8_slice_codeunits(text, 0, 19)
    if archive_format != "dma":
        text = pc.replace_substring(text, " ", "T")
    # the parser would take 30 February for 1 March: what it read must spell what stands there
    stamp = pc.strptime(text, format=_TIME_FORMATS[archive_format], unit="s", error_is_null=True)
    same = pc.equal(pc.strftime(stamp, format=_TIME_FORMATS[archive_format]), text)
    stamp = pc.if_else(same, stamp, pa.scalar(None, stamp.type))
    return _floats(stamp.cast(pa.int64()))
