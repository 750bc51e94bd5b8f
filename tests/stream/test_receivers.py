"""Lines as receivers send them: UDP with loss and reordering, TCP both ways, JSON, and the time of arrival where there is none."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multitaskais.errors import ConfigError, OperatorError
from multitaskais.records import Counts, Reason
from stream_operator import devbroker
from stream_operator.commands import feed, feed_daemon, receivers
from stream_operator.commands.feed_daemon import RECENT, EventTime, FeedState
from stream_operator.kafka.topics import Admin
from tests.stream.conftest import ROOT, own_settings, wait_until
from tests.support.topic_reading import drain, messages

LINE = b"!AIVDM,1,1,,A,13JEhD7P1>w`ApbK`Q8K??w22@CD,0*12"
NOW = 1_700_000_000.0


def rows(*lines: bytes, counts: Counts | None = None) -> list:
    counts = Counts() if counts is None else counts
    return list(feed.live_rows([line + b"\n" for line in lines], None, counts, clock=lambda: NOW))


def tag(fields: bytes, wrong: int = 0) -> bytes:
    checksum = wrong
    for byte in fields:
        checksum ^= byte
    return b"\\" + fields + b"*%02X\\" % checksum


@pytest.mark.parametrize(
    "line",
    [
        LINE,
        b" " + LINE,
        b"\xef\xbb\xbf" + LINE,
        tag(b"s:2573135") + LINE,
        tag(b"c:1400000000", wrong=1) + LINE,  # what cannot be trusted is not used: it has arrived now all the same
        b"AIS: " + LINE,
        b'{"class":"AIS","device":"AIS-catcher","nmea":["' + LINE + b'"]}',
    ],
)
def test_a_sentence_without_a_time_gets_that_of_its_arrival_however_the_line_begins(line):
    counts = Counts()
    assert [r[1] for r in rows(line, counts=counts)] == [NOW]
    assert (counts.received, counts.accepted) == (1, 1)


@pytest.mark.parametrize(
    "line",
    [
        tag(b"c:1600000000") + LINE,
        b"2020-09-13T12:26:40Z " + LINE,
        b"1600000000000;N;" + LINE,
        b'{"rxuxtime":1600000000,"nmea":["' + LINE + b'"]}',
    ],
)
def test_a_sentence_with_a_time_keeps_it(line):
    assert [r[1] for r in rows(line)] == [1_600_000_000.0]


@pytest.mark.parametrize(
    "line",
    [
        b'{"class":"AIS","scaled":true,"type":1,"mmsi":227006760,"lat":48.3,"lon":-5.2,"speed":12.0,"course":90.0,"heading":91}',
        b'{"class":"AIS","type":1,"mmsi":227006760,"lat":28980000,"lon":-3120000,"speed":120,"course":900,"heading":91}',
    ],
)
def test_a_receivers_decoded_message_is_a_report_at_its_arrival(line):
    (row,) = rows(line)
    assert row[:7] == (227006760, NOW, 48.3, -5.2, 12.0, 90.0, 91.0)


def test_every_line_is_counted_once_whatever_comes():
    counts = Counts()
    lines = [LINE, b"", b"noise", b"{", b'{"nmea":5}', LINE[:-1] + b"3", b"\x00\xff", LINE]
    assert len(rows(*lines, counts=counts)) == 2
    assert counts.received == len(lines) == counts.accepted + sum(counts.rejected.values())
    assert counts.rejected[Reason.CHECKSUM] == 1


def test_what_came_in_and_what_was_left_out_or_that_nothing_came_is_told_once_a_minute(capsys):
    now = [0.0]
    state = FeedState("--udp :10110", monotonic=lambda: now[0])
    counts = state.counts
    counts.received, counts.accepted, counts.rejected[Reason.NOT_AIS] = 10, 7, 3
    state.tick()
    assert capsys.readouterr().err == ""
    now[0] = 61.0
    state.tick()
    assert "10 lines, 7 reports, left out: not_ais 3" in capsys.readouterr().err
    counts.received, counts.accepted = 15, 12
    now[0] = 122.0
    state.tick()
    assert "5 lines, 5 reports\n" in capsys.readouterr().err
    assert page(state.ready) == (200, [])
    now[0] = 183.0
    state.tick(waiting=5)
    said = "nothing received for 61 s from --udp :10110"
    assert capsys.readouterr().err == f"{said}; 5 reports wait for the broker\n"
    assert page(state.ready) == (503, [said])
    counts.received += 1
    now[0] = 250.0
    state.tick(waiting=5)
    assert page(state.ready) == (503, ["5 reports wait for the broker since 67 s"])
    assert page(state.health)[0] == 200
    now[0] = 250.0 + 61.0
    assert page(state.health)[0] == 503
    metrics = asyncio.run(state.metrics()).body.decode()
    assert 'multitaskais_feed_rejected_total{reason="not_ais"} 3.0' in metrics
    assert "multitaskais_feed_waiting 5.0" in metrics


def page(make) -> tuple[int, list[str]]:
    status, _, body = asyncio.run(make())
    return status, json.loads(body).get("why_not", [])


@given(st.lists(st.floats(-1e4, 1e9), min_size=RECENT, max_size=40), st.integers(0, 4))
def test_event_time_is_never_ahead_of_the_time_of_day_nor_of_what_most_reports_say(lead, wrong):
    event_time = EventTime(clock=lambda: NOW)
    for t in lead:
        event_time.take(NOW - t)
        assert event_time.now <= NOW
    for k in range(RECENT):
        event_time.take(NOW - 100.0 if k >= wrong else NOW + 9e9)
    assert event_time.now == NOW - 100.0


def test_no_watermark_comes_before_the_first_few_reports():
    event_time = EventTime(clock=lambda: NOW)
    for _ in range(RECENT - 1):
        event_time.take(NOW)
        assert event_time.now == -math.inf


def in_the_field(settings, *args: str, **env: str) -> subprocess.Popen:
    variables = {n.upper(): getattr(settings, n) for n in ("bootstrap_servers", "topic", "app_id", "control_topic")}
    return subprocess.Popen(
        [sys.executable, "-m", "stream_operator", "feed", "--quiet", *args], stderr=subprocess.PIPE, stdin=subprocess.PIPE,
        text=True, env={**os.environ, **variables, **env}, cwd=ROOT,
    )  # fmt: skip


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as e:
        return e.code, e.read().decode()
    except OSError:
        return 0, ""


@pytest.mark.broker
def test_a_feed_that_is_told_to_end_sends_what_it_has_says_how_much_and_left_watermarks(settings):
    pages = free_port(socket.SOCK_STREAM)
    process = in_the_field(settings, "--stdin", "--pages", f"127.0.0.1:{pages}")
    try:
        begin = 1_700_000_000
        for k in range(1250):
            process.stdin.write(f"{tag(f'c:{begin + k}'.encode()).decode()}{LINE.decode()}\n")
        process.stdin.flush()
        wait_until(lambda: "multitaskais_feed_delivered_total 1250.0" in get(pages, "metrics")[1], 60)
        assert get(pages, "health")[0] == get(pages, "ready")[0] == 200
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=60)[1]
    finally:
        process.kill()
    assert process.returncode == 0, said
    assert "sent 1250 reports" in said
    assert len(messages(settings, settings.topic)) == 1250
    marks = [r for r in drain(settings, settings.control_topic) if r["kind"] == "watermark"]
    assert marks
    assert all(b["t"] - a["t"] >= 60 for a, b in itertools.pairwise(marks))
    assert all(begin <= m["t"] <= begin + 1250 and not m["final"] for m in marks)


@pytest.mark.broker
def test_a_feed_that_is_told_to_end_in_the_middle_of_a_stream_ends_when_what_it_took_is_delivered(settings):
    process = in_the_field(settings, "--stdin", "--no-watermarks")
    ended = threading.Event()

    def lines_without_end():
        with contextlib.suppress(OSError, ValueError):
            for k in itertools.count():
                process.stdin.write(f"{tag(f'c:{1_700_000_000 + k // 50}'.encode()).decode()}{LINE.decode()}\n")
                if ended.is_set():
                    return

    writer = threading.Thread(target=lines_without_end, daemon=True)
    try:
        writer.start()
        wait_until(lambda: len(messages(settings, settings.topic)) > 500, 60)
        process.send_signal(signal.SIGTERM)
        code = process.wait(60)
        said = process.stderr.read()
    finally:
        ended.set()
        process.kill()
        writer.join(10)
    assert code == 0, said
    sent = int(said.split("sent ")[1].split()[0])
    assert sent == len(messages(settings, settings.topic)) > 500
    # However much waits and whatever the broker does, it is left after so long: with the watermarks' half second five at most.
    assert feed.LEAVE_S + feed_daemon.LEAVE_S <= 5.0


@pytest.mark.broker
def test_a_feed_goes_on_over_a_restart_of_the_broker_and_says_what_a_broker_that_is_away_did_not_get(tmp_path):
    if (reason := devbroker.missing()) is not None:
        pytest.skip(reason)
    with devbroker.DevBroker(tmp_path / "kafka") as own:
        settings = own_settings(own.bootstrap)
        Admin(settings).create()
        process = in_the_field(settings, "--stdin")
        try:

            def send(n: int) -> None:
                process.stdin.write(f"{LINE.decode()}\n" * n)
                process.stdin.flush()

            send(100)
            wait_until(lambda: len(messages(settings, settings.topic)) == 100, 60)
            own.kill()
            send(100)
            own.start()
            send(100)
            wait_until(lambda: len(messages(settings, settings.topic)) == 300, 60)
            own.kill()
            send(50)
            time.sleep(3.0)
            process.send_signal(signal.SIGTERM)
            said = process.communicate(timeout=30)[1]
        finally:
            process.kill()
        assert process.returncode == 75, said
        assert "sent 350 reports" in said
        assert "50 of them did not reach the broker" in said


SENDER = """
import random, socket, sys
lines = sys.stdin.buffer.read().split(b"\\n")[:-1]
order = list(range(len(lines)))
rng = random.Random(7)
for i in range(0, len(order), 20):  # reordered within 20 datagrams, one in 50 lost
    part = order[i:i + 20]; rng.shuffle(part); order[i:i + 20] = part
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for n, i in enumerate(order):
    if i % 50 != 49:
        out.sendto(lines[i] + (b"\\r\\n" if n % 2 else b""), ("127.0.0.1", int(sys.argv[1])))
