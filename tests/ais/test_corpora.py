"""Every corpus: decode equals pyais wherever the checksum is right, and all lines are counted."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pyais
import pytest

from multitaskais.ais.archives import open_archive, read_reports
from multitaskais.ais.decoder import Message
from multitaskais.ais.framing import checksum
from multitaskais.ais.vectorized.block import decode_block
from multitaskais.cli.decode import decode_archive, message_json
from multitaskais.records import Counts
from tests.ais.test_block_equals_pyais import equal_rows

CORPORA = [
    "amsa-risky/exact-earth-augmented.txt",
    "amsa-risky/samples.txt",
    "dma-aisabnormal/212123000_drift_1.ais",
    "dma-aislib/ais250.txt",
    "dma-aislib/decode_encode_messages.txt",
    "dma-aislib/replay_dump.txt",
    "dma-aislib/retry_example.txt",
    "dma-aislib/small_cb_example.txt",
    "dma-aislib/stream_example.txt",
    "gpsd/ais-nmea-type6-fid55.log",
    "gpsd/ais_unpack_sixbit.log",
    "gpsd/ait250.log",
    "gpsd/saab-r4.log",
    "gpsd/sample.aivdm",
    "libais/tagblock.nmea",
    "libais/test.aivdm",
    "libais/typeexamples.nmea",
    "noaadata/test.ais",
    "signalk/gofree-merrimac.log",
    "signalk/n2kd-183-merrimac.log",
    "signalk/nais300-merrimac.log",
    "signalk/nais400-merrimac.log",
]
SENTENCE = re.compile(rb"!..VDM,[^!*]*\*[0-9A-Fa-f]{2}")


class _Out:
    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def write(self, data: bytes) -> int:
        self.lines.append(data)
        return len(data)


def expected(path: Path) -> list[str]:
    """What pyais alone makes of the sentences with a right checksum; parts by talker, channel and sequence id."""
    out, parts = [], {}
    for text in SENTENCE.findall(path.read_bytes()):
        body, told = text[1:].split(b"*")
        if checksum(body) != int(told, 16):
            continue
        fields = body.split(b",")
        try:
            total, number = int(fields[1]), int(fields[2])
            if total == 1:
                whole: list[bytes] | None = [text]
            else:
                key = (fields[0], total, fields[3], fields[4])
                held = parts.setdefault(key, {})
                if number in held:
                    held.clear()
                held[number] = text
                whole = [held[i] for i in range(1, total + 1)] if len(held) == total else None
                if whole:
                    del parts[key]
            if whole:
                message = pyais.decode(*whole)
                out.append(message_json(Message(0, (0,), 0.0, b"", message, None)))
        except Exception:
            continue  # pyais refuses it
    return sorted(_without_time(line) for line in out)


def _without_time(line: bytes) -> str:
    values = json.loads(line)
    del values["time"]
    return json.dumps(values, sort_keys=True)


@pytest.mark.parametrize("name", CORPORA)
def test_decode_equals_pyais_on_sentences_with_a_right_checksum(shared: Path, name: str) -> None:
    path = shared / "data/nmea" / name
    out = _Out()
    (counts,) = (decode_archive(archive, None, out, None) for archive in open_archive(path))  # type: ignore[arg-type]
    assert sorted(_without_time(line) for line in out.lines) == expected(path)
    data = path.read_bytes()
    assert counts.received == data.count(b"\n") + (not data.endswith(b"\n"))
    assert counts.received == counts.accepted + sum(counts.rejected.values())


@pytest.mark.parametrize("name", CORPORA)
def test_the_reports_of_a_corpus_are_those_of_the_slow_path(shared: Path, name: str) -> None:
    path = shared / "data/nmea" / name
    slow = decode_block(path.read_bytes(), at=1.0, line_kernel=None)
    total, n = Counts(), 0
    for reports, counts in read_reports(path, at=1.0, chunk=50):
        assert equal_rows(reports, slow.reports[n : n + len(reports)])
        n += len(reports)
        total.add(counts)
    assert n == len(slow.reports)
    assert total == slow.counts


def test_the_drifting_ship_of_the_danish_archive_is_read_whole(shared: Path) -> None:
    """212123000 drifted near Bornholm for 14.5 h on 2 October 2014; its archive is dated by $PGHP lines."""
    batches = list(read_reports(shared / "data/nmea/dma-aisabnormal/212123000_drift_1.ais"))
    times = [t for b in batches for t in b.reports["t"].tolist()]
    assert 14 * 3600 < max(times) - min(times) < 15 * 3600
    assert {int(m) for b in batches for m in b.reports["mmsi"]} >= {212123000}
    names = {n for b in batches for n in b.reports["ship_name"].tolist()}
    assert any(names - {b""})
