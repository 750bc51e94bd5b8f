"""Position reports and static data -> AIVDM sentences and ``.cdv`` archives; the inverse of the decoders.

``decode(encode(x)) == x`` up to the resolution of the air (1/10000 minute, 0.1 kn, 0.1 deg, whole degrees of heading) and
of the format (whole seconds). Layouts: ITU-R M.1371-5, annex 8, messages 1-3, 18, 5 and 24.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..types import Reports
from .framing import checksum
from .positions import NAN, StaticData

PAYLOAD_CHARS = 28  # 168 bits
PART_CHARS = 60  # of payload in one sentence of several: the line stays below 82 characters
SENTENCE_CHARS = 47  # !AIVDM,1,1,,A,<28>,0*hh
CDV_PREFIX_CHARS = 20  # YYYY/MM/DD HH:MM:SS and a blank
CLASS_B = 18
_HEAD, _TAIL = b"!AIVDM,1,1,,A,", b",0*"
_HEX = np.frombuffer(b"0123456789ABCDEF", dtype=np.uint8)
_SIX_BIT = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_ !\"#$%&'()*+,-./0123456789:;<=>?")
# (value, width in bits), from the first bit on
Fields = list[tuple[NDArray[np.int64] | int, int]]


def _raw(value: NDArray[np.float64], scale: float, missing: int) -> NDArray[np.int64]:
    """round(value x scale), ``missing`` where NaN."""
    return np.rint(np.where(np.isnan(value), missing / scale, value) * scale).astype(np.int64)


def _sextets(reports: Reports) -> NDArray[np.uint8]:
    """(n, 28) six-bit values of messages 1, 2, 3 or 18."""
    msg_type = reports["msg_type"].astype(np.int64)
    class_b = (msg_type == 18) | (msg_type == 19)
    out_type = np.where(class_b, CLASS_B, np.where((msg_type >= 1) & (msg_type <= 3), msg_type, 1))
    sog = np.minimum(_raw(reports["sog"], 10.0, 1023), np.where(np.isnan(reports["sog"]), 1023, 1022))
    cog = np.where(np.isnan(reports["cog"]), 3600, _raw(reports["cog"], 10.0, 0) % 3600)
    heading = np.where(np.isnan(reports["heading"]), 511, _raw(reports["heading"], 1.0, 0) % 360)
    lon = _raw(reports["lon"], 600000.0, 181 * 600000) & 0xFFFFFFF
    lat = _raw(reports["lat"], 600000.0, 91 * 600000) & 0x7FFFFFF
    second = np.floor(reports["t"]).astype(np.int64) % 60
    status = np.where(reports["nav_status"] < 0, 15, reports["nav_status"].astype(np.int64)) & 15
    # (value, width) from the first bit on; the two layouts differ by where SOG begins and by their tails
    mmsi = reports["mmsi"].astype(np.int64)
    a: Fields = [(out_type, 6), (0, 2), (mmsi, 30), (status, 4), (0x80, 8), (sog, 10), (0, 1), (lon, 28), (lat, 27)]
    a += [(cog, 12), (heading, 9), (second, 6), (0, 2), (0, 3), (0, 1), (0, 19)]
    b: Fields = [(out_type, 6), (0, 2), (mmsi, 30), (0, 8), (sog, 10), (0, 1), (lon, 28), (lat, 27), (cog, 12)]
    b += [(heading, 9), (second, 6), (0, 2), (1, 1), (0, 3), (1, 1), (0, 2), (0x60006, 20)]
    packed = _pack(a, len(reports))
    if class_b.any():
        packed[class_b] = _pack(b, len(reports))[class_b]
    return packed


def _pack(fields: Fields, n: int) -> NDArray[np.uint8]:
    """Bit fields laid end to end -> (n, 28) sextets."""
    out = np.zeros((PAYLOAD_CHARS, n), dtype=np.int64)
    bit = 0
    for value, width in fields:
        end = bit + width
        for k in range(bit // 6, (end + 5) // 6):
            right = end - 6 * (k + 1)  # bits of the field beyond this sextet
            part = value >> right if right >= 0 else value << -right
            out[k] |= part & 0x3F if bit <= 6 * k else part & ((1 << (6 * (k + 1) - bit)) - 1)
        bit = end
    return np.ascontiguousarray(out.T).astype(np.uint8)


def encode_reports(reports: Reports) -> NDArray[np.bytes_]:
    """(n,) of ``S47``: one sentence a report, type 18 for class B (types 18, 19), else its type or 1."""
    n = len(reports)
    rows = np.empty((n, SENTENCE_CHARS), dtype=np.uint8)
    head, end = len(_HEAD), len(_HEAD) + PAYLOAD_CHARS
    rows[:, :head] = np.frombuffer(_HEAD, dtype=np.uint8)
    six = _sextets(reports)
    rows[:, head:end] = np.where(six < 40, six + 48, six + 56)
    rows[:, end : end + 3] = np.frombuffer(_TAIL, dtype=np.uint8)
    check = np.bitwise_xor.reduce(rows[:, 1 : end + 2], axis=1)
    rows[:, -2], rows[:, -1] = _HEX[check >> 4], _HEX[check & 15]
    return rows.view(f"S{SENTENCE_CHARS}")[:, 0]


def _cdv_prefix(t: NDArray[np.float64]) -> NDArray[np.uint8]:
    """(n, 20) ``YYYY/MM/DD HH:MM:SS `` in UTC, whole seconds."""
    text = np.datetime_as_string(np.floor(t).astype(np.int64).astype("datetime64[s]"), unit="s").astype("S19")
    rows = np.full((len(t), CDV_PREFIX_CHARS), ord(" "), dtype=np.uint8)
    rows[:, :19] = text.view(np.uint8).reshape(len(t), 19)
    rows[:, [4, 7]], rows[:, 10] = ord("/"), ord(" ")
    return rows


def cdv_lines(reports: Reports) -> NDArray[np.bytes_]:
    """(n,) of ``S68``: ``.cdv`` lines with their ends."""
    width = CDV_PREFIX_CHARS + SENTENCE_CHARS + 1
    rows = np.full((len(reports), width), ord("\n"), dtype=np.uint8)
    if len(reports):
        rows[:, :CDV_PREFIX_CHARS] = _cdv_prefix(reports["t"])
        rows[:, CDV_PREFIX_CHARS:-1] = encode_reports(reports).view(np.uint8).reshape(-1, SENTENCE_CHARS)
    return rows.view(f"S{width}")[:, 0]


def _six_bit(name: bytes | None, chars: int) -> list[tuple[int, int]]:
    """Text as bit fields, filled up with '@'; what the air cannot carry becomes a blank."""
    text = (name or b"").upper()[:chars].ljust(chars, b"@")
    return [((c if c in _SIX_BIT else ord(" ")) & 63, 6) for c in text]


def _sentences(fields: list[tuple[int, int]], sequence_id: int) -> list[bytes]:
    """Bit fields -> the sentences of one message, in parts of 60 characters where it is longer."""
    value = bits = 0
    for field, width in fields:
        value, bits = (value << width) | (field & ((1 << width) - 1)), bits + width
    fill = -bits % 6
    value <<= fill
    count = (bits + fill) // 6
    six = ((value >> (6 * (count - 1 - k))) & 63 for k in range(count))
    payload = bytes(v + 48 if v < 40 else v + 56 for v in six)
    parts = [payload[k : k + PART_CHARS] for k in range(0, count, PART_CHARS)]
    sentences = []
    for number, part in enumerate(parts, 1):
        sequence = b"%d" % (sequence_id % 10) if len(parts) > 1 else b""
        last = fill if number == len(parts) else 0
        body = b"AIVDM,%d,%d,%s,A,%s,%d" % (len(parts), number, sequence, part, last)
        sentences.append(b"!%s*%02X" % (body, checksum(body)))
    return sentences


def encode_static(data: StaticData, sequence_id: int = 0) -> list[bytes]:
    """The sentences of one type 5 message (two parts), or of type 24 parts A and B for class B (msg_type 24, 18, 19)."""
    size = [
        (max(v, 0), w) for v, w in ((data.to_bow, 9), (data.to_stern, 9), (data.to_port, 6), (data.to_starboard, 6))
    ]
    name, callsign = _six_bit(data.name, 20), _six_bit(data.callsign, 7)
    ship_type = (max(data.ship_type, 0), 8)
    if data.msg_type in (18, 19, 24):
        head = [(24, 6), (0, 2), (data.mmsi, 30)]
        part_a = [*head, (0, 2), *name, (0, 8)]
        part_b = [*head, (1, 2), ship_type, (0, 42), *callsign, *size, (0, 6)]
        return _sentences(part_a, sequence_id) + _sentences(part_b, sequence_id)
    head = [(5, 6), (0, 2), (data.mmsi, 30), (0, 2), (max(data.imo, 0), 30)]
    voyage = [(0, 4), (0, 4), (0, 5), (24, 5), (60, 6), (0, 8), *_six_bit(None, 20), (0, 2)]
    return _sentences([*head, *callsign, *name, ship_type, *size, *voyage], sequence_id)


def statics_of(reports: Reports, every_s: float = 3600.0) -> list[StaticData]:
    """What the vessels of these reports say about themselves: at their first report, then every ``every_s`` of their time."""
    order = np.lexsort((reports["t"], reports["mmsi"]))
    out: list[StaticData] = []
    last_mmsi, due = -1, NAN
    columns = ("mmsi", "t", "msg_type", "ship_type", "ship_name")
    known = (reports["ship_type"] > 0) | (reports["ship_name"] != b"")
    for i in order[known[order]].tolist():
        mmsi, t, msg_type, ship_type, name = (reports[c][i].item() for c in columns)
        if mmsi != last_mmsi or t >= due:
            kind = 24 if msg_type in (18, 19) else 5
            out.append(StaticData(mmsi, t, kind, name or None, ship_type, None, -1, -1, -1, -1, -1))
            last_mmsi, due = mmsi, t + every_s
    return out


def write_cdv(folder: str | Path, reports: Reports, statics: Iterable[StaticData] = ()) -> list[Path]:
    """Write ``YYYY/MM/YYYYMMDD.cdv`` (UTC days), lines in order of time, static data before reports of the same second.

    Files that are there already are replaced. Returns the paths written.
    """
    reports = reports[np.argsort(reports["t"], kind="stable")]
    told = sorted(statics, key=lambda s: s.t)
    times = np.floor(reports["t"]).astype(np.int64)
    told_times = np.floor(np.array([s.t for s in told], dtype=np.float64)).astype(np.int64)
    prefixes = _cdv_prefix(told_times.astype(np.float64)) if told else np.zeros((0, CDV_PREFIX_CHARS), np.uint8)
    written: list[Path] = []
    for day in np.unique(np.concatenate([times // 86400, told_times // 86400])).tolist():
        lo, hi = np.searchsorted(times, [day * 86400, (day + 1) * 86400])
        s_lo, s_hi = np.searchsorted(told_times, [day * 86400, (day + 1) * 86400])
        block = cdv_lines(reports[lo:hi]).tobytes()
        width = CDV_PREFIX_CHARS + SENTENCE_CHARS + 1
        pieces, done = [], 0
        for k in range(s_lo, s_hi):
            here = int(np.searchsorted(times[lo:hi], told_times[k], side="left")) * width
            pieces.append(block[done:here])
            done = here
            pieces += [prefixes[k].tobytes() + s + b"\n" for s in encode_static(told[k], k)]
        pieces.append(block[done:])
        year, month, dom = str(np.datetime64(day, "D")).split("-")
        path = Path(folder) / year / month / f"{year}{month}{dom}.cdv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"".join(pieces))
        written.append(path)
    return written
