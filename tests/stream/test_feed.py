"""The feeder: time order over files, its pace, resuming, and what arrives at the broker."""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multitaskais.ais.archives import read_reports
from multitaskais.errors import ConfigError
from multitaskais.model import folder as modelfolder
from multitaskais.records import Counts, Reason
from stream_operator.commands import external_sort as timeorder
from stream_operator.commands import feed
from stream_operator.settings import Settings
from stream_operator.worker.registry import track_rules
from tests.stream.conftest import ROOT
from tests.support.topic_reading import drain, messages
from tests.tracks.test_copies import fleet, written

HEADER = "MMSI,BaseDateTime,LAT,LON,SOG,COG,Heading,VesselName,IMO,CallSign,VesselType,Status,Length,Width,Draft,Cargo,TransceiverClass\n"


def noaa(path, rows):
    path.write_text(
        HEADER + "".join(f"{m},2020-01-01T{t},48.1,-5.2,10.0,90.0,91.0,MARION,,,70,0,,,,,A\n" for m, t in rows)
    )
    return str(path)


def test_files_are_merged_in_time_order_and_a_table_sorted_by_vessel_too(tmp_path):
    a = noaa(tmp_path / "a.csv", [(227000001, "00:00:00"), (227000001, "02:00:00"), (227000002, "00:30:00")])
    b = noaa(tmp_path / "b.csv", [(227000003, "01:00:00"), (227000003, "03:00:00")])
    rows = list(feed.archive_rows([b, a], None, counts := Counts()))
    assert [r[1] for r in rows] == sorted(r[1] for r in rows)
    assert len(rows) == 5 == counts.received
    assert rows[0][10] == b"MARION"


def test_a_transmission_that_the_archive_holds_again_at_any_delay_is_sent_once(tmp_path):
    true, heard, n = fleet(31, 4000)
    again = written(tmp_path / "all.cdv", heard).read_bytes().splitlines(keepends=True)
    (tmp_path / "all.cdv").unlink()
    for i in range(2):  # two stations' logs
        (tmp_path / f"{i}.cdv").write_bytes(b"".join(again[i::2]))
    rows = list(feed.archive_rows([str(tmp_path)], None, counts := Counts()))
    assert len(rows) == len(true) == counts.accepted
    assert counts.rejected == {Reason.DUPLICATE: n}


def test_tables_whose_first_row_is_not_their_earliest_are_merged_in_time_order_too(tmp_path):
    a = noaa(tmp_path / "a.csv", [(227000001, "05:00:00"), (227000002, "00:30:00"), (227000002, "04:00:00")])
    b = noaa(tmp_path / "b.csv", [(227000003, "06:00:00"), (227000003, "01:00:00")])
    rows = list(feed.archive_rows([a, b], None, Counts()))
    assert len(rows) == 5
    assert [r[1] for r in rows] == sorted(r[1] for r in rows)


