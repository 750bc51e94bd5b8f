"""The ships' own seconds: carried, compared with the stamps, and what they are used for."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multitaskais.ais.archives import read_reports
from multitaskais.ais.encode import cdv_lines
from multitaskais.ais.vectorized.block import decode_block
from multitaskais.cli import main
from multitaskais.errors import InputError
from multitaskais.records import REPORT_DTYPE, Counts
from multitaskais.stamps import AGREES_S, REDATE_MAX_S, Stamps, ahead_of_second, are_coarse, is_redated
from tests.support.builders import T0, sail


def read(path: Path) -> tuple[np.ndarray, Counts]:
    counts, parts = Counts(), [np.zeros(0, REPORT_DTYPE)]
    for reports, of_batch in read_reports(path):
        counts.add(of_batch)
        parts.append(reports)
    return np.concatenate(parts), counts


def sentences(reports: np.ndarray) -> list[bytes]:
    return [line[20:] for line in cdv_lines(reports).tobytes().split(b"\n") if line]


def late_log(path: Path, delays: np.ndarray, station: bytes = b"") -> np.ndarray:
    """A straight ship, heard by a station that stamps ``delays`` seconds late; the true reports."""
    true = sail(len(delays), 12.0)
    lines = []
    for sentence, t in zip(sentences(true), true["t"] + delays, strict=True):
        if station:
            body = b"s:%s,c:%d" % (station, t)
            sum_of = 0
            for c in body:
                sum_of ^= c
            lines.append(b"\\%s*%02X\\%s\n" % (body, sum_of, sentence))
        else:
            lines.append(sentence + b",%d\n" % t)
    path.write_bytes(b"".join(lines))
    return true


def test_jittered_stamps_are_put_right_by_the_ships_own_seconds(tmp_path: Path) -> None:
    delays = np.random.default_rng(1).integers(0, 13, 400)
    true = late_log(tmp_path / "a.nm4", delays)
    reports, counts = read(tmp_path / "a.nm4")
    assert np.abs(reports["t"] - true["t"]).max() <= AGREES_S
    assert counts.stamps.redated == np.count_nonzero(delays > AGREES_S)
    assert "agree within 5 s" in counts.stamps.agreement()


@pytest.mark.parametrize("delay", [0, 3, 20])
def test_stamps_that_agree_or_are_off_alike_stay(tmp_path: Path, delay: int) -> None:
    true = late_log(tmp_path / "a.nm4", np.full(200, delay))
    reports, counts = read(tmp_path / "a.nm4")
    np.testing.assert_array_equal(reports["t"], true["t"] + delay)
    assert counts.stamps.redated == 0


def test_a_file_gives_the_same_times_line_by_line_as_in_any_blocks(tmp_path: Path) -> None:
    late_log(tmp_path / "a.nm4", np.random.default_rng(2).integers(0, 13, 300))
    whole, _ = read(tmp_path / "a.nm4")
    pieces = np.concatenate([r for r, _ in read_reports(tmp_path / "a.nm4", chunk=7)])
    np.testing.assert_array_equal(whole["t"], pieces["t"])


@given(st.integers(0, 59), st.floats(-30, 30), st.integers(0, 10**6))
def test_a_redated_moment_has_the_ships_own_second_and_lies_near_its_stamp(
    second: int, off: float, minute: int
) -> None:
    t = np.array([1.7e9 // 60 * 60 + minute * 60.0 + second + off])
    ahead = ahead_of_second(t, np.array([second], np.int8))
    assert abs(ahead[0]) <= 30.0
    if is_redated(ahead)[0]:
        assert abs((t - ahead)[0] % 60 - second) < 1e-6
        assert AGREES_S < abs(ahead[0]) <= REDATE_MAX_S


def test_seconds_without_relation_to_the_stamps_are_no_evidence() -> None:
    rng = np.random.default_rng(3)
    assert not are_coarse(rng.uniform(-30, 30, 1000))
    assert not are_coarse(np.zeros(1000))
    assert not are_coarse(np.full(1000, np.nan))
    assert are_coarse(rng.uniform(0, 12, 1000))


def test_who_received_is_read_from_tag_block_and_suffix(tmp_path: Path) -> None:
    late_log(tmp_path / "a.nm4", np.zeros(3), b"2573135")
    assert set(read(tmp_path / "a.nm4")[0]["station"].tolist()) == {b"2573135"}
    lines = b"".join(s + b",r003669987,%d\n" % (T0 + 25 * i) for i, s in enumerate(sentences(sail(3, 25.0))))
    (tmp_path / "b.nm4").write_bytes(lines)
    reports, _ = read(tmp_path / "b.nm4")
    assert set(reports["station"].tolist()) == {b"r003669987"}
    assert reports["second"].tolist() == [0, 25, 50]


@given(st.lists(st.tuples(st.sampled_from(["s:%s,c:1500000000", "c:1500000000,s:%s", "s:x,s:%s,c:1500000000", "c:1500000000"]),
                          st.text("rR019_ .:", max_size=20), st.sampled_from([b"", b",1500000000", b",r003669987,1500000000"])), min_size=1, max_size=8))  # fmt: skip
def test_stations_in_blocks_are_those_of_lines_read_one_by_one(tags: list[tuple[str, str, bytes]]) -> None:
    text = b""
    for (pattern, name, suffix), sentence in zip(tags, sentences(sail(len(tags))), strict=True):
        body = (pattern % name if "%s" in pattern else pattern).encode()
        sum_of = 0
        for c in body:
            sum_of ^= c
        text += b"\\%s*%02X\\%s%s\n" % (body, sum_of, sentence, suffix)
    fast, slow = decode_block(text).reports, decode_block(text, line_kernel=None).reports
    assert fast["station"].tolist() == slow["station"].tolist()
    assert fast["second"].tolist() == slow["second"].tolist()


def test_a_stations_clock_is_measured(tmp_path: Path) -> None:
    late_log(tmp_path / "a.nm4", np.full(100, 14.0), b"2573135")
    _, counts = read(tmp_path / "a.nm4")
    assert counts.stamps.station_offsets() == {b"2573135": 14}
    assert "the clock of station 2573135 is 14 s ahead of the ships'" in counts.stamps.told()


def test_summaries_of_parts_add_up_to_that_of_the_whole() -> None:
    rng = np.random.default_rng(4)
    t = T0 + rng.uniform(0, 1e5, 200)
    second = rng.integers(-1, 60, 200).astype(np.int8)
    stations = rng.choice([b"a", b"b", b""], 200)
    whole, parts = Stamps(), Stamps()
    for stamps, cuts in ((whole, [0, 200]), (parts, [0, 50, 51, 200])):
        for a, b in itertools.pairwise(cuts):
            one = Stamps()
            one.see(t[a:b])
            one.compare(ahead_of_second(t[a:b], second[a:b]), stations[a:b])
            stamps.add(one)
    assert whole.told() == parts.told()
    assert whole.station_offsets() == parts.station_offsets()


def test_a_counter_of_samples_is_refused_by_every_reader_and_years_that_step_back_are_told(tmp_path: Path) -> None:
    reports = sail(30)
    text = b"".join(s + b",%d\n" % (900_000_000 + 40_000_000 * i) for i, s in enumerate(sentences(reports)))
    (tmp_path / "counter.log").write_bytes(text)
    with pytest.raises(InputError, match="they are no times"):
        read(tmp_path / "counter.log")
    reports["t"][15:] -= 20 * 365 * 86400.0
    (tmp_path / "rollover.cdv").write_bytes(cdv_lines(reports).tobytes())
    _, counts = read(tmp_path / "rollover.cdv")
    assert any("step back by more than a year 1 times" in line for line in counts.stamps.told())


def test_decode_says_the_span_and_the_agreement(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    true = late_log(tmp_path / "a.nm4", np.zeros(60))
    assert main(["decode", "--quiet", str(tmp_path / "a.nm4")]) == 0
    out, err = capsys.readouterr()
    assert [json.loads(line)["time"] for line in out.splitlines()] == true["t"].tolist()
    assert "100 % of 60 stamps agree within 5 s with the ship's own second" in err
    assert "stamps from 2017-07-14 02:40:00 to" in err
