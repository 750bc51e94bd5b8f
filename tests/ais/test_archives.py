"""Archives of any kind give the same reports; only an unreadable file raises."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multitaskais.ais.archives import expand, list_files, open_archive, read_reports
from multitaskais.ais.encode import cdv_lines, encode_static, statics_of, write_cdv
from multitaskais.ais.positions import StaticData
from multitaskais.errors import FormatError, InputError
from multitaskais.records import REPORT_DTYPE, Counts, Reason
from tests.ais.test_block_equals_pyais import equal_rows

LINE = b"2011/07/08 14:30:34 !AIVDM,1,1,,A,13JEhD7P1>w`ApbK`Q8K??w22@CD,0*12\n"


def read(*paths: Path | str, **options: object) -> tuple[np.ndarray, Counts]:
    total, found = Counts(), [np.zeros(0, REPORT_DTYPE)]
    for reports, counts in read_reports(paths, **options):  # type: ignore[arg-type]
        assert counts.received == counts.accepted + sum(counts.rejected.values())
        found.append(reports)
        total.add(counts)
    return np.concatenate(found), total


def some_reports(n: int, seed: int = 0) -> np.ndarray:
    """On the grid of the air, so that encoding loses nothing."""
    rng = np.random.default_rng(seed)
    out = np.zeros(n, REPORT_DTYPE)
    out["mmsi"] = rng.integers(200_000_000, 200_000_020, n)
    out["t"] = 1_310_000_000 + np.sort(rng.integers(0, 3 * 86400, n))
    out["lat"] = np.rint(rng.integers(-54_000_000, 54_000_001, n) * 5 / 3) / 1e6
    out["lon"] = np.rint(rng.integers(-108_000_000, 108_000_001, n) * 5 / 3) / 1e6
    out["sog"] = np.where(rng.random(n) < 0.1, np.nan, rng.integers(0, 1023, n) / 10)
    out["cog"] = np.where(rng.random(n) < 0.1, np.nan, rng.integers(0, 3600, n) / 10)
    out["heading"] = np.where(rng.random(n) < 0.5, np.nan, rng.integers(0, 360, n))
    out["msg_type"] = rng.choice([1, 2, 3, 18], n)
    out["nav_status"] = np.where(out["msg_type"] == 18, -1, rng.integers(0, 16, n))
    out["ship_type"] = -1
    out["second"] = out["t"] % 60
    return out


@given(st.integers(1, 400), st.integers(0, 2**32 - 1))
def test_decoding_what_was_encoded_gives_it_back(n: int, seed: int) -> None:
    from multitaskais.ais.vectorized.block import decode_block

    reports = some_reports(n, seed)
    for kernel in ({}, {"line_kernel": None}):
        block = decode_block(cdv_lines(reports).tobytes(), **kernel)  # type: ignore[arg-type]
        assert equal_rows(block.reports, reports)


@given(
    st.integers(1, 999_999_999),
    st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ 0123456789-.&'", max_size=20),
    st.integers(0, 255),
    st.sampled_from([5, 24]),
)
def test_name_and_type_survive_the_air(mmsi: int, name: str, ship_type: int, msg_type: int) -> None:
    from multitaskais.ais.vectorized.block import BlockDecoder

    given_name = name.strip().encode() or None
    data = StaticData(mmsi, 0.0, msg_type, given_name, ship_type or -1, None, -1, -1, -1, -1, -1)
    decoder = BlockDecoder(at=0.0)
    decoder.decode(b"\n".join(encode_static(data)))
    heard = decoder.memory.get(mmsi)
    assert (heard.name or None, heard.ship_type) == (given_name, ship_type or -1)


def test_an_archive_of_days_is_written_and_read_back(tmp_path: Path) -> None:
    reports = some_reports(3000)
    reports["ship_type"] = reports["mmsi"] % 10 + 70
    reports["ship_name"] = [f"SHIP {m % 1000}".encode() for m in reports["mmsi"].tolist()]
    paths = write_cdv(tmp_path, reports, statics_of(reports))
    assert [str(p.relative_to(tmp_path)) for p in paths] == [f"2011/07/201107{d:02d}.cdv" for d in (7, 8, 9, 10)]
    again, counts = read(tmp_path)
    assert equal_rows(again, reports)
    assert counts.received == sum(p.read_bytes().count(b"\n") for p in paths)
    for chunk in (7, 100_000):
        assert equal_rows(read(f"{tmp_path}/*/*/*.cdv", chunk=chunk)[0], reports)


def test_noaa_rows_encoded_to_sentences_equal_the_table_path(shared: Path, tmp_path: Path) -> None:
    """The .cdv path equals the table path: positions to 1/10000 minute, all else exactly."""
    table = pq.read_table(shared / "data/noaa/ais_2020-01-01.parquet").slice(1_000_000, 30_000)
    pq.write_table(table, tmp_path / "rows.parquet")
    direct, counts = read(tmp_path / "rows.parquet")
    assert counts.accepted > 25_000
    write_cdv(tmp_path / "cdv", direct, statics_of(direct, every_s=3600.0))
    decoded, _ = read(tmp_path / "cdv")
    order = np.lexsort((np.arange(len(direct)), direct["t"]))
    direct = direct[order]
    assert np.abs(decoded["lat"] - direct["lat"]).max() <= 1 / 1.2e6 + 1e-6
    assert np.abs(decoded["lon"] - direct["lon"]).max() <= 1 / 1.2e6 + 1e-6
    for name in ("lat", "lon"):
        direct[name] = np.rint(np.rint(direct[name] * 600_000) * 5 / 3) / 1e6
    direct["msg_type"], direct["nav_status"] = 1, 15  # the table has neither
    direct["second"] = direct["t"] % 60
    assert equal_rows(decoded, direct)


def test_csv_equals_parquet_of_the_same_noaa_rows(shared: Path, tmp_path: Path) -> None:
    table = pq.read_table(shared / "data/noaa/ais_2020-01-01.parquet").slice(2_000_000, 20_000)
    pq.write_table(table, tmp_path / "rows.parquet")
    frame = table.to_pydict()
    header = "MMSI,BaseDateTime,LAT,LON,SOG,COG,Heading,VesselName,IMO,CallSign,VesselType,Status,Length,Width,Draft,Cargo,TransceiverClass"
    rows = [header]
    for m, t, lat, lon, sog, cog, h, vt in zip(*(frame[c] for c in table.column_names), strict=True):
        kind = "" if vt is None or np.isnan(vt) else int(vt)
        rows.append(f"{m},{t:%Y-%m-%dT%H:%M:%S},{lat!r},{lon!r},{sog:.1f},{cog:.1f},{h:.1f},,,,{kind},,,,,,B")
    (tmp_path / "rows.csv").write_text("\n".join(rows) + "\n")
    a, _ = read(tmp_path / "rows.parquet")
    b, counts = read(tmp_path / "rows.csv")
    assert counts.received == 20_000
    assert equal_rows(a, b)


MARINECADASTRE = """MMSI,BaseDateTime,LAT,LON,SOG,COG,Heading,VesselName,IMO,CallSign,VesselType,Status,Length,Width,Draft,Cargo,TransceiverClass
366000001,2020-01-01T00:00:01,28.5,-90.25,12.3,358.8,511.0,FIRST SHIP,IMO1,WDX,1004,0,100,10,,70,A
366000002,2020-01-01T00:00:02,28.5,-90.25,102.3,360.0,0.0,"LAST, THE",,,52,moored,,,,,B
bad,2020-01-01T00:00:03,28.5,-90.25,1,1,1,,,,,,,,,,
366000003,2020-02-30T00:00:03,28.5,-90.25,1,1,1,,,,,,,,,,
366000004,2020-01-01T00:00:03,91,181,1,1,1,,,,,,,,,,
366000005,2020-01-01T00:00:03,,,1,1,1,,,,,,,,,,
1,2,3
366000006,2020-01-01 00:00:06,28.5,-90.25,x,,,NAME \xff,,,,,,,,,
"""


def test_marinecadastre_csv(tmp_path: Path) -> None:
    path = tmp_path / "ais.csv"
    path.write_bytes(MARINECADASTRE.encode("latin-1"))
    reports, counts = read(path)
    assert reports["mmsi"].tolist() == [366000001, 366000002, 366000006]
    assert reports["t"].tolist() == [1577836801.0, 1577836802.0, 1577836806.0]
    np.testing.assert_array_equal(reports["sog"], [12.3, np.nan, np.nan])
    np.testing.assert_array_equal(reports["cog"], [358.8, np.nan, np.nan])
    np.testing.assert_array_equal(reports["heading"], [np.nan, 0.0, np.nan])
    assert reports["nav_status"].tolist() == [0, 5, -1]
    assert reports["ship_type"].tolist() == [70, 52, -1]
    assert reports["ship_name"].tolist()[:2] == [b"FIRST SHIP", b"LAST, THE"]
    expected = {Reason.BAD_MMSI: 1, Reason.NO_TIME: 1, Reason.NO_POSITION: 2, Reason.MALFORMED: 1}
    assert (counts.received, counts.accepted, counts.rejected) == (8, 3, expected)


DMA = """# Timestamp,Type of mobile,MMSI,Latitude,Longitude,Navigational status,ROT,SOG,COG,Heading,IMO,Callsign,Name,Ship type,Cargo type
02/10/2014 16:30:03,Class A,212123000,55.5,14.5,Under way using engine,,0.8,120.5,122,1,OX,DRIFTER,Cargo,
02/10/2014 16:30:04,Base Station,2190001,55.5,14.5,Unknown value,,,,,Unknown,Unknown,,Undefined,
02/10/2014 16:30:05,Class B,219000002,55.5,14.5,Unknown value,,0.8,120.5,,Unknown,Unknown,Unknown,Sailing,
"""


def test_danish_csv_is_day_first(tmp_path: Path) -> None:
    path = tmp_path / "aisdk-2014-10-02.csv"
    path.write_text(DMA)
    reports, counts = read(path)
    assert reports["t"].tolist() == [1412267403.0, 1412267405.0]
    assert reports["nav_status"].tolist() == [0, -1]
    assert reports["ship_type"].tolist() == [70, 36]
    assert reports["ship_name"].tolist() == [b"DRIFTER", b""]
    assert counts.rejected == {Reason.NOT_A_POSITION: 1}


def test_our_own_tracks_are_readable(tmp_path: Path) -> None:
    reports = some_reports(100)
    columns = {n: reports[n].tolist() for n in reports.dtype.names or () if n not in ("ship_name", "station")}
    columns["ship_name"] = ["A"] * 100
    columns["track_id"] = ["x"] * 100
    pq.write_table(pa.table(columns), tmp_path / "tracks.parquet")
    again, counts = read(tmp_path / "tracks.parquet")
    reports["ship_name"] = b"A"
    assert equal_rows(again, reports)
    assert counts.accepted == 100


def test_packed_archives_are_unpacked(tmp_path: Path) -> None:
    (tmp_path / "plain.cdv").write_bytes(LINE * 3)
    (tmp_path / "packed.cdv.gz").write_bytes(gzip.compress(LINE * 3))
    with zipfile.ZipFile(tmp_path / "packed.zip", "w") as z:
        z.writestr("a.cdv", LINE * 2)
        z.writestr("folder/b.csv", MARINECADASTRE.encode("latin-1"))
    assert [len(read(tmp_path / n)[0]) for n in ("plain.cdv", "packed.cdv.gz", "packed.zip")] == [3, 3, 5]
    assert [a.format for a in open_archive(tmp_path / "packed.zip")] == ["cdv", "marinecadastre"]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("cut.gz", gzip.compress(LINE * 1000)[:-20]),
        ("broken.gz", b"\x1f\x8b" + b"\xff" * 100),
        ("broken.zip", b"PK\x03\x04" + b"\x00" * 100),
        ("broken.parquet", b"PAR1" + b"\x00" * 100),
    ],
)
def test_a_file_that_cannot_be_read_is_named_in_one_line(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=name) as e:
        read(tmp_path / name)
    assert "\n" not in str(e.value)


def test_a_table_without_the_columns_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "x.parquet")
    with pytest.raises(FormatError, match=r"x\.parquet: .*mmsi"):
        read(tmp_path / "x.parquet")
    (tmp_path / "y.csv").write_text("a,b\n1,2\n")
    with pytest.raises(FormatError, match=r"y\.csv: line 1"):
        read(tmp_path / "y.csv", format="dma")
    with pytest.raises(FormatError, match="one of cdv"):
        read(tmp_path / "y.csv", format="excel")


@pytest.mark.parametrize(
    ("header", "columns", "speed"),
    [
        ("speed (m/s)", None, 17.5),
        ("Speed [M/S]", None, 17.5),
        ("speed_mps", None, 17.5),
        ("speed (m/s)", {"sog": "speed (m/s)"}, 17.5),
        ("speed (m/s)", {"sog": "speed"}, 17.5),
        ("SOG [km/h]", None, 4.9),
        ("speed_kmh", None, 4.9),
        ("Speed in km/h", {"sog": "Speed in km/h"}, 4.9),
        ("SOG (mph)", None, 7.8),
        ("SOG (1/10 knots)", None, 0.9),
        ("SPEED (KNOTSX10)", None, 0.9),
        ("SOG (kn)", None, 9.0),
        ("speed_knots", None, 9.0),
        ("Speed (over ground)", None, 9.0),
        ("v", {"sog": "v[km/h]"}, 4.9),
        ("SPEED", {"sog": "SPEED[1/10 kn]"}, 0.9),
        ("speed (m/s)", {"sog": "speed[kn]"}, 9.0),
    ],
)
def test_a_speed_is_converted_from_the_unit_that_is_named(header, columns, speed, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"mmsi,t,lat,lon,{header},cog\n227000001,2024-05-13T12:00:00,48,-5,9,80\n")
    reports, _ = read(tmp_path / "a.csv", columns=columns)
    assert reports["sog"].tolist() == [speed]
    names = ["mmsi", "t", "lat", "lon", header, "cog"]
    values = [[227000001], [1715601600], [48.0], [-5.0], [9.0], [80.0]]
    pq.write_table(pa.table(dict(zip(names, values, strict=True))), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet", columns=columns)[0]["sog"].tolist() == [speed]
    row = dict(zip(names, [v[0] for v in values], strict=True))
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n")
    assert read(tmp_path / "a.jsonl", columns=columns)[0]["sog"].tolist() == [speed]


@pytest.mark.parametrize(
    ("header", "row", "field", "value"),
    [
        ("mmsi,t,lat,lon,sog,course (rad)", "227000001,1715601600,48,-5,9,1.5707963", "cog", 90.0),
        ("mmsi,t,lat,lon,sog,cog (1/10 deg)", "227000001,1715601600,48,-5,9,905", "cog", 90.5),
        ("mmsi,t,lat (rad),lon (rad),sog,cog", "227000001,1715601600,0.8377580,-0.0872665,9,80", "lat", 48.0),
        ("mmsi,timestamp_ms,lat_e7,lon_e7,sog,cog", "227000001,1715601600000,480000000,-50000000,9,80", "lat", 48.0),
        ("mmsi,time (UTC),lat,lon,sog,cog", "227000001,2024-05-13 12:00:00,48,-5,9,80", "t", 1715601600.0),
        ("mmsi,time (local),time (utc),lat,lon,sog", "227000001,2024-05-13 14:00:00,2024-05-13 12:00:00,48,-5,9", "t", 1715601600.0),
    ],
)  # fmt: skip
def test_angles_places_and_times_are_converted_from_the_unit_that_is_named(header, row, field, value, tmp_path):
    (tmp_path / "a.csv").write_text(f"{header}\n{row}\n")
    reports, _ = read(tmp_path / "a.csv")
    assert reports[field].tolist() == pytest.approx([value], abs=1e-5)


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        ("mmsi,time (local),lat,lon,sog,cog", None),
        ("mmsi,time (UTC+2),lat,lon,sog,cog", None),
        ("mmsi,time [Europe/Paris],lat,lon,sog,cog", {"t": "time"}),
        ("mmsi,t,lat,lon,speed (furlongs/fortnight),cog", None),
        ("mmsi,t,lat,lon,speed (furlongs/fortnight),cog", {"sog": "speed (furlongs/fortnight)"}),
        ("mmsi,t,lat,lon,sog,cog (gon/2)", None),
    ],
)
def test_a_unit_or_zone_that_is_not_read_is_refused_in_one_line(header, columns, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"{header}\n227000001,2024-05-13T12:00:00,48,-5,9,80\n")
    with pytest.raises(FormatError, match=r"a\.csv: column .*--columns") as e:
        read(tmp_path / "a.csv", columns=columns)
    assert "\n" not in str(e.value)


def exported(speeds, header="MMSI,LAT,LON,SPEED,HEADING,COURSE,STATUS,TIMESTAMP,DSRC"):
    rows = [f"227000001,48,-5,{v},80,80,0,2024-05-13T12:{i:02d}:00,TER" for i, v in enumerate(speeds)]
    return "\n".join([header, *rows, ""])


def test_speeds_in_tenths_of_knots_are_known_by_the_export_or_refused_until_they_are_named(tmp_path: Path) -> None:
    speeds = [120 + i for i in range(40)]
    path = tmp_path / "a.csv"
    path.write_text(exported(speeds))
    assert read(path)[0]["sog"].tolist() == [v / 10 for v in speeds]
    path.write_text(exported(speeds).replace("DSRC", "SOURCE"))
    with pytest.raises(FormatError, match=r"a\.csv: .*tenths of knots\?.*1/10 kn"):
        read(path)
    assert read(path, columns={"sog": "SPEED[1/10 kn]"})[0]["sog"].tolist() == [v / 10 for v in speeds]
    assert read(path, columns={"sog": "SPEED[kn]"})[1].blanked == {"sog": len(speeds)}


def test_whole_knots_and_one_fast_craft_are_taken_for_knots(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    for speeds in ([8 + i % 12 for i in range(50)], [50] * 50, [60.5 + i for i in range(40)]):
        path.write_text(exported(speeds).replace("DSRC", "SOURCE"))
        assert read(path)[0]["sog"].tolist() == [float(v) for v in speeds]


@pytest.mark.parametrize(
    ("document", "how"),
    [
        ([{"mmsi": 227000001, "lat": 48, "lon": -5}], "jq -c '.[]'"),
        ({"type": "FeatureCollection", "features": [{"properties": {"mmsi": 227000001}}]}, "jq -c '.features[]'"),
    ],
)
def test_reports_as_one_json_document_are_told_how_to_become_lines(document: object, how: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(document, indent=1))
    with pytest.raises(InputError, match=re.escape(how)):
        read(tmp_path / "a.json")


def test_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    for path in (tmp_path / "none.cdv", tmp_path / "*.cdv", tmp_path):
        with pytest.raises(InputError, match="no such file"):
            expand([path])


def test_a_pattern_passes_over_what_is_surely_no_archive_unless_it_names_that_ending(tmp_path: Path) -> None:
    for name in ("day.cdv", "odd.dat", "README.md", "next.cdv.part"):
        (tmp_path / name).write_text("x")

    def names(paths: list[str]) -> list[str]:
        return [Path(p).name for p in paths]

    found = list_files([f"{tmp_path}/*"])
    assert names(found.paths) == ["day.cdv", "odd.dat"]
    assert names(found.passed_over) == ["README.md", "next.cdv.part"]
    assert names(list_files([f"{tmp_path}/*.part"]).paths) == ["next.cdv.part"]
    with pytest.raises(InputError, match="nothing that is an archive"):
        list_files([f"{tmp_path}/READ*"])


def test_folders_and_patterns_of_any_depth_are_expanded_in_order(tmp_path: Path) -> None:
    for name in ("2011/07/a.cdv", "2011/07/08/b.cdv", "2012/01/c.cdv", "_SUCCESS/x.cdv", ".hidden.cdv", "notes.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(LINE)
    found = [str(Path(p).relative_to(tmp_path)) for p in expand([tmp_path])]
    assert found == ["2011/07/08/b.cdv", "2011/07/a.cdv", "2012/01/c.cdv"]
    assert len(expand([f"{tmp_path}/*/*/*.cdv"])) == 2
    assert len(expand([f"{tmp_path}/20*/**/*.cdv"])) == 3


@pytest.mark.parametrize(
    "data", [b"", b"\n", b"\x00" * 5000, b"\xff" * 3000 + b"\n", b"x" * 3_000_000, b"," * 100 + b"\n,\n", b"\r\n" * 10]
)
def test_garbage_is_counted(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.cdv").write_bytes(data + (b"" if not data or data.endswith(b"\n") else b"\n") + LINE)
    reports, counts = read(tmp_path / "x.cdv", chunk=100)
    assert len(reports) == 1
    assert counts.received == data.count(b"\n") + 1 + (bool(data) and not data.endswith(b"\n"))


@given(st.binary(max_size=2000))
def test_no_file_raises_anything_but_an_input_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("any") / "x"
    for head in (b"", b"MMSI,BaseDateTime,LAT,LON\n", b"PK\x03\x04", b"\x1f\x8b"):
        path.write_bytes(head + data)
        with contextlib.suppress(InputError):
            read(path)


def run(*arguments: str, stdin: bytes = b"", zone: str = "UTC") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "multitaskais", "decode", *arguments]
    return subprocess.run(
        command, input=stdin, capture_output=True, env={"TZ": zone, "PATH": "/usr/bin:/bin"}, timeout=60
    )


def test_decode_writes_one_json_message_a_line_and_counts_the_rest() -> None:
    bad = LINE.replace(b"*12", b"*13")
    done = run("-", stdin=LINE + bad + b"!AIVDM,1,1,,A,13JEhD7P1>w`ApbK`Q8K??w22@CD,0*12\n", zone="Asia/Tokyo")
    assert done.returncode == 0
    dated, bare = (json.loads(line) for line in done.stdout.splitlines())
    assert (dated["mmsi"], dated["time"], bare["time"]) == (228946000, 1310135434.0, None)
    said = done.stderr.decode().splitlines()
    assert said[2].startswith("stamps from 2011-07-08 14:30:34 to 2011-07-08 14:30:34 UTC")
    assert [line for line in said if "stamps" not in line] == [
        "standard input:2: checksum",
        "lines in 3 = accepted 2 + rejected 1 (checksum 1)",
    ]


def test_a_pipe_is_an_archive_too(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(LINE * 3,))
    writer.start()
    reports, _ = read(tmp_path / "pipe")
    writer.join()
    assert len(reports) == 3


def test_decode_at_dates_bare_sentences() -> None:
    done = run("-", "--at", "2011-07-08T14:30:34", stdin=LINE[20:], zone="America/New_York")
    assert json.loads(done.stdout)["time"] == 1310135434.0


def test_decode_says_what_is_wrong_in_one_line(tmp_path: Path) -> None:
    done = run(str(tmp_path / "none"))
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, b"", 1)
    (tmp_path / "x.csv").write_text(DMA)
    done = run(str(tmp_path / "x.csv"))
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)


@pytest.mark.skipif(
    os.getuid() != 0 or shutil.which("setpriv") is None, reason="needs root, to become a user who may do less"
)
@pytest.mark.parametrize("asked", ["closed/a.cdv", "closed", "closed/*.cdv", "."])
def test_what_this_user_may_not_list_is_refused_and_not_taken_for_absent(asked):
    program = "import sys\nfrom multitaskais.ais.archives import expand\ntry: expand(sys.argv[1:])\nexcept Exception as e: print(type(e).__name__, e)"
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        closed = Path(folder, "closed")
        closed.mkdir()
        (closed / "a.cdv").write_bytes(LINE)
        closed.chmod(0o700)
        done = subprocess.run(
            ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", sys.executable, "-c", program, asked],
            cwd=folder,
            env={"PYTHONPATH": str(Path(__file__).resolve().parents[2]), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.stdout.startswith("InputError"), done.stderr
    assert "Permission denied" in done.stdout
