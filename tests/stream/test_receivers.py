"""Lines as receivers send them: UDP with loss and reordering, TCP both ways, JSON, and the time of arrival where there is none."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time

import pytest

from multitaskais.errors import ConfigError, OperatorError
from multitaskais.records import Counts, Reason
from stream_operator.commands import feed, receivers
from tests.support.topic_reading import messages

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


def test_what_came_in_and_what_was_left_out_is_told_once_a_minute(capsys):
    now = [0.0]
    teller = feed.MinuteTeller(monotonic=lambda: now[0])
    counts = Counts(received=10, accepted=7, rejected={Reason.NOT_AIS: 3})
    teller(counts)
    assert capsys.readouterr().err == ""
    now[0] = 61.0
    teller(counts)
    assert "10 lines, 7 reports, left out: not_ais 3" in capsys.readouterr().err
    counts.received, counts.accepted = 15, 12
    now[0] = 122.0
    teller(counts)
    assert "5 lines, 5 reports\n" in capsys.readouterr().err


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
