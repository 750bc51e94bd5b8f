"""The wrappings: one function each, from reports and an empty folder to what is given to a command. A new format is one more function.

All of them hold the same reports, on the grid of the air; so every command must find the same in each.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import struct
import tarfile
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from multitaskais.ais.encode import cdv_lines
from multitaskais.ais.framing import checksum
from tests.support.builders import MMSI, merged, sail

START = datetime(2024, 5, 11, 12, 0, tzinfo=UTC).timestamp()  # the 13th is in it: day and month are told apart
Wrapping = Callable[[np.ndarray, Path], Path]
WRAPPINGS: dict[str, Wrapping] = {}


def wrapping(make: Wrapping) -> Wrapping:
    WRAPPINGS[make.__name__] = make
    return make


def one_fleet() -> np.ndarray:
    """Four ships on three days around the 13th of May, one of them with a displaced stretch; on the grid of the air, in order of time."""
    ships = [
        sail(
            150,
            60.0,
            mmsi=MMSI + i,
            t=START + day * 86_400.0 + 7.0 * i,
            lat=48.0 + 0.1 * i,
            lon=-5.5,
            sog=9.0 + i,
            cog=80.0 + 5 * i,
        )
        for i, day in enumerate((0, 1, 2, 2))
    ]
    ships[3]["lat"][70:90] += 0.31  # 34 km
    fleet = merged(*ships)
    for name in ("lat", "lon"):
        fleet[name] = np.rint(np.rint(fleet[name] * 600_000) * 5 / 3) / 1e6
    fleet["t"] = np.rint(fleet["t"])
    fleet["sog"], fleet["cog"] = np.round(fleet["sog"], 1), np.round(fleet["cog"], 1)
    fleet["heading"] = np.round(fleet["cog"])
    fleet["ship_type"] = -1
    return fleet


# ---------------------------------------------------------------- pieces


def moment(t: float) -> datetime:
    return datetime.fromtimestamp(t, UTC)


def sentences(reports: np.ndarray) -> list[str]:
    return [line[20:] for line in cdv_lines(reports).tobytes().decode().splitlines()]


def lines(reports: np.ndarray, line: Callable[[float, str], str]) -> bytes:
    pairs = zip(reports["t"].tolist(), sentences(reports), strict=True)
    return "".join(line(t, s) + "\n" for t, s in pairs).encode()


def tag(fields: str) -> str:
    return f"\\{fields}*{checksum(fields.encode()):02X}\\"


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def cdv(reports: np.ndarray) -> bytes:
    return cdv_lines(reports).tobytes()


def table(
    reports: np.ndarray,
    columns: dict[str, Callable[[tuple], str]],
    delimiter: str = ",",
    before: str = "",
    end: str = "\n",
) -> bytes:
    """CSV; each column from a row (mmsi, t, lat, lon, sog, cog, heading)."""
    rows = zip(*(reports[n].tolist() for n in ("mmsi", "t", "lat", "lon", "sog", "cog", "heading")), strict=True)
    text = [before + delimiter.join(columns)] + [delimiter.join(of(row) for of in columns.values()) for row in rows]
    return (end.join(text) + end).encode()


def iso(row: tuple) -> str:
    return f"{moment(row[1]):%Y-%m-%dT%H:%M:%S}"


def field(i: int) -> Callable[[tuple], str]:
    return lambda row: str(row[i])


def whole(i: int) -> Callable[[tuple], str]:
    return lambda row: f"{row[i]:.0f}"


MARINECADASTRE = {
    "MMSI": field(0), "BaseDateTime": iso, "LAT": field(2), "LON": field(3), "SOG": field(4), "COG": field(5), "Heading": field(6),
}  # fmt: skip


# ---------------------------------------------------------------- sentences: where the time stands


@wrapping
def cdv_plain(reports: np.ndarray, folder: Path) -> Path:
    return write(folder / "a.cdv", cdv(reports))


@wrapping
def cdv_carriage_returns(reports: np.ndarray, folder: Path) -> Path:
    return write(folder / "a.cdv", cdv(reports).replace(b"\n", b"\r\n"))


@wrapping
def cdv_old_mac(reports: np.ndarray, folder: Path) -> Path:
    return write(folder / "a.cdv", cdv(reports).replace(b"\n", b"\r"))


@wrapping
def cdv_byte_order_mark(reports: np.ndarray, folder: Path) -> Path:
    return write(folder / "a.cdv", b"\xef\xbb\xbf" + cdv(reports))


@wrapping
def cdv_utf16(reports: np.ndarray, folder: Path) -> Path:
    return write(folder / "a.cdv", cdv(reports).decode().encode("utf-16"))


@wrapping
def cdv_utf16_without_mark(reports: np.ndarray, folder: Path) -> Path:
    return write(folder / "a.cdv", cdv(reports).decode().encode("utf-16-le"))


@wrapping
def iso_blank(reports: np.ndarray, folder: Path) -> Path:
    return write(folder / "a.log", lines(reports, lambda t, s: f"{moment(t):%Y-%m-%d %H:%M:%S} {s}"))


@wrapping
def iso_brackets_milliseconds(reports: np.ndarray, folder: Path) -> Path:
    return write(folder / "a.log", lines(reports, lambda t, s: f"[{moment(t):%Y-%m-%d %H:%M:%S}.000] {s}"))


@wrapping
def iso_offset(reports: np.ndarray, folder: Path) -> Path:
    zone = timezone(timedelta(hours=5, minutes=30))
    return write(folder / "a.log", lines(reports, lambda t, s: f"{datetime.fromtimestamp(t, zone).isoformat()} {s}"))


@wrapping
def epoch_before(reports: np.ndarray, folder: Path) -> Path:
    return write(folder / "a.log", lines(reports, lambda t, s: f"{t:.0f} {s}"))


@wrapping
def signalk(reports: np.ndarray, folder: Path) -> Path:
    return write(folder / "a.log", lines(reports, lambda t, s: f"{t * 1000:.0f};N;{s}"))


@wrapping
def opencpn_recording(reports: np.ndarray, folder: Path) -> Path:
    head = b"# timestamp_format: EPOCH_MILLIS\nreceived_at,protocol,msg_type,source,raw_data\n"
    body = lines(reports, lambda t, s: f'{t * 1000:.0f},NMEA0183,VDM,"tcp:192.0.2.1:3000","{s}"')
    return write(folder / "a.csv", head + body)


@wrapping
def tag_block(reports: np.ndarray, folder: Path) -> Path:
    return write(folder / "a.nm4", lines(reports, lambda t, s: tag(f"s:r003669987,c:{t:.0f}") + s))


@wrapping
def tag_block_milliseconds(reports: np.ndarray, folder: Path) -> Path:
    return write(folder / "a.nm4", lines(reports, lambda t, s: tag(f"c:{t * 1000:.0f},s:x") + s))


@wrapping
def tag_block_microseconds(reports: np.ndarray, folder: Path) -> Path:
    return write(folder / "a.nm4", lines(reports, lambda t, s: tag(f"c:{t * 1e6:.0f}") + s))


@wrapping
def tag_block_fraction(reports: np.ndarray, folder: Path) -> Path:
    return write(folder / "a.nm4", lines(reports, lambda t, s: tag(f"c:{t:.2f}") + s))


@wrapping
def tag_block_behind_a_prefix(reports: np.ndarray, folder: Path) -> Path:
    return write(folder / "a.nm4", lines(reports, lambda t, s: "gateway 7: " + tag(f"c:{t:.0f}") + s))


@wrapping
def tag_block_on_its_own_line(reports: np.ndarray, folder: Path) -> Path:
    return write(folder / "a.nm4", lines(reports, lambda t, s: tag(f"c:{t:.0f}") + "\n" + s))


@wrapping
def uscg_suffix(reports: np.ndarray, folder: Path) -> Path:
    return write(folder / "a.nmea", lines(reports, lambda t, s: f"{s},r003669987,{t:.0f}"))


@wrapping
def millisecond_suffix(reports: np.ndarray, folder: Path) -> Path:
    return write(folder / "a.nmea", lines(reports, lambda t, s: f"{s},{t * 1000:.0f}"))


@wrapping
def aiscatcher_text(reports: np.ndarray, folder: Path) -> Path:
    return write(
        folder / "a.txt",
        lines(
            reports,
            lambda t, s: f"{s} ( MSG: 1, REPEAT: 0, MMSI: 982006760, ppm: 1.0, timestamp: {moment(t):%Y%m%d%H%M%S})",
        ),
    )


@wrapping
def aiscatcher_json(reports: np.ndarray, folder: Path) -> Path:
    return write(
        folder / "a.jsonl", lines(reports, lambda t, s: json.dumps({"class": "AIS", "rxuxtime": int(t), "nmea": [s]}))
    )


@wrapping
def aiscatcher_json_rxtime(reports: np.ndarray, folder: Path) -> Path:
    return write(
        folder / "a.json", lines(reports, lambda t, s: json.dumps({"rxtime": f"{moment(t):%Y%m%d%H%M%S}", "nmea": [s]}))
    )


@wrapping
def container_log(reports: np.ndarray, folder: Path) -> Path:
    def line(t: float, s: str) -> str:
        return json.dumps({"log": s + "\n", "stream": "stdout", "time": f"{moment(t):%Y-%m-%dT%H:%M:%S}.000000000Z"})

    return write(folder / "a-json.log", lines(reports, line))


@wrapping
def journal_as_json(reports: np.ndarray, folder: Path) -> Path:
    def line(t: float, s: str) -> str:
        return json.dumps({"__REALTIME_TIMESTAMP": f"{t * 1e6:.0f}", "_HOSTNAME": "gate", "MESSAGE": f"rx: {s}"})

    return write(folder / "journal.json", lines(reports, line))


@wrapping
def nested_json(reports: np.ndarray, folder: Path) -> Path:
    def line(t: float, s: str) -> str:
        return json.dumps({"@timestamp": f"{moment(t):%Y-%m-%dT%H:%M:%S}Z", "event": {"original": s, "kind": "hello!"}})

    return write(folder / "a.ndjson", lines(reports, line))


@wrapping
def web_log_time(reports: np.ndarray, folder: Path) -> Path:
    return write(folder / "a.log", lines(reports, lambda t, s: f"[{moment(t):%d/%b/%Y:%H:%M:%S} +0000] {s}"))


@wrapping
def pghp(reports: np.ndarray, folder: Path) -> Path:
    def line(t: float, s: str) -> str:
        body = f"PGHP,1,{moment(t):%Y,%-m,%-d,%-H,%-M,%-S},0,219,,219,1,{s[-2:]}"
        return f"${body}*{checksum(body.encode()):02X}\n{s}"

    return write(folder / "a.txt", lines(reports, line))


@wrapping
def pghp_behind(reports: np.ndarray, folder: Path) -> Path:
    def line(t: float, s: str) -> str:
        body = f"PGHP,1,{moment(t):%Y,%-m,%-d,%-H,%-M,%-S},0,219,,219,1,{s[-2:]}"
        return f"{s}\n${body}*{checksum(body.encode()):02X}"

    return write(folder / "a.txt", lines(reports, line))


@wrapping
def syslog_without_a_year(reports: np.ndarray, folder: Path) -> Path:
    return write(
        folder / "syslog-20240514", lines(reports, lambda t, s: f"{moment(t):%b %e %H:%M:%S} gate rx[71]: {s}")
    )


@wrapping
def boats_log_with_rmc(reports: np.ndarray, folder: Path) -> Path:
    def line(t: float, s: str) -> str:
        body = f"GPRMC,{moment(t):%H%M%S}.00,A,4818.000,N,00512.000,W,0.0,0.0,{moment(t):%d%m%y},,,A"
        return f"${body}*{checksum(body.encode()):02X}\n{s}"

    return write(folder / "a.log", lines(reports, line))


# ---------------------------------------------------------------- tables


@wrapping
def marinecadastre(reports: np.ndarray, folder: Path) -> Path:
    return write(folder / "AIS_2024_05_13.csv", table(reports, MARINECADASTRE))


@wrapping
def marinecadastre_2025(reports: np.ndarray, folder: Path) -> Path:
    columns = {
        "mmsi": field(0), "base_date_time": lambda r: iso(r).replace("T", " "), "longitude": field(3), "latitude": field(2),
        "sog": field(4), "cog": field(5), "heading": field(6),
    }  # fmt: skip
    data = table(reports, columns)
    return write(folder / "ais-2024-05-13.csv.zst", compressed(data, "zstd"))


@wrapping
def marinecadastre_signed_course(reports: np.ndarray, folder: Path) -> Path:
    signed = MARINECADASTRE | {"COG": lambda r: f"{r[5] - 409.6 if r[5] >= 204.8 else r[5]:.1f}"}
    return write(folder / "a.csv", table(reports, signed))


@wrapping
def danish(reports: np.ndarray, folder: Path) -> Path:
    columns = {
        "# Timestamp": lambda r: f"{moment(r[1]):%d/%m/%Y %H:%M:%S}", "Type of mobile": lambda r: "Class A", "MMSI": field(0),
        "Latitude": field(2), "Longitude": field(3), "Navigational status": lambda r: "Under way using engine", "ROT": lambda r: "",
        "SOG": field(4), "COG": field(5), "Heading": whole(6), "Name": lambda r: 'THE "STAR', "Destination": lambda r: '"NOT CLOSED',
    }  # fmt: skip
    return write(folder / "aisdk-2024-05-13.csv", table(reports, columns))


@wrapping
def month_first(reports: np.ndarray, folder: Path) -> Path:
    columns = MARINECADASTRE | {"BaseDateTime": lambda r: f"{moment(r[1]):%m/%d/%Y %H:%M:%S}"}
    return write(folder / "a.csv", table(reports, columns))


@wrapping
def date_and_time_in_two_columns(reports: np.ndarray, folder: Path) -> Path:
    columns = {
        "MMSI": field(0), "Date (UTC)": lambda r: f"{moment(r[1]):%d/%m/%Y}", "Time (UTC)": lambda r: f"{moment(r[1]):%H:%M:%S}",
        "Lat [deg]": field(2), "Lon [deg]": field(3), "Speed [kn]": field(4), "Course [deg]": field(5), "Heading": field(6),
    }  # fmt: skip
    return write(folder / "a.csv", table(reports, columns))


@wrapping
def compact_date_and_time_in_two_columns(reports: np.ndarray, folder: Path) -> Path:
    columns = {
        "mmsi": field(0), "date": lambda r: f"{moment(r[1]):%Y%m%d}", "time": lambda r: f"{moment(r[1]):%H%M%S}",
        "lat": field(2), "lon": field(3), "sog": field(4), "cog": field(5), "heading": field(6),
    }  # fmt: skip
    return write(folder / "a.csv", table(reports, columns, delimiter=";"))


@wrapping
def marinetraffic_tenths(reports: np.ndarray, folder: Path) -> Path:
    columns = {
        "MMSI": field(0), "LAT": field(2), "LON": field(3), "SPEED": lambda r: f"{r[4] * 10:.0f}", "HEADING": whole(6),
        "COURSE": field(5), "TIMESTAMP": iso, "DSRC": lambda r: "TER",
    }  # fmt: skip
    return write(folder / "a.csv", table(reports, columns))


@wrapping
def metres_a_second(reports: np.ndarray, folder: Path) -> Path:
    columns = {n: of for n, of in MARINECADASTRE.items() if n != "SOG"}
    columns["speed (m/s)"] = lambda r: f"{r[4] * 1852 / 3600:.4f}"
    return write(folder / "a.csv", table(reports, columns))


@wrapping
def brest(reports: np.ndarray, folder: Path) -> Path:
    columns = {
        "sourcemmsi": field(0), "navigationalstatus": lambda r: "0", "rateofturn": lambda r: "0", "speedoverground": field(4),
        "courseoverground": field(5), "trueheading": whole(6), "lon": field(3), "lat": field(2), "t": whole(1),
    }  # fmt: skip
    return write(folder / "nari_dynamic.csv", table(reports, columns))


@wrapping
def statsat(reports: np.ndarray, folder: Path) -> Path:
    columns = {
        "mmsi": field(0), "lon": field(3), "lat": field(2), "date_time_utc": lambda r: iso(r).replace("T", " "), "sog": field(4),
        "cog": field(5), "true_heading": whole(6), "nav_status": lambda r: "0", "message_nr": lambda r: "1",
    }  # fmt: skip
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as z:
        z.writestr("2024-05-13.csv", table(reports, columns, ";"))
    with zipfile.ZipFile(folder / "month.zip", "w") as z:
        z.writestr("2024-05-13.zip", inner.getvalue())
    return folder / "month.zip"


@wrapping
def spire(reports: np.ndarray, folder: Path) -> Path:
    columns = {
        "mmsi": field(0), "timestamp": lambda r: iso(r) + "Z", "latitude": field(2), "longitude": field(3), "sog": field(4),
        "cog": field(5), "heading": field(6),
    }  # fmt: skip
    return write(folder / "a.csv", table(reports, columns))


@wrapping
def fishing_watch(reports: np.ndarray, folder: Path) -> Path:
    columns = {
        "ssvid": field(0), "timestamp": lambda r: f"{moment(r[1]):%Y-%m-%d %H:%M:%S} UTC", "lat": field(2), "lon": field(3),
        "speed": field(4), "course": field(5), "heading": field(6),
    }  # fmt: skip
    return write(folder / "a.csv", table(reports, columns))


@wrapping
def finnish_milliseconds(reports: np.ndarray, folder: Path) -> Path:
    columns = {
        "mmsi": field(0), "x": field(3), "y": field(2), "sog": field(4), "cog": field(5), "navStat": lambda r: "0", "heading": whole(6),
        "timestampExternal": lambda r: f"{r[1] * 1000:.0f}",
    }  # fmt: skip
    return write(folder / "a.tsv", table(reports, columns, "\t"))


@wrapping
def own_columns(reports: np.ndarray, folder: Path) -> Path:
    columns = dict(zip(("mmsi", "t", "lat", "lon", "sog", "cog", "heading"), map(field, range(7)), strict=True))
    return write(folder / "a.csv", table(reports, columns))


@wrapping
def decimal_comma(reports: np.ndarray, folder: Path) -> Path:
    def comma(i: int) -> Callable[[tuple], str]:
        return lambda row: f'"{row[i]}"'.replace(".", ",")

    columns = MARINECADASTRE | {"LAT": comma(2), "LON": comma(3), "SOG": comma(4), "COG": comma(5)}
    return write(folder / "a.csv", table(reports, columns))


@wrapping
def semicolons_and_decimal_comma(reports: np.ndarray, folder: Path) -> Path:
    def comma(i: int) -> Callable[[tuple], str]:
        return lambda row: str(row[i]).replace(".", ",")

    columns = MARINECADASTRE | {"LAT": comma(2), "LON": comma(3), "SOG": comma(4)}
    return write(folder / "a.csv", table(reports, columns, ";", before="sep=;\n"))


@wrapping
def comment_before_the_header(reports: np.ndarray, folder: Path) -> Path:
    return write(folder / "a.csv", table(reports, MARINECADASTRE, before="# exported 2024-05-14\n\n", end="\r\n"))


@wrapping
def all_quoted(reports: np.ndarray, folder: Path) -> Path:
    def quoted(of: Callable[[tuple], str]) -> Callable[[tuple], str]:
        return lambda row: f'"{of(row)}"'

    columns = {f'"{name}"': quoted(of) for name, of in MARINECADASTRE.items()}
    return write(folder / "a.csv", table(reports, columns))


@wrapping
def our_tracks(reports: np.ndarray, folder: Path) -> Path:
    pq.write_table(
        pa.table({n: reports[n].tolist() for n in ("mmsi", "t", "lat", "lon", "sog", "cog", "heading")}),
        folder / "a.parquet",
    )
    return folder / "a.parquet"


@wrapping
def parquet_of_timestamps_in_a_zone(reports: np.ndarray, folder: Path) -> Path:
    stamps = pa.array((reports["t"] * 1e3).astype(np.int64), pa.timestamp("ms", tz="Europe/Paris"))
    columns = {"MMSI": reports["mmsi"].tolist(), "BaseDateTime": stamps}
    columns |= {
        n: reports[m].tolist()
        for n, m in (("LAT", "lat"), ("LON", "lon"), ("SOG", "sog"), ("COG", "cog"), ("Heading", "heading"))
    }
    pq.write_table(pa.table(columns), folder / "a.parquet", row_group_size=100)
    return folder / "a.parquet"


@wrapping
def geoparquet(reports: np.ndarray, folder: Path) -> Path:
    points = [
        struct.pack("<BIdd", 1, 1, lon, lat)
        for lat, lon in zip(reports["lat"].tolist(), reports["lon"].tolist(), strict=True)
    ]
    columns = {
        "mmsi": reports["mmsi"].tolist(),
        "timestamp": [iso((0, t)) for t in reports["t"].tolist()],
        "geometry": points,
    }
    columns |= {n: reports[n].tolist() for n in ("sog", "cog", "heading")}
    pq.write_table(pa.table(columns), folder / "a.parquet")
    return folder / "a.parquet"


# ---------------------------------------------------------------- containers and names


def compressed(data: bytes, kind: str) -> bytes:
    out = pa.BufferOutputStream()
    with pa.CompressedOutputStream(out, kind) as stream:
        stream.write(data)
    return out.getvalue().to_pybytes()


@wrapping
def gzip_of_two_members(reports: np.ndarray, folder: Path) -> Path:
    half = len(reports) // 2
    return write(folder / "a.cdv.gz", gzip.compress(cdv(reports[:half])) + gzip.compress(cdv(reports[half:])))


@wrapping
def gzip_without_its_name(reports: np.ndarray, folder: Path) -> Path:
    return write(folder / "a.cdv", gzip.compress(cdv(reports)))


@wrapping
def bzip2(reports: np.ndarray, folder: Path) -> Path:
    return write(folder / "a.nmea.bz2", bz2.compress(cdv(reports)))


@wrapping
def xz(reports: np.ndarray, folder: Path) -> Path:
    return write(folder / "a.log.xz", lzma.compress(cdv(reports)))


@wrapping
def zstd(reports: np.ndarray, folder: Path) -> Path:
    return write(folder / "a.cdv.zst", compressed(cdv(reports), "zstd"))


@wrapping
def lz4_table(reports: np.ndarray, folder: Path) -> Path:
    return write(folder / "a.csv.lz4", compressed(table(reports, MARINECADASTRE), "lz4"))


@wrapping
def zip_with_litter(reports: np.ndarray, folder: Path) -> Path:
    with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("2024/a.cdv", cdv(reports))
        z.writestr("__MACOSX/._a.cdv", b"\x00\x05\x16\x07")
    return folder / "a.zip"


@wrapping
def tar_gz(reports: np.ndarray, folder: Path) -> Path:
    data = table(reports, MARINECADASTRE)
    with tarfile.open(folder / "a.tar.gz", "w:gz") as t:
        info = tarfile.TarInfo("2024/a.csv")
        info.size = len(data)
        t.addfile(info, io.BytesIO(data))
    return folder / "a.tar.gz"


@wrapping
def rotated_logs(reports: np.ndarray, folder: Path) -> Path:
    a, b, c, d = np.array_split(reports, 4)
    write(folder / "ais.log.3.bz2", bz2.compress(cdv(a)))
    write(folder / "ais.log.2.gz", gzip.compress(cdv(b)))
    write(folder / "ais.log.1", cdv(c))
    write(folder / "ais.log", cdv(d))
    write(folder / "README.md", b"what this is\n")
    return folder


@wrapping
def names_that_are_patterns(reports: np.ndarray, folder: Path) -> Path:
    half = len(reports) // 2
    write(folder / "ais [1] {a,b}.cdv", cdv(reports[:half]))
    write(folder / "ais_2024-05-01T12:00:00 #2?.cdv", cdv(reports[half:]))
    return folder


@wrapping
def sentences_and_a_table_in_one_folder(reports: np.ndarray, folder: Path) -> Path:
    half = len(reports) // 2
    write(folder / "a.nm4", lines(reports[:half], lambda t, s: tag(f"c:{t:.0f}") + s))
    write(folder / "b.csv", table(reports[half:], MARINECADASTRE))
    return folder


# ---------------------------------------------------------------- receivers' decoded JSON


def json_lines(reports: np.ndarray, of: Callable[[tuple], dict]) -> bytes:
    rows = zip(*(reports[n].tolist() for n in ("mmsi", "t", "lat", "lon", "sog", "cog", "heading")), strict=True)
    return "".join(json.dumps(of(row)) + "\n" for row in rows).encode()


@wrapping
def aiscatcher_decoded(reports: np.ndarray, folder: Path) -> Path:
    def of(r: tuple) -> dict:
        fields = {
            "class": "AIS",
            "device": "AIS-catcher",
            "scaled": True,
            "type": 1,
            "rxtime": f"{moment(r[1]):%Y%m%d%H%M%S}",
        }
        return fields | {
            "mmsi": r[0],
            "lat": r[2],
            "lon": r[3],
            "speed": r[4],
            "course": r[5],
            "heading": int(r[6]),
            "status": 0,
        }

    return write(folder / "a.jsonl", json_lines(reports, of))


@wrapping
def geojson_features(reports: np.ndarray, folder: Path) -> Path:
    def of(r: tuple) -> dict:
        properties = {"mmsi": r[0], "timestamp": iso(r) + "Z", "sog": r[4], "cog": r[5], "heading": int(r[6])}
        return {"type": "Feature", "geometry": {"type": "Point", "coordinates": [r[3], r[2]]}, "properties": properties}

    return write(folder / "a.geojsonl", json_lines(reports, of))


@wrapping
def gpsd_raw(reports: np.ndarray, folder: Path) -> Path:
    def of(r: tuple) -> dict:
        fields = {
            "class": "AIS",
            "type": 1,
            "mmsi": r[0],
            "scaled": False,
            "timestamp": f"{moment(r[1]):%Y-%m-%dT%H:%M:%SZ}",
        }
        raw = {
            "lat": round(r[2] * 600_000),
            "lon": round(r[3] * 600_000),
            "speed": round(r[4] * 10),
            "course": round(r[5] * 10),
        }
        return fields | raw | {"heading": int(r[6])}

    return write(folder / "gpsd.json", json_lines(reports, of))


@wrapping
def aisstream(reports: np.ndarray, folder: Path) -> Path:
    def of(r: tuple) -> dict:
        body = {
            "MessageID": 1,
            "UserID": r[0],
            "Latitude": r[2],
            "Longitude": r[3],
            "Sog": r[4],
            "Cog": r[5],
            "TrueHeading": int(r[6]),
        }
        body |= {"Timestamp": int(r[1]) % 60, "NavigationalStatus": 0}
        meta = {"MMSI": r[0], "time_utc": f"{moment(r[1]):%Y-%m-%d %H:%M:%S}.000000000 +0000 UTC"}
        return {"MessageType": "PositionReport", "Message": {"PositionReport": body}, "MetaData": meta}

    return write(folder / "a.json", json_lines(reports, of))


@wrapping
def our_own_records(reports: np.ndarray, folder: Path) -> Path:
    def of(r: tuple) -> dict:
        return {
            "mmsi": str(r[0]),
            "tagblock_timestamp": r[1],
            "x": r[3],
            "y": r[2],
            "sog": r[4],
            "cog": r[5],
            "true_heading": r[6],
        }

    return write(folder / "a.json", json_lines(reports, of))
