"""What the world really sends: cases from public reports, each tried on the product and judged.

    python -m tests.cases                  # the table; exit code 1 when one of them is wrong
    python -m tests.cases DIR              # inputs from another folder

Inputs stand beside the checkout (``../shared/cases/input``); a case whose input is absent says so. Each case says what is right and why.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from multitaskais.ais.archives import list_files, read_reports
from multitaskais.cli import main as multitaskais
from multitaskais.errors import InputError
from multitaskais.records import REPORT_DTYPE, Counts
from multitaskais.times import read_time

NOON = 1_714_564_800.0  # 2024-05-01 12:00:00 UTC, when most of the inputs begin


class Outcome(NamedTuple):
    right: bool
    seen: str


class Case(NamedTuple):
    number: str
    input: str | None  # name in the folder of inputs
    why: str  # what is right
    check: Callable[[Path], Outcome]


CASES: list[Case] = []


def case(number: str, name: str | None, why: str) -> Callable[[Callable[[Path], Outcome]], Callable[[Path], Outcome]]:
    def add(check: Callable[[Path], Outcome]) -> Callable[[Path], Outcome]:
        CASES.append(Case(number, name, why, check))
        return check

    return add


def read(path: Path, **options: object) -> tuple[np.ndarray, Counts]:
    counts, parts = Counts(), [np.zeros(0, REPORT_DTYPE)]
    for reports, of_batch in read_reports(path, **options):  # type: ignore[arg-type]
        parts.append(reports)
        counts.add(of_batch)
    return np.concatenate(parts), counts


def run(*arguments: str) -> tuple[int, str, str]:
    """(exit code, standard output, standard error) of a command of the package."""
    out, err = io.TextIOWrapper(io.BytesIO()), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            code = multitaskais(list(arguments))
        except SystemExit as e:
            code = int(e.code or 0)
    out.flush()
    return code, out.buffer.getvalue().decode(), err.getvalue()  # type: ignore[attr-defined]


def detect(path: Path) -> tuple[int, dict, str]:
    with tempfile.TemporaryDirectory() as folder:
        code, out, err = run("detect", str(path), "--model", "anywhere", "--json", "--out", folder)
    return code, json.loads(out) if out.strip() else {}, err


def one_line_refusal(code: int, err: str, *words: str) -> Outcome:
    lines = [line for line in err.splitlines() if line.strip()]
    fine = code == 2 and bool(lines) and all(w in lines[-1] for w in words)
    fine &= not any(w in err for w in ("Traceback", "Reason.", "java.", "NoneType"))
    return Outcome(fine, lines[-1][:110] if lines else f"exit {code}, no word")


def times_are(reports: np.ndarray, first: float, n: int) -> Outcome:
    t = reports["t"]
    return Outcome(
        len(t) == n and abs(t.min() - first) < 1.0, f"{len(t)} of {n} dated, first {t.min() if len(t) else 'none'}"
    )


def dated(number: str, name: str, n: int, why: str, first: float = NOON) -> None:
    case(number, name, why)(lambda path: times_are(read(path)[0], first, n))


for _number, _name, _n, _why in (
    ("1", "a02_bracket_ms.log", 3, "ISO 8601 in brackets"),
    ("2", "a01_iso_space.log", 3, "ISO 8601 before the sentence"),
    ("2b", "a03_epoch_before.log", 3, "seconds before the sentence"),
    ("3", "a05_opencpn_vdr.csv", 3, "OpenCPN's recording: time of the column"),
    ("4", "a04_signalk.log", 3, "SignalK's log: milliseconds"),
    ("5", "a06_aiscatcher_text.log", 3, "AIS-catcher's text: timestamp behind"),
    ("5b", "a07_aiscatcher.jsonl", 3, "AIS-catcher's JSON: rxuxtime"),
    ("6", "a09_tag_microseconds.nm4", 3, "16 digits are microseconds"),
    ("6b", "a10_tag_fraction.nm4", 3, "a fraction in the tag block"),
    ("17", "a11_rmc_between.log", 3, "a boat's log is dated by its own RMC"),
    ("29", "d02_ais-2024-05-01.csv.zst", 30, "zstd; longitude before latitude; a blank in the time"),
    ("31", "c01_one_quote.csv", 30, "a quotation mark costs one row at most"),
    ("33", "c03_statsat_semicolon.csv", 30, "semicolons, date_time_utc"),
    ("33b", "d03_month_of_days.zip", 30, "a zip of zips"),
    ("34", "c04_brest.csv", 30, "Brest's columns"),
    ("36", "c05_timestamp_iso.csv", 30, "ISO 8601 in a column called timestamp"),
    ("38", "c08_offset.csv", 30, "an offset is applied"),
    ("39", "c07_t_unix.csv", 30, "our own columns as CSV"),
    ("40", "c11_decimal_comma.csv", 30, "decimal commas"),
    ("41", "c10_speed_course.csv", 30, "speed, course"),
    ("42", "c12_comment_first.csv", 30, "a comment before the header"),
    ("46", "d01_rotated", 30, "rotated logs are read"),
    ("47", "d04_names", 30, "brackets in a name"),
    ("47b", "d05_colon", 30, "a colon in a name"),
    ("50", "d07_utf16.cdv", 30, "UTF-16"),
    ("50b", "d08_cr_only.csv", 30, "line ends of old Macs"),
    ("51", "d09.csv.lz4", 30, "lz4"),
):
    dated(_number, _name, _n, _why)


@case("2c", None, "the year 0123 is no year of AIS")
def _(path: Path) -> Outcome:
    return Outcome(read_time("0123-05-01 12:00:00") != read_time("0123-05-01 12:00:00"), "no time")


@case("10", "b01_sample_counter.log", "a counter of samples is no time")
def _(path: Path) -> Outcome:
    code, _, err = detect(path)
    return one_line_refusal(code, err, "they are no times")


@case("15", "e01_group_on_first_part_only.nm4", "parts joined by channel and sequence id")
def _(path: Path) -> Outcome:
    code, out, err = run("decode", "--quiet", str(path))
    return Outcome(code == 0 and len(out.splitlines()) == 1 and "accepted 2" in err, err.strip())


@case("16", None, "a tag block with a wrong checksum: its time is dropped, and that is said")
def _(path: Path) -> Outcome:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "a.nm4"
        file.write_bytes(b"\\c:1714564800*00\\!AIVDM,1,1,,A,13HOI:0P1pO`<T0K`k83Q2l1P000,0*13\n")
        code, out, err = run("decode", "--quiet", str(file))
    return Outcome(code == 0 and '"time":null' in out and "wrong checksum" in err, err.strip().splitlines()[-1][:110])


@case("18, 48", "f04_one_station_1h_ahead.nm4", "one station's clock, not one alert a ship")
def _(path: Path) -> Outcome:
    _, said, _ = detect(path)
    return Outcome(said["alerts"] == 0 and said["rejected"].get("station_clock", 0) > 50, str(said["rejected"]))


@case("19", "e02_leap_second.cdv", "a leap second is the next minute's first")
def _(path: Path) -> Outcome:
    return times_are(read(path)[0], 1_483_228_800.0, 1)


@case(
    "30",
    "c14_cog_negative.csv",
    "a course of 12 bits read as signed: -149.6 is 260.0; the ship is as abnormal as with 0..360",
)
def _(path: Path) -> Outcome:
    plain, signed = (detect(path.parent / n)[1] for n in ("c13_cog.csv", path.name))
    return Outcome(signed["alerts"] == plain["alerts"] > 0, f"alerts {signed['alerts']}, with 0..360 {plain['alerts']}")


@case("37", "c09_month_first.csv", "day or month first cannot be told: refused, and the remedy said")
def _(path: Path) -> Outcome:
    code, _, err = detect(path)
    if not one_line_refusal(code, err, "day or month", "dates=month_first").right:
        return Outcome(False, err)
    reports, _ = read(path, columns={"dates": "month_first"})
    return times_are(reports, NOON, 30)


@case("44", None, "GeoParquet with points alone is read")
def _(path: Path) -> Outcome:
    from tests.ais.wrappings.wrappings import geoparquet, one_fleet

    with tempfile.TemporaryDirectory() as folder:
        fleet = one_fleet()
        reports, _ = read(geoparquet(fleet, Path(folder)))
    return Outcome(len(reports) == len(fleet), f"{len(reports)} of {len(fleet)}")


@case("46b", "d01_rotated", "what a folder holds and is no archive is named")
def _(path: Path) -> Outcome:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "a.cdv").write_bytes((path / "ais.log").read_bytes())
        (Path(folder) / "notes.md").write_text("x")
        told = list_files([folder]).told()
    return Outcome("notes.md" in told, told)


@case("52", None, "a type 27 beside a type 1, 200 m apart, is no jump (1/10 minute)")
def _(path: Path) -> Outcome:
    from multitaskais.config import TrackRules
    from multitaskais.tracks.displacement import is_jump
    from tests.support.builders import T0, report

    before, after = report(T0, 48.00001), report(T0 + 3, 48.00209, msg_type=27)
    return Outcome(not is_jump(before, after, TrackRules()), "no jump")


@case("53", "f03_stamps_up_to_10s_late.nm4", "jitter of stamps is no jump, no second ship, no contradiction")
def _(path: Path) -> Outcome:
    _, said, _ = detect(path)
    return Outcome(said["alerts"] == 0 and said["tracks"] == 1, f"alerts {said['alerts']}, tracks {said['tracks']}")


@case("54", "f01_copy_12s_late.nm4", "one transmission heard again 12 s later is one report")
def _(path: Path) -> Outcome:
    _, said, _ = detect(path)
    return Outcome(said["alerts"] == 0 and said["rejected"].get("duplicate", 0) > 200, str(said["rejected"]))


@case(
    "fast", "f05_fast_ferry.cdv", "36 kn: counted, a track of its own, and said with the place where the limits stand"
)
def _(path: Path) -> Outcome:
    code, said, err = detect(path)
    right = code == 0 and said.get("tracks") == 1 and said["rejected"].get("too_fast") == said["received"]
    right &= said.get("alerts") == 0 and "docs/limits.md" in err
    return Outcome(right, f"exit {code}, tracks {said.get('tracks')}, {said.get('rejected')}")


@case("live", None, "live, a tag block without a time: the time of arrival")
def _(path: Path) -> Outcome:
    try:
        from stream_operator.commands.feed import live_rows
    except ImportError:
        return Outcome(True, "not tried: the operator is not installed")
    line = b"\\s:2573135*7D\\!AIVDM,1,1,,A,13HOI:0P1pO`<T0K`k83Q2l1P000,0*13\n"
    rows = list(live_rows([line], None, Counts(), clock=lambda: NOON))
    return Outcome([r[1] for r in rows] == [NOON], f"{len(rows)} report at its arrival")


@case("zero", None, "nothing read is an error with the reason, an example and the remedy")
def _(path: Path) -> Outcome:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "a.log"
        file.write_bytes(b"!AIVDM,1,1,,A,13HOI:0P1pO`<T0K`k83Q2l1P000,0*13\n" * 3)
        code, _, err = detect(file)
    return one_line_refusal(code, err, "no_time", "it begins '!AIVDM")


# ---------------------------------------------------------------- inputs that are made here

SENTENCE = b"!AIVDM,1,1,,A,13HOI:0P1pO`<T0K`k83Q2l1P000,0*13"


def checked(body: bytes) -> bytes:
    """With its checksum, of a tag block or a sentence without its first character."""
    total = 0
    for c in body:
        total ^= c
    return b"%s*%02X" % (body, total)


def tagged(fields: bytes, sentence: bytes = SENTENCE) -> bytes:
    return b"\\" + checked(fields) + b"\\" + sentence


def written(name: str, text: bytes, use: Callable[[Path], Outcome]) -> Outcome:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / name
        file.write_bytes(text)
        return use(file)


def made(number: str, name: str, text: Callable[[], bytes], why: str) -> Callable[..., Callable[[Path], Outcome]]:
    """A case whose input is written anew each time."""

    def add(use: Callable[[Path], Outcome]) -> Callable[[Path], Outcome]:
        def check(_: Path) -> Outcome:
            return written(name, text(), use)

        CASES.append(Case(number, None, why, check))
        return check

    return add


def all_at(t: float, n: int = 1) -> Callable[[Path], Outcome]:
    return lambda path: times_are(read(path)[0], t, n)


def counted(**want: int) -> Callable[[Path], Outcome]:
    """The reasons of a file's rejections; ``accepted`` among them."""

    def use(path: Path) -> Outcome:
        reports, counts = read(path)
        seen = {"accepted": len(reports)} | {str(r): n for r, n in counts.rejected.items()}
        balanced = counts.received == counts.accepted + sum(counts.rejected.values())
        return Outcome(seen == want and balanced, ", ".join(f"{k} {v}" for k, v in sorted(seen.items())))

    return use


