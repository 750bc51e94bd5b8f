"""Where a line's time comes from, and which parts make one message."""

from __future__ import annotations

import math
import os
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multitaskais.ais.archives import read_reports
from multitaskais.ais.decoder import Context, Decoder, Message, Outcomes, Rejected
from multitaskais.ais.encode import cdv_lines
from multitaskais.ais.framing import Framer, checksum, sniff_line_format
from multitaskais.ais.zero import nothing_read
from multitaskais.errors import FormatError
from multitaskais.records import Counts, Reason
from tests.support.builders import sail

SENTENCE = b"!AIVDM,1,1,,A,13JEhD7P1>w`ApbK`Q8K??w22@CD,0*12"
PART_1 = b"!AIVDM,2,1,2,B,552H<Dl00001HDL62210ThuB08t5B1HDL622220j1083340Ht3h00000,0*4B"
PART_2 = b"!AIVDM,2,2,2,B,000000000000000,2*25"


def tag(fields: bytes) -> bytes:
    return b"\\" + fields + b"*%02X" % checksum(fields) + b"\\"


def pghp(of: bytes = b"12", stamp: bytes = b"2008,5,9,0,0,0,10") -> bytes:
    body = b"PGHP,1," + stamp + b",338,2,,1," + of
    return b"$" + body + b"*%02X" % checksum(body)


def decode(*lines: bytes, line_format: str | None = None, at: float | None = None) -> list:
    decoder = Decoder(line_format, at)
    out = [o for i, line in enumerate(lines) for o in decoder.feed(i, line)]
    return out + list(decoder.finish())


def times(*lines: bytes, line_format: str | None = None, at: float | None = None) -> list[float | None]:
    found = decode(*lines, line_format=line_format, at=at)
    return [None if math.isnan(o.t) else o.t for o in found if isinstance(o, Message)]


@pytest.mark.parametrize(
    ("line", "t"),
    [
        (b"2011/07/08 14:30:34 " + SENTENCE, 1310135434.0),
        (b"2011/07/08 14:30:34.250 " + SENTENCE, 1310135434.25),
        (b"\xef\xbb\xbf2011/07/08 14:30:34 " + SENTENCE, 1310135434.0),
        (tag(b"c:1488326400,s:rORBCOMM115") + SENTENCE, 1488326400.0),
        (tag(b"s:b:2,c:1488326400123") + SENTENCE, 1488326400.123),
        (SENTENCE + b",r003669987,1152921693", 1152921693.0),
        (SENTENCE + b",d-109,S2105,t050056.00,T56.1,r003669946,1325394060,1325394001", 1325394060.0),
        (SENTENCE + b",1327992119157", 1327992119.157),
        (SENTENCE, None),
        (SENTENCE + b"\r", None),
    ],
)
def test_each_format_is_dated_where_its_time_stands(line: bytes, t: float | None) -> None:
    assert times(line) == [t]


def test_a_given_time_dates_only_what_has_none() -> None:
    assert times(SENTENCE, tag(b"c:7") + SENTENCE, at=1e9) == [1e9, 7.0]


def test_a_tag_block_may_stand_on_a_line_of_its_own() -> None:
    assert times(tag(b"c:1488326400"), b"", SENTENCE, SENTENCE) == [1488326400.0, None]


def test_a_tag_block_with_a_wrong_checksum_dates_nothing() -> None:
    broken = tag(b"c:1488326400").replace(b"1488", b"1489")
    assert times(broken + SENTENCE, at=1e9) == [None]
    assert decode(broken) == [Rejected(0, Reason.CHECKSUM)]


def test_a_time_that_is_no_moment_dates_nothing() -> None:
    assert times(b"2011/02/29 00:00:00 " + SENTENCE, at=1e9) == [None]
    assert times(b"2011/07/08 23:59:60 " + SENTENCE, at=1e9) == [None]


def test_a_gatehouse_line_dates_the_sentence_that_follows() -> None:
    assert times(pghp(), SENTENCE, SENTENCE) == [1210291200.01, None]


def test_a_gatehouse_line_of_another_sentence_dates_nothing() -> None:
    assert times(pghp(of=b"77"), SENTENCE) == [None]


def test_a_gatehouse_line_dates_a_message_of_several_parts_by_its_first() -> None:
    assert times(pghp(of=b"77"), PART_1, PART_2) == [1210291200.01]


def read(path, **options):
    parts = list(read_reports([path], **options))
    return [t for p in parts for t in p.reports["t"].tolist()], sum(p.counts.received for p in parts)


