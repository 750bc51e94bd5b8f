"""``.cdv`` lines to reports as one writes it first: one line after the other through pyais. Written from docs/method.md#input."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import pyais

Row = tuple[int, float, float, float, float, float, float, int, int]


def xor(text: bytes) -> int:
    value = 0
    for c in text:
        value ^= c
    return value


def decode_line(line: bytes) -> Row | None:
    """(mmsi, t, lat, lon, sog, cog, heading, nav_status, msg_type); None where the line gives no position report.

    For archives of whole sentences: a message in several parts is left out here.
    """
    try:
        when, sentence = line[:19].decode(), line[20:].strip()
        body, _, checksum = sentence[1:].partition(b"*")
        if xor(body) != int(checksum, 16):
            return None
        t = datetime.strptime(when, "%Y/%m/%d %H:%M:%S").replace(tzinfo=UTC).timestamp()
        m: Any = pyais.decode(sentence)
    except Exception:
        return None
    if m.msg_type not in (1, 2, 3, 18, 19) or abs(m.lat) > 90 or abs(m.lon) > 180:
        return None
    nan = math.nan
    sog = m.speed if m.speed < 102.25 else nan
    cog = m.course if m.course < 360 else nan
    heading = float(m.heading) if m.heading < 360 else nan
    return m.mmsi, t, m.lat, m.lon, sog, cog, heading, int(getattr(m, "status", -1)), m.msg_type


def decode(lines: Iterable[bytes]) -> list[Row]:
    return [row for line in lines if (row := decode_line(line)) is not None]


def sentences_alone(sentences: Iterable[bytes]) -> int:
    """``pyais.decode`` of each sentence and nothing else: no time, no checksum, no fields. Less than the work, a stricter yardstick."""
    n = 0
    for sentence in sentences:
        n += pyais.decode(sentence).msg_type > 0
    return n
