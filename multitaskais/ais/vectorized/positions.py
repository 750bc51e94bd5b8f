"""Position-report lines -> reports, many at a time, in NumPy alone.

A kernel looks at n lines and decodes those that it recognises without doubt; all others it leaves, to be decoded one by
one through pyais. What it recognises is one line with one whole sentence of 168 bits and a right checksum:

    [YYYY/MM/DD HH:MM:SS ]!xxVDM,1,1,[digit],[A|B|1|2],<28 armoured characters>,0*hh[suffix]
    \\fields,c:time,fields*hh\\!xxVDM,...

of types 1, 2, 3 and 18 (reports) or 4 and 11 (no reports). Eight characters are worked on as one 64-bit word
(SIMD within a register): first character in the lowest byte, as a little-endian load gives it.

``LineKernel`` is the interface: a compiled kernel takes the same arguments and must give the same codes and reports.
"""

from __future__ import annotations

import sys
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ...records import REPORT_DTYPE
from ...types import Reports
from ..sentinels import LAT_MAX, LON_MAX, MMSI_MAX
from .timestamps import (
    DIGIT,
    F64,
    HEX,
    I64,
    U8,
    U64,
    bytes_in,
    cdv_times,
    eight,
    load,
    suffix_times,
    tag_blocks,
    u64,
    word,
)

CHUNK = 8192  # lines worked on together: their words fit the second-level cache

# outcomes of a line
LEFT = 255  # not recognised: for pyais
REPORT, NO_TIME, BAD_MMSI, NO_POSITION, NOT_A_POSITION = range(5)

_LAT_RAW, _LON_RAW = round(LAT_MAX * 600000), round(LON_MAX * 600000)


class Trust(NamedTuple):
    """Where a time is looked for (``framing``); ``at`` dates lines without one, NaN when not given."""

    cdv: bool = True
    tagblock: bool = True
    suffix: bool = True
    at: float = float("nan")


class Scan(NamedTuple):
    """Of n lines."""

    codes: U8  # (n,) outcome
    reports: Reports  # (m,) of REPORT_DTYPE: the lines with code REPORT, in order


class LineKernel(Protocol):
    def __call__(self, buf: U8, starts: I64, ends: I64, trust: Trust) -> Scan:
        """Line i is ``buf[starts[i]:ends[i]]`` (without its end); PADDING bytes follow the last."""