@pytest.mark.parametrize("per_block", [1, 3, 65536])
def test_gatehouse_lines_behind_their_sentences_date_them(per_block: int, tmp_path: Path) -> None:
    moments = [1_210_291_200.0 + 10.0 * i for i in range(20)]
    lines = []
    for i, line in enumerate(cdv_lines(sail(20, 60.0)).tobytes().splitlines()):
        sentence = line[20:]
        stamp = datetime.fromtimestamp(moments[i], UTC)
        time_line = pghp(sentence[-2:], f"{stamp:%Y,%-m,%-d,%-H,%-M,%-S},0".encode())
        lines += [sentence, time_line] if i != 7 else [PART_1, PART_2, time_line]
    (tmp_path / "a.txt").write_bytes(b"\n".join(lines) + b"\n")
    want = [t for i, t in enumerate(moments) if i != 7]
    assert read(tmp_path / "a.txt", chunk=per_block) == (want, len(lines))
    before = [line for pair in zip(lines[1:13:2], lines[0:12:2], strict=True) for line in pair]
    (tmp_path / "b.txt").write_bytes(b"\n".join(before) + b"\n")
    assert read(tmp_path / "b.txt") == (moments[:6], 12)


SYSLOG = [b"Dec 31 23:59:50", b"Dec 31 23:59:58", b"Jan  1 00:00:06", b"Jan  1 00:00:14"]
NEW_YEAR = 1_704_067_200.0  # 2024-01-01


RMC = b"GPRMC,234000.00,A,4818.000,N,00512.000,W,0.0,0.0,311223,,,A"
RMC = b"$" + RMC + b"*%02X" % checksum(RMC)


def syslog(folder: Path, name: str, first: bytes = b"", stamps: list[bytes] = SYSLOG) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    sentences = [line[20:] for line in cdv_lines(sail(len(stamps), 8.0)).tobytes().splitlines()]
    path.write_bytes(
        first + b"".join(t + b" gate rx[71]: " + s + b"\n" for t, s in zip(stamps, sentences, strict=True))
    )
    return path


@pytest.mark.parametrize(
    ("name", "columns", "first"),
    [
        ("syslog-20240101", None, b""),
        ("ais.2024-01-02.log", None, b""),
        ("ais-2023.log", None, b""),
        ("2023/12/31/messages.log", None, b""),
        ("messages.log", {"year": "2023"}, b""),
        ("syslog-20190101", {"year": "2023"}, b""),
        ("messages.log", None, tag(b"c:1704066000") + SENTENCE + b"\n"),
        ("messages.log", None, RMC + b"\n"),
    ],
)
def test_stamps_without_a_year_are_of_the_year_that_log_name_or_user_tell(name, columns, first, tmp_path) -> None:
    found, _ = read(syslog(tmp_path, name, first), columns=columns)
    assert found[-4:] == [NEW_YEAR + s for s in (-10.0, -2.0, 6.0, 14.0)]


def test_a_log_without_any_year_is_dated_by_nothing_and_the_way_out_is_told(tmp_path: Path) -> None:
    path = syslog(tmp_path, "messages.log")
    assert read(path) == ([], 4)
    counts = Counts(4, 0, {Reason.NO_TIME: 4})
    assert "--columns year=" in str(nothing_read([str(path)], counts))
    with pytest.raises(FormatError, match="year=2024"):
        read(path, columns={"year": "24"})


def test_other_stamps_are_not_taken_for_syslog(tmp_path: Path) -> None:
    for stamp in (b"May  1 12:00:00 2024", b"Wed May  1 12:00:00 2024"):
        found, _ = read(syslog(tmp_path, "ais-1999.log", stamps=[stamp]))
        assert found == [1_714_564_800.0]
    found, _ = read(syslog(tmp_path, "ais-2024.log", stamps=[b"<30>May  1 12:00:00"]))
    assert found == [1_714_564_800.0]
    assert read(syslog(tmp_path, "ais-2023.log", stamps=[b"Feb 29 12:00:00"])) == ([], 1)


def test_the_sentences_of_a_group_have_the_time_of_its_first() -> None:
    assert times(tag(b"g:1-2-77,c:5") + SENTENCE, tag(b"g:2-2-77") + SENTENCE, tag(b"g:2-2-78") + SENTENCE) == [
        5.0,
        5.0,
        None,
    ]


