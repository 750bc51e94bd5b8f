"""Bytes <-> records: what goes out comes back, and no bytes whatever raise or take a neighbour along."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from multitaskais.records import REPORT_DTYPE, Reason
from stream_operator.kafka import codec as wire
from stream_operator.kafka.codec import ConsumerRecord, decode
from stream_operator.plain_text import escaped, json_line, plain

T = 1_700_000_000.0


def record(**fields) -> ConsumerRecord:
    base = {
        "mmsi": "227000001",
        "x": -5.0,
        "y": 48.0,
        "sog": 10.0,
        "cog": 90.0,
        "true_heading": 91.0,
        "tagblock_timestamp": T,
    }
    return ConsumerRecord(0, b"227000001", json.dumps({**base, **fields}).encode())


def one(**fields) -> dict:
    reports = decode([record(**fields)]).reports
    return dict(zip(REPORT_DTYPE.names, reports.tolist()[0], strict=True))


def reason(raw: ConsumerRecord) -> Reason:
    decoded = decode([record(), raw, record()])
    assert decoded.record_of.tolist() == [0, 2]
    [(i, why)] = decoded.bad
    assert i == 1
    return why


number = st.floats(allow_nan=False, allow_infinity=False, width=32)
rows = st.tuples(
    st.integers(1, 999_999_999),
    st.floats(1.0, 4e9),
    st.floats(-90, 90) | st.just(float("nan")),
    st.floats(-180, 180),
    st.floats(0, 102.2) | st.just(float("nan")),
    st.floats(0, 360, exclude_max=True) | st.just(float("nan")),
    st.floats(0, 360, exclude_max=True) | st.just(float("nan")),
    st.integers(-1, 15),
    st.sampled_from([-1, *range(1, 28)]),
    st.integers(-1, 255),
    st.text("ABC XYZ0123456789-.", max_size=20).map(lambda s: s.strip().encode()),
    st.integers(-1, 59),
    st.text("rb0123456789_", max_size=15).map(lambda s: s.encode()),
)


@given(st.lists(rows, max_size=20))
def test_what_the_feeder_writes_the_worker_reads(reports):
    raw = [ConsumerRecord(i, *wire.encode_report(row)) for i, row in enumerate(reports)]
    decoded = decode(raw)
    assert decoded.bad == []
    want = np.array(reports, REPORT_DTYPE)
    want["lon"][np.isnan(want["lat"])] = np.nan  # half a position is none
    for name in REPORT_DTYPE.names:
        np.testing.assert_array_equal(decoded.reports[name], want[name])


@given(st.lists(st.tuples(st.none() | st.binary(max_size=12), st.none() | st.binary(max_size=80)), max_size=10))
def test_any_bytes_are_counted_and_none_raises(pairs):
    records = [ConsumerRecord(i, k, v) for i, (k, v) in enumerate(pairs)]
    decoded = decode(records)
    assert len(decoded.reports) + len(decoded.bad) == len(records)


json_values = st.recursive(
    st.none() | st.booleans() | number | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FIELDS = (
    "mmsi",
    "x",
    "y",
    "sog",
    "cog",
    "true_heading",
    "tagblock_timestamp",
    "nav_status",
    "msg_type",
    "ship_type",
    "ship_name",
    "other",
)


@given(st.dictionaries(st.sampled_from(FIELDS), json_values))
def test_any_json_in_any_field_gives_a_sound_report_or_a_reason(fields):
    decoded = decode([record(), record(**fields), record()])
    assert len(decoded.reports) + len(decoded.bad) == 3
    r = decoded.reports
    assert np.all(np.isnan(r["lat"]) | (np.abs(r["lat"]) <= 90))
    assert np.all(np.isnan(r["cog"]) | ((r["cog"] >= 0) & (r["cog"] < 360)))
    assert np.all(np.isfinite(r["t"]))


def test_sentinels_null_and_absent_are_missing():
    for fields in (
        {"sog": 102.3, "cog": 360, "true_heading": 511, "y": 91, "x": 181},
        dict.fromkeys(("sog", "cog", "true_heading", "y", "x")),
    ):
        got = one(**fields)
        assert all(np.isnan(got[k]) for k in ("sog", "cog", "heading", "lat", "lon"))
    got = decode([ConsumerRecord(0, b"1", b'{"mmsi":"1","tagblock_timestamp":1700000000}')]).reports
    assert np.isnan(got["sog"][0])
    assert (got["nav_status"][0], got["msg_type"][0], got["ship_type"][0], got["ship_name"][0]) == (-1, -1, -1, b"")


def test_102_2_knots_is_a_value_for_the_core_to_refuse():
    assert one(sog=102.2)["sog"] == 102.2


def test_other_fields_are_ignored_and_integers_may_come_as_floats():
    got = one(nav_status=5.0, ship_type=70, msg_type=1, ship_name="MARION@@@ ", station={"id": 3})
    assert (got["nav_status"], got["ship_type"], got["msg_type"], got["ship_name"]) == (5, 70, 1, b"MARION")


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (ConsumerRecord(1, b"1", b"nope"), Reason.BAD_JSON),
        (ConsumerRecord(1, b"1", b""), Reason.BAD_JSON),
        (ConsumerRecord(1, b"1", b'{"mmsi":"1","sog":NaN,"tagblock_timestamp":1}'), Reason.BAD_JSON),
        (ConsumerRecord(1, b"1", b'{"mmsi":"1","sog":Infinity,"tagblock_timestamp":1}'), Reason.BAD_JSON),
        (ConsumerRecord(1, b"1", b'{"mmsi":"1","sog":1e999,"tagblock_timestamp":1}'), Reason.BAD_VALUE),
        (ConsumerRecord(1, b"1", b'{"mmsi":"\xff","tagblock_timestamp":1}'), Reason.BAD_JSON),
        (ConsumerRecord(1, b"1", b'{"mmsi":"1","tagblock_timestamp":1} {"mmsi":"1"}'), Reason.BAD_JSON),
        (ConsumerRecord(1, b"1", b"[" * 50_000), Reason.BAD_VALUE),
        (ConsumerRecord(1, b"1", b'{"q":' * 10_000), Reason.BAD_JSON),
        (ConsumerRecord(1, b"1", b"[1]"), Reason.BAD_VALUE),
        (ConsumerRecord(1, b"1", b'{"tagblock_timestamp":1}'), Reason.BAD_VALUE),
        (record(sog="fast"), Reason.BAD_VALUE),
        (record(sog=-1), Reason.BAD_VALUE),
        (record(sog=True), Reason.BAD_VALUE),
        (record(mmsi=227000001), Reason.BAD_VALUE),
        (record(tagblock_timestamp=None), Reason.NO_TIME),
        (record(tagblock_timestamp=1_700_000_000_000), Reason.BAD_VALUE),
        (record(tagblock_timestamp=-1), Reason.BAD_VALUE),
        (record(mmsi="١٢٣"), Reason.BAD_MMSI),
        (record(mmsi="1234567890"), Reason.BAD_MMSI),
        (record(mmsi="227000002"), Reason.KEY_MISMATCH),
        (ConsumerRecord(1, None, record().value), Reason.NO_KEY),
        (ConsumerRecord(1, b"227000001", None), Reason.TOMBSTONE),
        (record(note="x" * 70_000), Reason.TOO_LARGE),
        (ConsumerRecord(1, b"watermark", b'{"watermark": 4085000000}'), Reason.CONTROL),
        (ConsumerRecord(1, b"model", b'{"model": "x", "version": "x", "from": 1}'), Reason.CONTROL),
        (ConsumerRecord(1, b"227000001", b"\0\0\0\0\7" + (record().value or b"")), Reason.FRAMED),
    ],
)
def test_what_is_no_report_has_its_reason_and_leaves_its_neighbours_alone(raw, why):
    assert reason(raw) is why


@given(st.text(st.characters(max_codepoint=0x2FF), max_size=40))
def test_a_name_has_no_control_characters_whatever_was_sent(name):
    decoded = decode([record(ship_name=name)])
    if len(decoded.reports):
        assert decoded.reports["ship_name"][0].decode("ascii").isprintable()


@given(st.text(max_size=200))
def test_what_is_shown_moves_no_cursor(text):
    assert all(c.isprintable() or c in "\t\n" or ord(c) > 0x9F for c in escaped(text))
    line = plain(text)
    assert line == " ".join(line.split())
    assert not {"\x1b", "\u202e", "\u200b"} & set(line)


@given(st.text(max_size=200))
@example("\ud800")
@example("\x9b2K\u202e\u2066\u2028\u200b\ufeff\x85")
def test_json_that_is_shown_moves_no_cursor_turns_no_text_round_and_is_the_same_json(text):
    line = json_line({"a": text})
    assert json.loads(line) == {"a": text}
    line.encode()
    assert not any(c in line for c in "\x1b\x7f\x9b\u202e\u2066\u2028\u200b\ufeff\n")