SECONDS = np.where(np.arange(64) < 60, np.arange(64), -1).astype(np.int8)  # six bits of the air -> second of the fix
CHANNEL = bytes_in(b"AB12")
UPPER = bytes_in(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ")

_HEAD, _HEAD_MASK = word(b"!\0\0VDM,1"), word(b"\xff\0\0\xff\xff\xff\xff\xff")
_AIVDM = word(b"!AIVDM,1")
# the second eight characters: ",1,,A,pp", ",1,,,ppp", ",1,3,A,p"
_PLAIN, _PLAIN_MASK = word(b",1,,\0,\0\0"), word(b"\xff\xff\xff\xff\0\xff\0\0")
_NO_CHANNEL, _NO_CHANNEL_MASK = word(b",1,,,\0\0\0"), word(b"\xff\xff\xff\xff\xff\0\0\0")
_SEQUENCE, _SEQUENCE_MASK = word(b",1,\0,\0,\0"), word(b"\xff\xff\xff\0\xff\0\xff\0")


def dearmour(x: U64) -> tuple[U64, U64]:
    """Armoured characters -> six-bit values in bytes; second: not 0 where a character is outside of the armour."""
    one = eight(1)
    high = (x >> u64(5)) & (x >> u64(6)) & one  # 0x60 and above: the second run of the alphabet
    # 'X' .. '_' would fall upon values of the second run
    gap = (x >> u64(6)) & ~(x >> u64(5)) & (x >> u64(4)) & (x >> u64(3)) & one
    v = x - eight(0x30) - (high << u64(3))
    return v, (v & eight(0xC0)) | gap


def compress(v: U64) -> U64:
    """Eight six-bit values in bytes -> one 48-bit number, the first value in the highest bits."""
    v = ((v & u64(0x003F003F003F003F)) << u64(6)) | ((v >> u64(8)) & u64(0x003F003F003F003F))
    v = ((v & u64(0x00000FFF00000FFF)) << u64(12)) | ((v >> u64(16)) & u64(0x00000FFF00000FFF))
    return ((v & u64(0xFFFFFF)) << u64(24)) | ((v >> u64(32)) & u64(0xFFFFFF))


def _fold(x: U64) -> U64:
    x = x ^ (x >> u64(32))
    x = x ^ (x >> u64(16))
    return (x ^ (x >> u64(8))) & u64(0xFF)


class _Sentences(NamedTuple):
    ok: NDArray[np.bool_]
    kind: U8  # first payload character
    words: U64  # (3, n) bits 0..143 of the payload
    end: I64  # position after the checksum


def _sentences(buf: U8, bang: I64) -> _Sentences:
    """Check and unpack the sentences that begin at ``bang``."""
    head = load(buf, bang, 16)
    w0, w1 = head[0], head[1]
    ok = (w0 & _HEAD_MASK) == _HEAD
    if not (w0 == _AIVDM).all():
        ok &= UPPER[(w0 >> u64(8)) & u64(255)] & UPPER[(w0 >> u64(16)) & u64(255)]
    plain = (w1 & _PLAIN_MASK) == _PLAIN
    channel = (w1 >> u64(32)) & u64(255)
    offset = np.full(len(bang), 14, dtype=np.int64)
    head_mask = np.full(len(bang), 0x0000FFFFFFFFFFFF, dtype=np.uint64)  # the six characters before the payload
    if not plain.all():
        bare = (w1 & _NO_CHANNEL_MASK) == _NO_CHANNEL
        numbered = ((w1 & _SEQUENCE_MASK) == _SEQUENCE) & DIGIT[(w1 >> u64(24)) & u64(255)]
        offset[bare], head_mask[bare] = 13, u64(0x000000FFFFFFFFFF)
        offset[numbered], head_mask[numbered] = 15, u64(0x00FFFFFFFFFFFFFF)
        # bare has a comma where plain has the channel: the two exclude each other
        channel = np.where(bare, ord("A"), np.where(numbered, (w1 >> u64(40)) & u64(255), channel))
        ok &= (plain & ~bare) | bare | numbered
    ok &= CHANNEL[channel]
    body = load(buf, bang + offset, 40)
    p, tail = body[:4].copy(), body[3] >> u64(32)
    p[3] &= u64(0xFFFFFFFF)
    ok &= (tail & u64(0xFFFFFF)) == word(b",0*")
    high, low = HEX[tail >> u64(24)], HEX[body[4] & u64(255)]
    sum_of = (w0 & ~u64(255)) ^ (w1 & head_mask) ^ p[0] ^ p[1] ^ p[2] ^ p[3]
    told = (high.astype(np.uint16) << 4) | low
    ok &= (_fold(sum_of) ^ u64(ord(",") ^ ord("0"))) == told  # an invalid digit is 255 and makes it too great
    ok &= (high < 16) & (low < 16)
    kind = (p[0] & u64(255)).astype(np.uint8)
    p[3] |= word(b"\0\0\0\x000000")
    values, bad = dearmour(p)
    ok &= (bad[0] | bad[1] | bad[2] | bad[3]) == 0
    return _Sentences(ok, kind, compress(values[:3]), bang + offset + 33)


def _signed(v: U64, bits: int) -> F64:
    half = 1 << (bits - 1)
    return ((v.astype(np.int64) ^ half) - half).astype(np.float64)


def _degrees(raw: F64) -> F64:
    """1/10000 minute -> degrees rounded to 1e-6: 5/3 of a whole number is never half-way, so this is exact."""
    return np.rint(raw * 5.0 / 3.0) / 1e6


def _measured(raw: U64, missing_from: int, scale: float) -> F64:
    value = raw.astype(np.float64) / scale
    value[raw >= u64(missing_from)] = np.nan
    return value


def _positions(s: _Sentences, class_b: NDArray[np.bool_], t: F64, out: Reports) -> U8:
    """Write n sentences as reports to ``out`` (n,), whose text is empty; their outcomes. A report is meant where the outcome is REPORT."""
    u0, u1, u2 = s.words
    kind = (u0 >> u64(42)).astype(np.int8)
    status = ((u0 >> u64(6)) & u64(15)).astype(np.int8)
    mmsi = ((u0 >> u64(10)) & u64(0x3FFFFFFF)).astype(np.int64)
    if class_b.any():
        # From the speed on a message 18 is a message 1 four bits earlier.
        status[class_b] = -1
        four = class_b.astype(np.uint64) << u64(2)
        keep = (u64(1) << four) - u64(1)
        up = u64(48) - four
        u2 = (u2 >> four) | ((u1 & keep) << up)
        u1 = (u1 >> four) | ((u0 & keep) << up)
    sog = (u1 >> u64(36)) & u64(0x3FF)
    lon = (u1 >> u64(7)) & u64(0xFFFFFFF)
    lat = ((u1 & u64(0x7F)) << u64(20)) | (u2 >> u64(28))
    cog, heading = (u2 >> u64(16)) & u64(0xFFF), (u2 >> u64(7)) & u64(0x1FF)
    second = (u2 >> u64(1)) & u64(63)
    lat_raw, lon_raw = _signed(lat, 27), _signed(lon, 28)
    code = np.zeros(len(t), dtype=np.uint8)
    code[(np.abs(lat_raw) > _LAT_RAW) | (np.abs(lon_raw) > _LON_RAW)] = NO_POSITION
    code[(mmsi < 1) | (mmsi > MMSI_MAX)] = BAD_MMSI
    code[np.isnan(t)] = NO_TIME
    out["mmsi"], out["t"], out["lat"], out["lon"] = mmsi, t, _degrees(lat_raw), _degrees(lon_raw)
    out["sog"], out["cog"] = _measured(sog, 1023, 10.0), _measured(cog, 3600, 10.0)
    out["heading"] = _measured(heading, 360, 1.0)
    out["nav_status"], out["msg_type"], out["ship_type"] = status, kind, -1
    out["second"] = SECONDS[second]
    return code


def _opaque(rows: NDArray[np.void]) -> NDArray[np.void]:
    """The rows as bytes without fields: NumPy copies those at once, fields one by one."""
    return rows.view(f"V{rows.dtype.itemsize}")


def numpy_kernel(buf: U8, starts: I64, ends: I64, trust: Trust) -> Scan:
    """The kernel of this file; ``LineKernel``."""
    n = len(starts)
    codes = np.full(n, LEFT, dtype=np.uint8)
    reports = np.zeros(n, dtype=REPORT_DTYPE)
    found = 0
    if sys.byteorder == "little":
        for lo in range(0, n, CHUNK):
            part = slice(lo, lo + CHUNK)
            codes[part] = _chunk(buf, starts[part], ends[part], trust, reports[found : found + CHUNK])
            is_report = codes[part] == REPORT
            kept = int(np.count_nonzero(is_report))
            if kept < len(is_report):
                rows = _opaque(reports)
                rows[found : found + kept] = rows[found : found + len(is_report)][is_report]
            found += kept
    return Scan(codes, reports[:found])


def _chunk(buf: U8, starts: I64, ends: I64, trust: Trust, out: Reports) -> U8:
    """Outcomes of n lines; the row of ``out`` (at least n,) of each that has the outcome REPORT."""
    n = len(starts)
    codes = np.full(n, LEFT, dtype=np.uint8)
    first = buf[starts]
    bang, t = starts.copy(), np.full(n, trust.at)
    timed = np.zeros(n, dtype=bool)  # the time is settled: nothing behind the sentence may change it
    cdv = (DIGIT[first]) & (buf[starts + 20] == ord("!"))
    if cdv.any():
        at = slice(None) if cdv.all() else np.flatnonzero(cdv)
        bang[at] += 20
        times = cdv_times(buf, starts[at])
        t[at] = np.where(np.isnan(times), -np.inf, times if trust.cdv else trust.at)
        timed[at] = trust.cdv
    tagged = first == ord("\\")
    if tagged.any():
        at = np.flatnonzero(tagged)
        where, times = tag_blocks(buf, starts[at], ends[at], int(starts[at[0]]), int(ends[at[-1]]))
        bang[at] = np.where(where < 0, starts[at], where)  # a backslash there: not recognised as a sentence
        if trust.tagblock:
            t[at], timed[at] = times, True
    s = _sentences(buf, bang)
    ok = s.ok & (t != -np.inf) & (s.end <= ends)
    suffixed = np.flatnonzero(ok & (s.end < ends))
    if len(suffixed):
        times = suffix_times(buf, s.end[suffixed], ends[suffixed])
        ok[suffixed] &= ~np.isnan(times)  # an unknown suffix
        if trust.suffix:
            # Two times that differ: which of them is right is decided by the ships' own seconds, one line at a time.
            ok[suffixed] &= ~(timed[suffixed] & (np.abs(t[suffixed] - times) > 1.0))
            t[suffixed] = np.where(timed[suffixed], t[suffixed], times)
    codes[ok & ((s.kind == ord("4")) | (s.kind == ord(";")))] = NOT_A_POSITION
    class_b = s.kind == ord("B")
    position = ok & (class_b | ((s.kind >= ord("1")) & (s.kind <= ord("3"))))
    if position.any():
        np.copyto(codes, _positions(s, class_b, t, out[:n]), where=position)
    return codes