def pyais_lines(*messages: dict, talker: str = "AIVDM") -> bytes:
    from pyais import encode_dict

    lines = [s.encode() for m in messages for s in encode_dict(m, radio_channel="A")]
    return b"".join(b"!" + checked(talker.encode() + line.partition(b"*")[0][6:]) + b"\n" for line in lines)


def timed(lines: bytes) -> bytes:
    return b"".join(b"2024/05/01 12:00:00 " + line + b"\n" for line in lines.splitlines())


POSITION = {"type": 1, "mmsi": 227006760, "lat": 48.0, "lon": -5.0, "speed": 10.0, "course": 90.0, "status": 0}
STATIC = {
    "type": 5,
    "mmsi": 227006760,
    "shipname": "MARION",
    "ship_type": 70,
    "callsign": "FABC",
    "destination": "BREST",
}


def first_and_second() -> tuple[bytes, bytes]:
    one, two = pyais_lines(STATIC).splitlines()
    return one, two


def with_sequence(part: bytes, number: int, channel: bytes = b"A") -> bytes:
    fields = part.partition(b"*")[0][1:].split(b",")
    fields[3], fields[4] = b"%d" % number, channel
    return b"!" + checked(b",".join(fields))


made("8", "a.nm4", lambda: tagged(b"c:1714564800000") + b"\n", "milliseconds in the tag block")(all_at(NOON))
made(
    "9",
    "a.nm4",
    lambda: SENTENCE + b",1714564800,1714568400\n",
    "two numbers behind the checksum: the first is the reception",
)(all_at(NOON))
made(
    "11",
    "a.nm4",
    lambda: b"\\" + checked(b"g:1-1-27") + b"\\" + tagged(b"c:1714564800") + b"\n",
    "two tag blocks: the second one's time",
)(all_at(NOON))
made(
    "12",
    "a.nm4",
    lambda: tagged(b"i:<x a:b>,g:1-1-9,c:1714564800") + b"\n",
    "a field with XML and colons loses no other",
)(all_at(NOON))
made(
    "13",
    "a.nm4",
    lambda: b"".join(tagged(b"s:2573135,c:%d" % (NOON + i)) + b"\n" for i in range(979)),
    "all of a .nm4 are dated",
)(lambda path: Outcome(len(read(path)[0]) == 979, f"{len(read(path)[0])} of 979 dated"))


