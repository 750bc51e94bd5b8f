"""The block path and pyais say the same about every line."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import numpy as np
import pyais
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import composite

from multitaskais.ais.framing import checksum
from multitaskais.ais.vectorized import positions as kernel
from multitaskais.ais.vectorized.block import (
    ACCEPTED,
    CODE_OF,
    WAITING,
    Block,
    BlockDecoder,
    compiled_kernel,
    decode_block,
    reason_of,
)
from multitaskais.records import REPORT_DTYPE, Counts, Reason

# the second is the first where numba is not installed
KERNELS = [kernel.numpy_kernel, compiled_kernel()]
ARMOUR = "".join(chr(c) for c in [*range(48, 88), *range(96, 120)])


def sentence(payload: str, fill: int = 0, head: str = "AIVDM,1,1,,A", broken: int = 0) -> bytes:
    body = f"{head},{payload},{fill}".encode()
    return b"!" + body + b"*%02X" % (checksum(body) ^ broken)


def tag_block(fields: str, broken: int = 0) -> bytes:
    return b"\\" + fields.encode() + b"*%02X" % (checksum(fields.encode()) ^ broken) + b"\\"


def equal_rows(a: np.ndarray, b: np.ndarray) -> bool:
    """Field by field, NaN equals NaN."""
    if len(a) != len(b):
        return False
    return all(np.array_equal(a[f], b[f], equal_nan=a.dtype[f].kind == "f") for f in REPORT_DTYPE.names or ())


def same(lines: bytes, line_format: str | None = None, at: float | None = None) -> None:
    """All paths give the same codes, reports, static data and counts."""
    slow = decode_block(lines, line_format, at, line_kernel=None)
    for line_kernel in KERNELS:
        same_as(slow, decode_block(lines, line_format, at, line_kernel=line_kernel))


def same_as(slow: Block, fast: Block) -> None:
    assert [reason_of(c) for c in fast.codes] == [reason_of(c) for c in slow.codes]
    assert fast.line.tolist() == slow.line.tolist()
    assert equal_rows(fast.reports, slow.reports)
    assert repr(fast.statics) == repr(slow.statics)
    assert fast.counts == slow.counts
    check_counts(fast.counts, len(fast.codes), len(set(fast.line.tolist())))


def check_counts(counts: Counts, lines: int, reports: int) -> None:
    assert counts.received == lines == counts.accepted + sum(counts.rejected.values())
    assert counts.accepted == reports


@composite
def payloads(draw: st.DrawFn) -> str:
    """Mostly the position types at their length, and anything else."""
    first = draw(st.sampled_from("1123B3BB45;9HKC1B0w"))
    n = draw(st.sampled_from([27] * 12 + [0, 1, 10, 15, 22, 23, 25, 26, 28, 29, 51, 52, 70, 199]))
    chars = draw(st.text(ARMOUR, min_size=n, max_size=n))
    if draw(st.integers(0, 20)) == 0:
        at = draw(st.integers(0, n))
        chars = chars[:at] + draw(st.sampled_from("XY_x,!*\\ ~\x00é")) + chars[at + 1 :]
    return first + chars


@composite
def near_lines(draw: st.DrawFn) -> bytes:
    """Lines of all formats, mostly good, now and then broken in the ways of the real world."""
    payload = draw(payloads())
    head = draw(
        st.sampled_from(
            ["AIVDM,1,1,,A"] * 8
            + [
                "AIVDM,1,1,,B",
                "BSVDM,1,1,,A",
                "AIVDM,1,1,,",
                "AIVDM,1,1,3,B",
                "AIVDM,1,1,,1",
                "AIVDO,1,1,,A",
                "aivdm,1,1,,A",
            ]
            + [
                "--VDM,1,1,,A",
                "AIVDM,2,1,3,A",
                "AIVDM,2,2,3,A",
                "AIVDM,1,2,,A",
                "AIVDM,1,1,,AB",
                "AIVDM,1,1,,Z",
                "AIVDM,1,1",
            ]
        )
    )
    fill = draw(st.sampled_from([0] * 12 + [2, 4, 5, 6, 9]))
    broken = draw(st.sampled_from([0] * 12 + [1, 0x10, 0x80]))
    text = sentence(payload, fill, head, broken)
    kind = draw(st.sampled_from(["cdv", "cdv", "cdv", "tag", "tag", "suffix", "suffix", "bare", "pghp", "alone"]))
    if kind == "cdv":
        stamp = draw(
            st.sampled_from(
                ["2011/07/08 14:30:34"] * 6 + ["2012/02/29 23:59:59", "2011/02/29 00:00:00", "2011/07/08 24:00:00"]
            )
        )
        stamp = draw(
            st.sampled_from(
                [stamp] * 6 + ["2011-07-08 14:30:34", "2011/7/8 1:2:3", "2011/07/08 14:30:34.25", stamp + " "]
            )
        )
        text = stamp.encode() + b" " + text
    elif kind == "tag":
        c = draw(
            st.sampled_from(["1488326400", "1488326400123", "12345", "0000000000001", "14883264x0", "99999999999"])
        )
        fields = draw(
            st.sampled_from(
                [
                    f"c:{c},s:rORBCOMM115",
                    f"s:r1,c:{c}",
                    f"c:{c}",
                    f"s:b:2,c:{c}",
                    "s:none",
                    f"g:1-2-77,c:{c}",
                    "g:2-2-77",
                    f"1G2:77,c:{c}",
                    f"c:{c},c:7",
                    f"cc:{c}",
                    f"s:!AIVDM,c:{c}",
                    f"x*y,c:{c}",
                ]
            )
        )
        text = tag_block(fields, draw(st.sampled_from([0] * 8 + [1]))) + text
    elif kind == "suffix":
        text += draw(
            st.sampled_from(
                [
                    b",r003669987,1152921693",
                    b",1327992119157",
                    b",1152921693",
                    b",rb03660465,1152921694",
                    b",0000000000001",
                    b",d-109,S2105,t050056.00,T56.13,r003669946,1325394060,1325394001",
                    b",x",
                    b",",
                    b" ",
                    b"0",
                    b",r00366998,152921693",
                    b",b003669987,115292169x",
                    b",12345678901",
                ]
            )
        )
    elif kind == "pghp":
        body = f"PGHP,1,2008,5,9,0,0,0,10,338,2,,1,{text[-2:].decode('ascii', 'replace')}".encode("ascii", "replace")
        text = b"$" + body + b"*%02X" % checksum(body) + draw(st.sampled_from([b"\n", b"\n\n", b"\r\n"])) + text
    elif kind == "alone":
        text = tag_block("c:1488326400") + b"\n" + text
    harm = draw(st.integers(0, 14))
    if harm == 0:
        text = text[: draw(st.integers(0, len(text)))]
    elif harm == 1:
        text = text + text
    elif harm == 2:
        text = text + b"\n" + text
    elif harm == 3:
        text = text[draw(st.integers(0, len(text))) :]
    elif harm == 4:
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.binary(min_size=1, max_size=3)) + text[at:]
    return text + draw(st.sampled_from([b"\n"] * 8 + [b"\r\n", b" \n", b"\n\n", b""]))


@given(
    st.lists(near_lines(), max_size=30),
    st.sampled_from([None, None, None, "cdv", "tagblock", "suffix", "pghp", "bare"]),
    st.sampled_from([None, 1e9]),
)
def test_a_block_equals_pyais_line_by_line(lines: list[bytes], line_format: str | None, at: float | None) -> None:
    same(b"".join(lines), line_format, at)


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="\\*!,"), max_size=90),
            st.sampled_from(["", "0", "1", "9", "x", "\x7f"]),
            st.integers(0, 10**14).map(str),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_stations_and_times_of_any_length_are_those_of_a_tag_block_that_is_read_by_itself(
    found: list[tuple[str, str, str]],
) -> None:
    payload = "13JEhD7P1>w`ApbK`Q8K??w22@CD"
    lines = [tag_block(f"s:{station},c:{t}{end}") + sentence(payload) for station, end, t in found]
    lines += [sentence(payload) + f",r00366{int(t) % 10**4:04d}{end},{t}".encode() for _, end, t in found]
    same(b"\n".join(lines))


@given(st.binary(max_size=3000))
def test_any_bytes_are_lines_that_are_counted(data: bytes) -> None:
    same(data)


@given(st.lists(near_lines(), max_size=20), st.data())
def test_where_the_archive_is_cut_into_blocks_changes_nothing(lines: list[bytes], data: st.DataObject) -> None:
    text = b"".join(lines).split(b"\n")
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=4)))
    decoder, total, reports = BlockDecoder(), Counts(), []
    for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True):
        block = decoder.decode(b"".join(line + b"\n" for line in text[a:b]))
        assert block.counts.received == block.counts.accepted + sum(block.counts.rejected.values())
        total.add(block.counts)
        reports.append(block.reports)
    total.add(decoder.finish())
    whole = decode_block(b"".join(line + b"\n" for line in text))
    assert equal_rows(np.concatenate(reports), whole.reports)
    assert total == whole.counts


def oracle(line: bytes) -> tuple | None:
    """A report straight from pyais, with the constants of the standard written out again."""
    m = pyais.decode(line)
    if m.msg_type not in (1, 2, 3, 18) or not 0 < m.mmsi < 1e9 or abs(m.lat) > 90 or abs(m.lon) > 180:
        return None
    return (
        m.mmsi,
        m.lat,
        m.lon,
        math.nan if m.speed == 102.3 else m.speed,
        math.nan if m.course >= 360 else m.course,
        math.nan if m.heading >= 360 else m.heading,
        -1 if m.msg_type == 18 else int(m.status),
        m.msg_type,
    )


@given(st.lists(st.tuples(st.sampled_from("123B"), st.text(ARMOUR, min_size=27, max_size=27)), min_size=1, max_size=80))
def test_each_field_of_a_random_payload_is_that_of_pyais(found: list[tuple[str, str]]) -> None:
    lines = [sentence(a + b) for a, b in found]
    line_kernel = KERNELS[len(lines) % 2]
    block = decode_block(b"\n".join(lines), at=5.0, line_kernel=line_kernel)
    expected = {i: row for i, line in enumerate(lines) if (row := oracle(line)) is not None}
    assert block.line.tolist() == list(expected)
    fields = ["mmsi", "lat", "lon", "sog", "cog", "heading", "nav_status", "msg_type"]
    for row, report in zip(expected.values(), block.reports, strict=True):
        np.testing.assert_array_equal(row, [float(report[f]) for f in fields])
    assert set(block.reports["t"].tolist()) <= {5.0}


@pytest.mark.parametrize("edge", ["111111111111111111111111111", "w" * 27, "0" * 27, "W" * 27, "`" * 27])
@pytest.mark.parametrize("first", "123B4;")
def test_edges_of_the_armour(first: str, edge: str) -> None:
    same(sentence(first + edge) + b"\n", at=1.0)
    same(b"2011/07/08 14:30:34 " + sentence(first + edge) + b"\n")


@given(st.integers(0, 2**31 - 1))
def test_cdv_time_is_utc(t: int) -> None:
    stamp = datetime.fromtimestamp(t, UTC).strftime("%Y/%m/%d %H:%M:%S ").encode()
    block = decode_block(stamp + b"!AIVDM,1,1,,A,13JEhD7P1>w`ApbK`Q8K??w22@CD,0*12")
    assert block.reports["t"].tolist() == [t]
    assert block.reports["mmsi"].tolist() == [228946000]


def test_lines_come_as_arrow_arrays_too() -> None:
    lines = [b"2011/07/08 14:30:34 !AIVDM,1,1,,A,13JEhD7P1>w`ApbK`Q8K??w22@CD,0*12", b"", b"noise"] * 50
    expected = decode_block(b"\n".join(lines))
    text = [line.decode() for line in lines]
    forms = [pa.array(text), pa.array(text, pa.large_string()), pa.array(lines), pa.chunked_array([text[:7], text[7:]])]
    forms += [pa.array(["x", *text, "y"]).slice(1, len(text))]
    for form in forms:
        block = decode_block(form)
        assert equal_rows(block.reports, expected.reports)
        assert block.codes.tolist() == expected.codes.tolist()
    nothing = decode_block(pa.array([None, text[0], None]))
    assert [reason_of(c) for c in nothing.codes] == [Reason.NOT_AIS, None, Reason.NOT_AIS]
    assert len(decode_block(pa.array([], pa.string())).codes) == 0
    assert len(decode_block(b"").codes) == 0


def test_the_kernel_itself_decodes_the_usual_lines() -> None:
    """Else the equality above would hold for a kernel that leaves everything to pyais."""
    from multitaskais.ais.vectorized.block import locate_lines

    body = sentence("13JEhD7P1>w`ApbK`Q8K??w22@CD")
    usual = [
        b"2011/07/08 14:30:34 " + body,
        tag_block("c:1488326400,s:rORBCOMM115") + body,
        body,
        body.replace(b"AIVDM", b"AIVDM"),
    ]
    usual += [
        body + b",r003669987,1152921693",
        body + b",1327992119157",
        sentence("B" + "5" * 27),
        sentence("1" * 28, head="BSVDM,1,1,4,B"),
    ]
    usual += [sentence("1" * 28, head="AIVDM,1,1,,")]
    for line_kernel in KERNELS:
        scan = line_kernel(*locate_lines(b"\n".join(usual)), kernel.Trust(at=1.0))
        assert (scan.codes != kernel.LEFT).all()


def test_a_part_waits_for_the_others_of_its_message() -> None:
    first = b"!AIVDM,2,1,2,B,552H<Dl00001HDL62210ThuB08t5B1HDL622220j1083340Ht3h00000,0*4B\n"
    second = b"!AIVDM,2,2,2,B,000000000000000,2*25\n"
    decoder = BlockDecoder(at=1.0)
    block = decoder.decode(first)
    assert block.codes.tolist() == [WAITING]
    assert block.counts.received == 0
    block = decoder.decode(second)
    assert block.codes.tolist() == [CODE_OF[Reason.NOT_A_POSITION]]
    assert block.counts.received == 2
    assert [s.msg_type for s in block.statics] == [5]
    decoder.decode(first)
    assert decoder.finish().rejected == {Reason.INCOMPLETE: 1}


def test_a_report_carries_the_name_that_its_vessel_said_before() -> None:
    from multitaskais.ais.encode import encode_reports, encode_static
    from multitaskais.ais.positions import StaticData

    def report(mmsi: int) -> bytes:
        row = np.zeros(1, REPORT_DTYPE)
        row["mmsi"], row["lat"], row["msg_type"] = mmsi, 48.0, 1
        return encode_reports(row)[0]

    def static(mmsi: int, name: bytes, ship_type: int) -> list[bytes]:
        return encode_static(StaticData(mmsi, 0.0, 5, name, ship_type, None, -1, -1, -1, -1, -1))

    lines = [report(7), *static(7, b"ALPHA", 70), report(7), report(8), *static(7, b"BETA", 71), report(7)]
    expected = [(-1, b""), (70, b"ALPHA"), (-1, b""), (71, b"BETA")]
    for cut in range(len(lines) + 1):
        decoder = BlockDecoder(at=1.0)
        blocks = [decoder.decode(b"\n".join(part)) for part in (lines[:cut], lines[cut:])]
        reports = np.concatenate([b.reports for b in blocks])
        assert list(zip(reports["ship_type"].tolist(), reports["ship_name"].tolist(), strict=True)) == expected
    assert ACCEPTED == 0