def test_a_table_too_large_for_memory_is_sorted_on_disk_and_nothing_is_left_there(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "spill"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    (tmp_path / "spill").mkdir()
    times = [(227000001 + i % 3, f"{(i * 7) % 24:02d}:{i % 60:02d}:00") for i in range(300)]
    path = noaa(tmp_path / "a.csv", times)
    whole = list(feed.archive_rows([path], None, Counts()))
    assert not capsys.readouterr().err
    monkeypatch.setattr(feed, "in_time_order", partial(timeorder.in_time_order, run_rows=64, block_rows=7))
    monkeypatch.setattr(feed, "read_reports", partial(read_reports, chunk=50))
    rows = feed.archive_rows([path], None, Counts())
    first = next(rows)
    assert len(list((tmp_path / "spill").iterdir())) == 1
    assert repr([first, *rows]) == repr(whole)
    assert list((tmp_path / "spill").iterdir()) == []
    assert "put in order of time in" in capsys.readouterr().err


@given(
    st.lists(st.lists(st.integers(0, 20), max_size=30), max_size=12),
    st.integers(1, 40),
    st.integers(1, 9),
)
def test_sorted_on_disk_is_sorted_in_memory_equal_times_in_the_order_in_which_they_came(batches, run_rows, block_rows):
    parts, n = [], 0
    for times in batches:
        part = np.zeros(len(times), [("t", "f8"), ("n", "i8")])
        part["t"], part["n"] = times, np.arange(n, n + len(times))
        parts.append(part)
        n += len(times)
    blocks = list(timeorder.in_time_order(parts, run_rows=run_rows, block_rows=block_rows))
    table = np.concatenate([np.zeros(0, [("t", "f8"), ("n", "i8")]), *parts])
    got = np.concatenate([table[:0], *blocks])
    assert got.tolist() == table[np.argsort(table["t"], kind="stable")].tolist()


def test_the_end_of_an_archive_is_told_by_the_gap_of_the_settings_and_of_their_model(tmp_path):
    assert track_rules(Settings(model="brittany")).gap_max_s == 7200.0
    assert track_rules(Settings(model="/no/such/model")).gap_max_s == 7200.0
    assert track_rules(Settings(model="brittany", interval_max=9000.0)).gap_max_s == 9000.0
    slow = modelfolder.find("brittany")
    manifest = json.loads((slow / "manifest.json").read_text())
    manifest["track_rules"]["gap_max_s"] = 10_800.0
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    assert track_rules(Settings(model=str(tmp_path))).gap_max_s == 10_800.0


def test_the_pace_follows_the_reports_own_time():
    now, slept = [0.0], []

    def sleep(s):
        slept.append(round(s, 3))
        now[0] += s

    pace = feed.Pace("60", clock=lambda: now[0], sleep=sleep)
    for t in (1000.0, 1060.0, 1060.0, 1180.0):
        pace.wait_for(t)
    assert slept == [1.0, 2.0]
    assert not feed.Pace("max", sleep=sleep).wait_for(5.0)


@pytest.mark.parametrize("speed", ["0", "-1", "fast", "nan"])
def test_a_speed_that_is_none_is_refused(speed):
    with pytest.raises(ConfigError, match="--speed"):
        feed.Pace(speed)


def test_bare_sentences_get_the_time_of_their_arrival_and_blocks_may_be_cut_anywhere():
    line = b"!AIVDM,1,1,,A,13JEhD7P1>w`ApbK`Q8K??w22@CD,0*12\r\n"
    whole = list(feed.live_rows([line * 2], None, Counts(), clock=lambda: 1_700_000_000.0))
    cut = list(
        feed.live_rows(
            [(line * 2)[:20], (line * 2)[20:70], (line * 2)[70:]], None, Counts(), clock=lambda: 1_700_000_000.0
        )
    )
    assert repr(whole) == repr(cut)
    assert {r[1] for r in whole} == {1_700_000_000.0}


def run(settings: Settings, *args: str, stdin: bytes = b"") -> subprocess.CompletedProcess:
    env = {
        **os.environ,
        "BOOTSTRAP_SERVERS": settings.bootstrap_servers,
        "TOPIC": settings.topic,
        "APP_ID": settings.app_id,
        "CONTROL_TOPIC": settings.control_topic,
    }
    return subprocess.run(
        [sys.executable, "-m", "stream_operator", *args],
        input=stdin,
        capture_output=True,
        env=env,
        cwd=ROOT,
        timeout=60,
    )


@pytest.mark.broker
def test_an_archive_arrives_keyed_by_vessel_ends_with_a_watermark_and_resumes(settings, tmp_path, monkeypatch):
    monkeypatch.setenv("INTERVAL_MAX", "9000")
    path = noaa(tmp_path / "a.csv", [(227000001 + i % 7, f"00:{i % 60:02d}:00") for i in range(60)])
    done = run(settings, "feed", path, "--finish", "--quiet", "--resume", str(tmp_path / "note"))
    assert done.returncode == 0, done.stderr
    got = messages(settings, settings.topic)
    reports = got
    assert len(reports) == 60
    assert all(m.key().decode() == json.loads(m.value())["mmsi"] for m in reports)
    partition_of: dict[bytes, set[int]] = {}
    for m in reports:
        partition_of.setdefault(m.key(), set()).add(m.partition())
    assert all(len(p) == 1 for p in partition_of.values())
    end = max(json.loads(m.value())["tagblock_timestamp"] for m in reports)
    [said] = [r for r in drain(settings, settings.control_topic) if r["kind"] == "watermark" and r["final"]]
    assert said["t"] == end + 9000.0 + 120.0 + 1.0
    ends = {str(m.partition()): 0 for m in reports}
    for m in reports:
        ends[str(m.partition())] = max(ends[str(m.partition())], m.offset() + 1)
    assert said["after"] == ends
    again = run(settings, "feed", path, "--quiet", "--resume", str(tmp_path / "note"))
    assert b"sent 0 reports" in again.stderr


@pytest.mark.broker
def test_sentences_come_from_standard_input_and_from_tcp(settings):
    line = b"!AIVDM,1,1,,A,13JEhD7P1>w`ApbK`Q8K??w22@CD,0*12\n"
    assert run(settings, "feed", "--stdin", "--quiet", stdin=line).returncode == 0
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            connection, _ = server.accept()
            with connection:
                for _ in range(3):
                    connection.sendall(line)
                threading.Event().wait(3)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        done = run(settings, "feed", "--tcp", f"127.0.0.1:{server.getsockname()[1]}", "--limit", "2", "--quiet")
        assert done.returncode == 0, done.stderr
        thread.join(5)
    assert len(messages(settings, settings.topic)) == 3


def test_several_sources_at_once_are_refused():
    with pytest.raises(ConfigError, match="one of them"):
        feed.main(["--stdin", "x.cdv"])


def test_rows_of_blocks_are_all_rows():
    reports = np.zeros(25, [("t", "f8")])
    assert len(list(itertools.chain(feed.iter_rows(reports, 10)))) == 25


def test_a_report_that_was_handed_over_is_counted_whenever_the_signal_comes(monkeypatch):
    feeder = feed.Feeder.__new__(feed.Feeder)
    feeder.sent, feeder.t_max, feeder.stopped, feeder._in_hand, feeder._told_to_stop = 0, 0.0, False, False, False
    told = []

    def produce(*_: object) -> None:
        feeder.on_signal(signal.SIGTERM, None)  # behind the producer's back
        told.append(True)

    monkeypatch.setattr(feeder, "_produce", produce)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with pytest.raises(feed.Stop):
        feeder.send((227_000_001, 1.7e9, 48.0, -5.0, 10.0, 90.0, float("nan"), -1, 1, -1, b"", -1, b""))
    assert (feeder.sent, told) == (1, [True])
    with pytest.raises(feed.Stop):
        feeder.on_signal(signal.SIGTERM, None)  # with nothing in hand it ends at once