@made("14", "a.nm4", lambda: b"".join(tagged(f, s) + b"\n" for f, s in zip((b"g:1-2-77,c:1714564800", b"g:2-2-77"), first_and_second(), strict=True)),
      "parts of one tag-block group are joined, at the first one's time")  # fmt: skip
def _(path: Path) -> Outcome:
    code, out, _ = run("decode", "--quiet", str(path))
    message = json.loads(out) if out else {}
    return Outcome(code == 0 and message.get("time") == NOON and message.get("shipname") == "MARION", out[:80])


@made("20", "a.nmea", lambda: first_and_second()[0] + b"\n$GPGGA,x*00\n" + with_sequence(SENTENCE, 0, b"B").replace(b",0,B", b",,B") + b"\n" + first_and_second()[1] + b"\n" + first_and_second()[0] + b"\n",
      "parts with other sentences between them are joined; one without its other is incomplete")  # fmt: skip
def _(path: Path) -> Outcome:
    _, out, err = run("decode", "--quiet", str(path))
    names = [m["shipname"] for m in map(json.loads, out.splitlines()) if m["msg_type"] == 5]
    return Outcome(names == ["MARION"] and "incomplete 1" in err, err.splitlines()[0])


@made("21", "a.nmea", lambda: b"\n".join(with_sequence(first_and_second()[k], 3, c) for k, c in ((0, b"A"), (0, b"B"), (1, b"B"), (1, b"A"))) + b"\n",
      "parts of equal sequence id on two channels are not mixed")  # fmt: skip