def test_a_format_that_is_asked_for_is_the_only_one_trusted() -> None:
    line = b"2011/07/08 14:30:34 " + tag(b"c:5") + SENTENCE + b",1152921693"
    assert times(line) == [1310135434.0]
    assert times(line, line_format="tagblock") == [5.0]
    assert times(line, line_format="suffix") == [1152921693.0]
    assert times(line, line_format="bare", at=3.0) == [3.0]
    with pytest.raises(FormatError, match="one of cdv, tagblock"):
        Framer("csv")


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/St_Johns", "Pacific/Kiritimati"])
def test_times_are_utc_in_every_zone(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert times(b"2011/07/08 14:30:34 " + SENTENCE, pghp(), SENTENCE) == [1310135434.0, 1210291200.01]
    finally:
        monkeypatch.undo()
        time.tzset()
        assert os.environ.get("TZ") != zone or zone == "UTC"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", Reason.NOT_AIS),
        (b"# comment", Reason.NOT_AIS),
        (b"$GPRMC,194907.00,A,5241.99815,N,00517.56525,E,0.005,,010809,,,A*7B", Reason.NOT_AIS),
        (SENTENCE.replace(b"VDM", b"VDO"), Reason.OWN_SHIP),
        (SENTENCE[:-1] + b"3", Reason.CHECKSUM),
        (SENTENCE.replace(b"13J", b"13K"), Reason.CHECKSUM),
        (SENTENCE[:30], Reason.MALFORMED),
        (b"!AIVDM,1,1,,A,,0*26", Reason.MALFORMED),
        (b"!AIVDM,1,1,,A,w000000000000000000000000000,0*61", Reason.UNKNOWN_TYPE),
        (PART_2, Reason.INCOMPLETE),
        (b"\xff\xfe\x00" * 2000, Reason.NOT_AIS),
        (SENTENCE + b"," + b"x" * 100_000, Reason.MALFORMED),
        (pghp(stamp=b"2008,13,9,0,0,0,10"), Reason.MALFORMED),
    ],
)
def test_each_refusal_has_its_reason(line: bytes, reason: Reason) -> None:
    assert decode(line) == [Rejected(0, reason)]


def test_any_talker_counts() -> None:
    for talker in (b"BS", b"AB", b"--", b"SA"):
        body = talker + SENTENCE[3:-3]
        assert len(times(b"!" + body + b"*%02X" % checksum(body))) == 1


def test_two_sentences_on_one_line_are_both_decoded() -> None:
    assert len(times(SENTENCE + SENTENCE)) == 2
    assert len(times(PART_1 + rb"\r\n" + PART_2)) == 1


def test_parts_meet_across_other_lines_and_in_any_order() -> None:
    assert len(times(PART_2, SENTENCE, b"noise", PART_1)) == 2


def test_parts_of_another_station_or_channel_do_not_meet() -> None:
    other_channel = PART_2[1:-3].replace(b",B,", b",A,")
    assert decode(PART_1, b"!" + other_channel + b"*%02X" % checksum(other_channel)) == [
        Rejected(0, Reason.INCOMPLETE),
        Rejected(1, Reason.INCOMPLETE),
    ]
    assert times(PART_1 + b",r003669987,1152921693", PART_2 + b",r003669988,1152921693") == []


def test_a_part_without_station_meets_one_that_names_it() -> None:
    assert len(times(PART_1, PART_2 + b",b003660465")) == 1


def test_interleaved_stations_each_get_their_message() -> None:
    a, b = b",r003669987,1152921693", b",r003669988,1152921694"
    assert times(PART_1 + a, PART_1 + b, PART_2 + b, PART_2 + a) == [1152921694.0, 1152921693.0]


def test_a_part_that_comes_again_starts_anew() -> None:
    found = decode(PART_1, PART_1, PART_2)
    assert [type(o) for o in found] == [Rejected, Message]
    assert found[0] == Rejected(0, Reason.INCOMPLETE)


def test_parts_do_not_wait_for_ever() -> None:
    assert times(PART_1 + b",r003669987,1152921693", PART_2 + b",r003669987,1152921754") == []
    assert times(PART_1, *[b"x"] * 10_001, PART_2) == []
    assert len(times(PART_1, *[b"x"] * 9_000, PART_2)) == 1