out.sendto(b"the end", ("127.0.0.1", int(sys.argv[1])))
"""


def free_port(kind: int) -> int:
    with socket.socket(socket.AF_INET, kind) as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def test_udp_from_a_real_sender_with_loss_and_reordering_gives_each_report_that_arrived():
    lines = [tag(b"c:%d" % (1_600_000_000 + i)) + LINE for i in range(1000)]
    port = free_port(socket.SOCK_DGRAM)
    blocks = receivers.udp_blocks("127.0.0.1", port)
    assert next(blocks) == b""  # listening; nothing came for a second
    sender = subprocess.Popen([sys.executable, "-c", SENDER, str(port)], stdin=subprocess.PIPE)
    threading.Thread(target=lambda: sender.communicate(b"\n".join(lines) + b"\n"), daemon=True).start()
    counts = Counts()

    def until_the_end():
        for block in blocks:
            yield block
            if b"the end" in block:
                return

    got = [r[1] for r in feed.live_rows(until_the_end(), None, counts)]
    assert sorted(got) == [1_600_000_000 + i for i in range(1000) if i % 50 != 49]
    assert counts.received == 981 == counts.accepted + counts.rejected[Reason.NOT_AIS]
    assert sender.wait(10) == 0
    with pytest.raises(OperatorError, match="cannot listen"):
        next(receivers.udp_blocks("127.0.0.1", port))
    blocks.close()


def test_receivers_that_connect_have_their_lines_whole_though_they_come_in_pieces():
    port = free_port(socket.SOCK_STREAM)
    blocks = receivers.tcp_server_blocks("127.0.0.1", port)
    assert next(blocks) == b""
    first, second = (socket.create_connection(("127.0.0.1", port)) for _ in range(2))
    first.sendall(LINE[:20])
    time.sleep(0.1)
    second.sendall(LINE + b"\n" + LINE[:5])
    time.sleep(0.1)
    first.sendall(LINE[20:] + b"\n")
    second.close()
    got = b""
    while got.count(b"\n") < 3:
        got += next(blocks)
    assert sorted(got.split(b"\n")) == sorted([b"", LINE, LINE, LINE[:5]])
    first.close()
    blocks.close()


def test_clients_who_say_nothing_keep_no_receiver_out():
    port = free_port(socket.SOCK_STREAM)
    blocks = receivers.tcp_server_blocks("127.0.0.1", port)
    assert next(blocks) == b""
    silent = [socket.create_connection(("127.0.0.1", port), timeout=20) for _ in range(receivers.CLIENTS_MAX + 5)]
    for s in silent:
        s.sendall(b"!AIV")
    with socket.create_connection(("127.0.0.1", port), timeout=20) as receiver:
        receiver.sendall(LINE + b"\n")
        got = b""
        while LINE not in got:
            got += next(blocks)
    for s in silent:
        s.close()
    blocks.close()


@pytest.mark.parametrize("host", ["::1", "localhost", "127.0.0.1", ""])
def test_datagrams_come_in_by_either_protocol_and_by_name(host):
    for port in (free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_DGRAM)):
        blocks = receivers.udp_blocks(host, port)
        assert next(blocks) == b""
        family, _, _, _, at = socket.getaddrinfo(host or "127.0.0.1", port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, socket.SOCK_DGRAM) as out:
            out.sendto(LINE, at)
        assert next(blocks) == LINE + b"\n"
        blocks.close()


@pytest.mark.parametrize("host", ["no.such.name.invalid", "192.0.2.1", "a" * 70])
def test_an_address_that_is_not_of_this_machine_is_one_line(host):
    for open_ in (receivers.udp_blocks, receivers.tcp_server_blocks):
        with pytest.raises(OperatorError, match="cannot listen there"):
            next(open_(host, 10110))


@pytest.mark.parametrize("text", ["10110", "host", "host:", "host:99999", "host:x"])
def test_an_address_that_is_none_is_refused(text):
    with pytest.raises(ConfigError, match="give HOST:PORT"):
        receivers.address(text, "--udp")


@pytest.mark.broker
def test_the_command_takes_udp(settings):
    from tests.stream.test_feed import run

    port = free_port(socket.SOCK_DGRAM)
    stop = threading.Event()

    def send():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            while not stop.wait(0.2):
                out.sendto(LINE, ("127.0.0.1", port))

    threading.Thread(target=send, daemon=True).start()
    try:
        done = run(settings, "feed", "--udp", f"127.0.0.1:{port}", "--limit", "2", "--quiet")
    finally:
        stop.set()
    assert done.returncode == 0, done.stderr
    got = [json.loads(m.value()) for m in messages(settings, settings.topic)]
    assert len(got) == 2
    assert all(abs(m["tagblock_timestamp"] - time.time()) < 120 for m in got)