def _(path: Path) -> Outcome:
    _, out, _ = run("decode", "--quiet", str(path))
    return Outcome(
        [json.loads(x)["shipname"] for x in out.splitlines()] == ["MARION"] * 2, f"{len(out.splitlines())} messages"
    )


@made(
    "22",
    "a.nmea",
    lambda: pyais_lines({"type": 24, "mmsi": 227006760, "partno": 0, "shipname": "LA FEE"}),
    "a type 24 with any fill bits gives its name",
)
def _(path: Path) -> Outcome:
    _, out, _ = run("decode", "--quiet", str(path))
    return Outcome(bool(out) and json.loads(out)["shipname"] == "LA FEE", out[:60])


@made(
    "23",
    "a.nmea",
    lambda: b"\n".join(line + b",r003669987,1714564800" for line in pyais_lines(STATIC).splitlines()) + b"\n",
    "fill bits are honoured before a USCG suffix",
)
def _(path: Path) -> Outcome:
    _, out, _ = run("decode", "--quiet", str(path))
    message = json.loads(out) if out else {}
    return Outcome(
        message.get("destination") == "BREST" and message.get("time") == NOON, str(message.get("destination"))
    )


made(
    "24",
    "a.cdv",
    lambda: timed(pyais_lines(POSITION) + pyais_lines(POSITION, talker="AIVDO")),
    "own ship is counted by that name",
)(counted(accepted=1, own_ship=1))


