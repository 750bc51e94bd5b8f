"""Names and types of ships decoded in blocks are those of pyais, one message at a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import composite

from multitaskais.ais.encode import encode_static
from multitaskais.ais.positions import StaticData
from multitaskais.ais.vectorized import positions as kernel
from multitaskais.ais.vectorized import statics as kernel_static
from multitaskais.ais.vectorized.block import CODE_OF, WAITING, BlockDecoder, decode_block, locate_lines
from multitaskais.records import Counts, Reason
from tests.ais.test_block_equals_pyais import ARMOUR, same, same_as, sentence, tag_block

STAMPS = [b"2011/07/08 14:30:34 "] * 6 + [
    b"2011/07/08 14:30:59 ",
    b"2011/07/08 14:32:00 ",
    b"",
    b"2011/02/30 00:00:00 ",
]
ALPHA = StaticData(227_000_001, 0.0, 5, b"ALPHA", 70, b"FABC", 9_000_001, 100, 20, 10, 12)
BETA = StaticData(227_000_002, 0.0, 24, b"BETA", 36, b"FB12", -1, 5, 6, 2, 1)


@composite
def messages(draw: st.DrawFn) -> list[bytes]:
    """The sentences of one message: static data as ships send it, random bits of its length, and what only looks like it."""
    kind = draw(st.sampled_from(["5", "5", "5", "5 bits", "5 bits", "24", "24 bits", "other", "one line"]))
    sequence = draw(st.sampled_from([0, 1, 1, 2]))
    if kind in ("5", "24"):
        name = draw(st.sampled_from([b"ALPHA", b"", b"@B", b" C @D", b"TWENTY LETTERS AND 1X", b"E  "]))
        mmsi = draw(st.sampled_from([227_000_001, 227_000_002, 987_000_003, 0, 2**30 - 1]))
        said = StaticData(mmsi, 0.0, int(kind), name, draw(st.sampled_from([0, 38, 70])), b"F1", -1, 3, 2, 1, 0)
        return encode_static(said, sequence)
    if kind in ("5 bits", "one line"):
        n = draw(st.sampled_from([71] * 6 + [30, 45, 46, 70, 72, 80]))
        payload = draw(st.sampled_from("555589")) + draw(st.text(ARMOUR, min_size=n - 1, max_size=n - 1))
        fill = draw(st.sampled_from([2, 2, 2, 0, 5]))
        if kind == "one line":
            return [sentence(payload, fill, draw(st.sampled_from(["AIVDM,1,1,,A", "AIVDM,1,1,3,B", "AIVDM,1,1,,"])))]
        cut = draw(st.sampled_from([59, 60, 28, 1, n - 1]))
        head = draw(
            st.sampled_from(
                ["AIVDM,2,{},1,A"] * 6 + ["AIVDM,2,{},,B", "BSVDM,2,{},1,A", "AIVDM,2,{},1,", "AIVDM,3,{},1,A"]
            )
        )
        first, second = (head.format(k) for k in (1, 2))
        return [sentence(payload[:cut], draw(st.sampled_from([0, 0, 3])), first), sentence(payload[cut:], fill, second)]
    if kind == "24 bits":
        n = draw(st.sampled_from([27, 27, 27, 26, 25, 6, 40]))
        return [sentence("H" + draw(st.text(ARMOUR, min_size=n, max_size=n)), draw(st.sampled_from([0, 0, 2, 4])))]
    first = draw(st.sampled_from("8619;1B"))
    text = first + draw(st.text(ARMOUR, min_size=27, max_size=27))
    return [sentence(text, 0, f"AIVDM,2,{k},{sequence or ''},A") for k in (1, 2)][: draw(st.sampled_from([1, 2]))]


@composite
def archives(draw: st.DrawFn) -> list[bytes]:
    """Lines of several messages: parts with others between them, doubled, lost, turned round, broken."""
    lines = [s for message in draw(st.lists(messages(), max_size=8)) for s in message]
    for _ in range(draw(st.integers(0, 3))):
        if not lines:
            break
        i, j = (draw(st.integers(0, len(lines) - 1)) for _ in range(2))
        harm = draw(st.sampled_from(["swap", "swap", "lose", "double", "break", "noise", "tag", "pghp", "other fill"]))
        if harm == "swap":
            lines[i], lines[j] = lines[j], lines[i]
        elif harm == "lose":
            del lines[i]
        elif harm == "double":
            lines.insert(j, lines[i])
        elif harm == "break":
            lines[i] = lines[i][:-1] + b"Z"
        elif harm == "noise":
            lines.insert(
                i, draw(st.sampled_from([b"noise", sentence("1" * 28), b"!AIVDM", lines[i] + lines[j], lines[i][3:]]))
            )
        elif harm == "tag":
            lines[i] = tag_block(draw(st.sampled_from(["c:1488326400", "g:1-2-7,c:1488326400", "s:r1"]))) + lines[i]
        elif harm == "pghp":
            lines.insert(i, b"$PGHP,1,2008,5,9,0,0,0,10,338,2,,1,09*17")
        else:
            lines[i] = lines[i] + draw(st.sampled_from([b" ", b"\r", b",r003669987,1152921693"]))
    return [draw(st.sampled_from(STAMPS)) + line + b"\n" for line in lines]


@given(archives(), st.sampled_from([None, None, "cdv", "bare"]), st.sampled_from([None, 1e9]))
def test_static_data_of_a_block_is_that_of_pyais(lines: list[bytes], line_format: str | None, at: float | None) -> None:
    same(b"".join(lines), line_format, at)


@given(archives(), st.data())
def test_parts_on_both_sides_of_a_border_of_blocks_are_joined_as_pyais_alone_does(
    lines: list[bytes], data: st.DataObject
) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(lines)), max_size=3)))
    decoders = [BlockDecoder(at=5.0, line_kernel=k) for k in (None, kernel.numpy_kernel)]
    totals = [Counts(), Counts()]
    for a, b in zip([0, *cuts], [*cuts, len(lines)], strict=True):
        blocks = [d.decode(b"".join(lines[a:b])) for d in decoders]
        assert blocks[0].codes.tolist() == blocks[1].codes.tolist()
        assert repr(blocks[0].statics) == repr(blocks[1].statics)
        assert blocks[0].counts == blocks[1].counts
        for total, block in zip(totals, blocks, strict=True):
            total.add(block.counts)
    for total, decoder in zip(totals, decoders, strict=True):
        total.add(decoder.finish())
    assert totals[0] == totals[1]


def found(lines: list[bytes]) -> kernel_static.Statics:
    buf, starts, ends = locate_lines(b"\n".join(lines))
    return kernel_static.find(buf, starts, ends, np.arange(len(starts)), kernel.Trust(at=1.0))


def test_usual_static_data_never_comes_to_pyais() -> None:
    """Else the equality above would hold for a kernel that leaves everything to pyais."""
    stamp = b"2011/07/08 14:30:34 "
    five, parts = encode_static(ALPHA, 3), encode_static(BETA)
    statics = found([stamp + five[0], parts[0], stamp + five[1], stamp + parts[1]])
    assert statics.first == {0: 0}
    assert statics.second == {2: 0}
    assert statics.said == [ALPHA._replace(t=1_310_135_434.0)]
    a, b = statics.alone[1], statics.alone[3]
    assert a is not None
    assert b is not None
    assert (a.name, b.ship_type, b.callsign, b.length) == (b"BETA", 36, b"FB12", 11)


def test_a_line_that_could_be_a_part_leaves_the_pair_to_the_assembler() -> None:
    five = encode_static(ALPHA, 3)
    assert found([five[0], b"!AIVDM,2,1,3,A,garbled", five[1]]).first == {}
    assert found([five[0], sentence("8" * 20, 0, "AIVDM,1,1,,A"), five[1]]).first == {0: 0}


@pytest.mark.parametrize("channel", [b"A", b"B"])
def test_a_first_part_waits_for_none_that_an_older_one_of_its_key_would_take(channel: bytes) -> None:
    """The older part is on the other side of a border of blocks."""
    old, new = encode_static(ALPHA, 3), encode_static(ALPHA._replace(name=b"NEW"), 3)
    if channel == b"B":
        old = [sentence("5" * 40, 0, "AIVDM,2,1,3,B"), sentence("5" * 20, 2, "AIVDM,2,2,3,B")]
    outcomes = []
    for line_kernel in (None, kernel.numpy_kernel):
        decoder = BlockDecoder(at=1.0, line_kernel=line_kernel)
        first = decoder.decode(old[0])
        assert first.codes.tolist() == [WAITING]
        block = decoder.decode(b"\n".join(new))
        assert block.codes.tolist() == [CODE_OF[Reason.NOT_A_POSITION]] * 2
        outcomes.append((repr(block.statics), block.counts))
    assert outcomes[0] == outcomes[1]
    # of the same key: the same part comes again, so the older one is given up by this block
    assert outcomes[0][1].rejected.get(Reason.INCOMPLETE, 0) == (channel == b"A")


def test_a_name_heard_between_two_reports_reaches_the_later_one_alone() -> None:
    lines = [sentence("13JEhD7P1>w`ApbK`Q8K??w22@CD"), *encode_static(ALPHA._replace(mmsi=228_946_000))]
    text = b"\n".join([*lines, lines[0]])
    block = decode_block(text, at=1.0)
    same_as(decode_block(text, at=1.0, line_kernel=None), block)
    assert block.reports["ship_name"].tolist() == [b"", b"ALPHA"]