@given(
    st.lists(
        st.sampled_from([SENTENCE, PART_1, PART_2, PART_1 + PART_2, b"", pghp(), tag(b"c:1"), SENTENCE[:-1]]),
        max_size=40,
    )
)
def test_every_line_has_exactly_one_outcome(lines: list[bytes]) -> None:
    decoder, outcomes = Decoder(), Outcomes()
    refused: list[int] = []
    for i, line in enumerate(lines):
        outcomes.begin(i)
        for o in decoder.feed(i, line):
            outcomes.add(o)
        refused += [n for n, _ in outcomes.settled()]
    for o in decoder.finish():
        outcomes.add(o)
    refused += [n for n, _ in outcomes.settled()]
    assert outcomes.counts.received == len(lines) == outcomes.counts.accepted + len(refused)
    assert len(set(refused)) == len(refused)


@given(st.binary(max_size=400))
def test_no_line_raises(line: bytes) -> None:
    for o in decode(line, b"\\" + line, b"$PGHP" + line, b"2011/07/08 14:30:34 " + line, SENTENCE[:20] + line):
        assert isinstance(o, Message | Rejected | Context)


def test_the_format_of_an_archive_is_recognised() -> None:
    assert sniff_line_format([b"2011/07/08 14:30:34 " + SENTENCE]) == "cdv"
    assert sniff_line_format([b"# x", tag(b"c:1488326400") + SENTENCE]) == "tagblock"
    assert sniff_line_format([SENTENCE + b",r003669987,1152921693"]) == "suffix"
    assert sniff_line_format([pghp(), SENTENCE]) == "pghp"
    assert sniff_line_format([SENTENCE, b"$GPRMC"]) == "bare"
    assert sniff_line_format([b"$GPRMC", b""]) is None


def test_a_time_before_the_sentence_is_read_in_any_spelling() -> None:
    for prefix, t in {
        b"2024-05-01 12:00:00 ": 1714564800.0,
        b"[2024-05-01 12:00:00.141] ": 1714564800.141,
        b"1714564800 ": 1714564800.0,
        b"1714564800123;N;": 1714564800.123,
        b'1714564800123,NMEA0183,VDM,"tcp:192.0.2.1:3000","': 1714564800.123,
    }.items():
        assert times(prefix + SENTENCE) == [t]
        assert times(prefix + tag(b"s:x") + SENTENCE) == [t]
    assert times(b"0123-05-01 12:00:00 " + SENTENCE, at=1e9) == [None]
    assert times(b"AIS: " + SENTENCE, at=1e9) == [1e9]


def test_a_time_behind_the_sentence_is_read_in_any_spelling_and_a_counter_is_none() -> None:
    line = SENTENCE + b" ( MSG: 1, REPEAT: 0, MMSI: 982006760, ppm: 1.0, timestamp: 20240501120000)"
    assert times(line) == [1714564800.0]
    assert times(SENTENCE + b",28800000", SENTENCE + b",257313500", SENTENCE + b",002573135") == [None] * 3


def test_a_tag_block_stands_behind_a_loggers_prefix() -> None:
    assert times(b"2024-05-01T12:00:05Z: " + tag(b"c:1714564800") + SENTENCE, line_format="tagblock") == [1714564800.0]


def test_a_tag_block_counts_seconds_to_nanoseconds_and_fractions() -> None:
    for text in (b"1714564800.25", b"1714564800250", b"1714564800250000", b"1714564800250000000"):
        assert times(tag(b"c:" + text) + SENTENCE) == [1714564800.25]


def test_a_receivers_json_has_its_sentences_and_its_time() -> None:
    text = SENTENCE.decode()
    for line in (
        f'{{"class":"AIS","rxuxtime":1714564800,"nmea":["{text}"]}}',
        f'{{"toa":1714564800.0,"nmea":"{text}"}}',
        f'{{"rxtime":"20240501120000","sentence":"{text}"}}',
        f'{{"time":"2024-05-01T14:00:00+02:00","message":"{text}"}}',
    ):
        assert times(line.encode()) == [1714564800.0]
        assert times(line.encode(), line_format="bare") == [None]


def test_a_boats_log_is_dated_by_its_own_clock() -> None:
    rmc = b"$GPRMC,120000.00,A,4818.000,N,00512.000,W,0.0,0.0,010524,,,A*4E"
    zda = b"$GPZDA,120100.00,01,05,2024,00,00"
    zda += b"*%02X" % checksum(zda[1:])
    assert times(SENTENCE, rmc, SENTENCE, zda, SENTENCE) == [None, 1714564800.0, 1714564860.0]
    assert times(rmc.replace(b"*4E", b"*4F"), SENTENCE) == [None]  # a wrong checksum sets no clock
    assert times(rmc, SENTENCE, at=1e9) == [1e9]