@made(
    "25, 26",
    "a.cdv",
    lambda: timed(pyais_lines(POSITION | {"speed": 102.3, "course": 360.0})),
    "102.3 kn and 360 degrees are not available",
)
def _(path: Path) -> Outcome:
    (row,) = read(path)[0]
    return Outcome(bool(np.isnan(row["sog"]) and np.isnan(row["cog"])), f"sog {row['sog']}, cog {row['cog']}")


made("27", "a.cdv", lambda: timed(pyais_lines(POSITION | {"lat": 91.0, "lon": 181.0}, {"type": 4, "mmsi": 2275200, "lat": 48.0, "lon": -5.0, "year": 2024, "month": 5, "day": 1}, POSITION)),
     "no position, and no vessel: each counted")(counted(accepted=1, no_position=1, not_a_position=1))  # fmt: skip
made(
    "28",
    "a.log",
    lambda: (
        b"=~=~= PuTTY log 2024.05.01 12:00:00 =~=~=\r\n"
        + timed(pyais_lines(POSITION, talker="BSVDM")).replace(b"\n", b"\r\n")
    ),
    "a header of PuTTY; any talker",
)(lambda path: times_are(read(path)[0], NOON, 1))

HEADER = b"MMSI,BaseDateTime,LAT,LON,SOG,COG,Heading,VesselName\n"
ROW = b"227006760,2024-05-01T12:%02d:00,48.0,-5.0,10.0,90.0,91.0,%s\n"
made(
    "32",
    "a.csv",
    lambda: HEADER + ROW % (0, b"A") + ROW % (1, b"B,C") + ROW % (2, b"D"),
    "a row with a comma too many is malformed, alone",
)(counted(accepted=2, malformed=1))


@case("43", None, "Parquet with dictionaries, large strings and stamps in a zone")
def _(path: Path) -> Outcome:
    import pyarrow as pa
    import pyarrow.parquet as pq

    n = 20
    stamps = pa.array([int((NOON + 60 * i) * 1e6) for i in range(n)], pa.timestamp("us", "Europe/Copenhagen"))
    names = pa.array(["A"] * n, pa.large_string()).dictionary_encode()
    columns = {"MMSI": pa.array([227006760] * n), "BaseDateTime": stamps, "LAT": pa.array([48.0] * n), "LON": pa.array([-5.0] * n),
               "SOG": pa.array([10.0] * n), "COG": pa.array([90.0] * n), "VesselName": names}  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        pq.write_table(pa.table(columns), Path(folder) / "a.parquet")
        return times_are(read(Path(folder) / "a.parquet")[0], NOON, n)


made("45", "a.csv", lambda: b"\xef\xbb\xbf" + b",\"Timestamp\",\"Type of mobile\",\"MMSI\",\"Latitude\",\"Longitude\",\"SOG\",\"COG\",\"Name\"\r\n"
     b"0,\"13/05/2024 12:00:00\",\"Class A\",\"219000001\",\"55.0\",\"11.0\",\"10.0\",\"90.0\",\"S\xd8EN\"\r\n"
     b"1,\"13/05/2024 12:00:00\",\"Base Station\",\"2190001\",\"55.0\",\"11.0\",\"0\",\"0\",\"Unknown value\"\r\n"
     b"2,\"13/05/2024 12:00:00\",\"Class A\",\"219000002\",\"91.0\",\"0\",\"0\",\"0\",\"Unknown value\"\r\n",
     "the Danish archive with a BOM, an index column, all quoted, CRLF, latin-1, base stations, latitude 91")(counted(accepted=1, not_a_position=1, no_position=1))  # fmt: skip


@case(
    "49", None, "gzip members, an archive that is cut, a zip with folders and other files, blanks and letters in names"
)
def _(path: Path) -> Outcome:
    import gzip
    import zipfile

    line = timed(pyais_lines(POSITION))
    with tempfile.TemporaryDirectory() as folder:
        there = Path(folder) / "Ile d'Ou\u00e8ssant, mai"
        there.mkdir()
        (there / "two members.gz").write_bytes(gzip.compress(line) + gzip.compress(line))
        with zipfile.ZipFile(there / "a.zip", "w") as z:
            z.writestr("2024/a.cdv", line)
            z.writestr("2024/b.cdv", line)
            z.writestr("__MACOSX/._a.cdv", b"\0\1")
        whole = len(read(there)[0])
        (there / "cut.cdv.gz").write_bytes(gzip.compress(line * 1000)[:-20])
        code, _, err = detect(there / "cut.cdv.gz")
    refused = one_line_refusal(code, err, "cut.cdv.gz")
    return Outcome(whole == 4 and refused.right, f"{whole} of 4 read; {refused.seen}")


@made("55", "a.cdv", lambda: b"".join(b"%d/05/01 12:%02d:00 " % (y, i % 60) + pyais_lines(POSITION) for y in (2024, 2004, 2024) for i in range(20)),
      "years that step back (a receiver's rollover) are said")  # fmt: skip
def _(path: Path) -> Outcome:
    _, _, err = run("decode", "--quiet", str(path))
    said = [line for line in err.splitlines() if "step back" in line or "stamps from" in line]
    return Outcome(len(said) == 2, "; ".join(said)[:110])


@case("56", None, "no jump at 180 degrees, and none beside a pole")
def _(path: Path) -> Outcome:
    from multitaskais.config import TrackRules
    from multitaskais.tracks.displacement import is_jump
    from tests.support.builders import T0, report

    pairs = [((10.0, 179.999), (10.0, -179.999)), ((89.99, 0.0), (89.99, 90.0)), ((-89.999, 10.0), (-89.999, -170.0))]
    jumps = [is_jump(report(T0, *a), report(T0 + 600, *b), TrackRules()) for a, b in pairs]
    return Outcome(not any(jumps), f"{sum(jumps)} jumps of {len(pairs)}")


def folder_of_inputs() -> Path:
    import os

    shared = os.environ.get("MULTITASKAIS_SHARED")
    return (Path(shared) if shared else Path(__file__).resolve().parents[2] / "shared") / "cases" / "input"


def tried(c: Case, inputs: Path) -> Outcome | None:
    """None where the input is absent."""
    path = inputs / (c.input or "")
    if c.input and not path.exists():
        return None
    try:
        return c.check(path)
    except InputError as e:
        return Outcome(False, f"refused: {e}")


def main(argv: list[str]) -> int:
    inputs = Path(argv[0]) if argv else folder_of_inputs()
    wrong = 0
    print(f"| case | input | right outcome | seen | verdict |\n|{'---|' * 5}")
    for c in CASES:
        outcome = tried(c, inputs)
        verdict = "absent" if outcome is None else "right" if outcome.right else "WRONG"
        wrong += verdict == "WRONG"
        seen = "" if outcome is None else outcome.seen.replace("|", "/")
        print(f"| {c.number} | {c.input or '-'} | {c.why} | {seen} | {verdict} |")
    print(f"\n{len(CASES)} cases, {wrong} wrong", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
