"""Position-report lines -> reports, many at a time, in NumPy alone.

A kernel looks at n lines and decodes those that it recognises without doubt; all others it leaves, to be decoded one by
one through pyais. What it recognises is one line with one whole sentence of 168 bits and a right checksum:

    [YYYY/MM/DD HH:MM:SS ]!xxVDM,1,1,[digit],[A|B|1|2],<28 armoured characters>,0*hh[suffix]
    \\fields,c:time,fields*hh\\!xxVDM,...

of types 1, 2, 3 and 18 (reports) or 4 and 11 (no reports). Eight characters are worked on as one 64-bit word
(SIMD within a register): first character in the lowest byte, as a little-endian load gives it.

``LineKernel`` is the seam: a compiled kernel takes the same arguments and must give the same codes and reports.
"""

from __future__ import annotations

import calendar
import sys
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ..records import REPORT_DTYPE
from .framing import MS_FROM
from .positions import LAT_MAX, LON_MAX, MMSI_MAX

U8 = NDArray[np.uint8]
U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]
F64 = NDArray[np.float64]

PADDING = 96  # bytes that must follow the last line in the buffer: loads may reach beyond it
SENTENCE_CHARS = 46  # the shortest sentence of 28 payload characters
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
    reports: NDArray[np.void]  # (m,) of REPORT_DTYPE: the lines with code REPORT, in order


class LineKernel(Protocol):
    def __call__(self, buf: U8, starts: I64, ends: I64, trust: Trust) -> Scan:
        """Line i is ``buf[starts[i]:ends[i]]`` (without its end); PADDING bytes follow the last."""


def _word(text: bytes) -> np.uint64:
    return np.uint64(int.from_bytes(text, "little"))


def _u(x: int) -> np.uint64:
    return np.uint64(x)


def _rep(byte: int) -> np.uint64:
    """The byte, eight times."""
    return np.uint64(byte * 0x0101010101010101)


def _table(chars: bytes) -> NDArray[np.bool_]:
    t = np.zeros(256, dtype=bool)
    t[list(chars)] = True
    return t


_HEX = np.full(256, 255, dtype=np.uint8)
_HEX[list(b"0123456789")] = np.arange(10)
_HEX[list(b"ABCDEF")] = np.arange(10, 16)
_HEX[list(b"abcdef")] = np.arange(10, 16)
_CHANNEL = _table(b"AB12")
_DIGIT = _table(b"0123456789")
_UPPER = _table(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ")

_HEAD, _HEAD_MASK = _word(b"!\0\0VDM,1"), _word(b"\xff\0\0\xff\xff\xff\xff\xff")
_AIVDM = _word(b"!AIVDM,1")
# the second eight characters: ",1,,A,pp", ",1,,,ppp", ",1,3,A,p"
_PLAIN, _PLAIN_MASK = _word(b",1,,\0,\0\0"), _word(b"\xff\xff\xff\xff\0\xff\0\0")
_NO_CHANNEL, _NO_CHANNEL_MASK = _word(b",1,,,\0\0\0"), _word(b"\xff\xff\xff\xff\xff\0\0\0")
_SEQUENCE, _SEQUENCE_MASK = _word(b",1,\0,\0,\0"), _word(b"\xff\xff\xff\0\xff\0\xff\0")


def load(buf: U8, at: I64, width: int) -> U64:
    """(width / 8, n) words: ``width`` bytes from each position on."""
    window = np.ndarray((max(len(buf) - width + 1, 0),), dtype=f"V{width}", buffer=buf, strides=(1,))
    # fancy indexing copies each item at once; take() would first copy the whole window
    return np.ascontiguousarray(window[at].view("<u8").reshape(len(at), width // 8).T)


def dearmour(x: U64) -> tuple[U64, U64]:
    """Armoured characters -> six-bit values in bytes; second: not 0 where a character is outside of the armour."""
    one = _rep(1)
    high = (x >> _u(5)) & (x >> _u(6)) & one  # 0x60 and above: the second run of the alphabet
    # 'X' .. '_' would fall upon values of the second run
    gap = (x >> _u(6)) & ~(x >> _u(5)) & (x >> _u(4)) & (x >> _u(3)) & one
    v = x - _rep(0x30) - (high << _u(3))
    return v, (v & _rep(0xC0)) | gap


def compress(v: U64) -> U64:
    """Eight six-bit values in bytes -> one 48-bit number, the first value in the highest bits."""
    v = ((v & _u(0x003F003F003F003F)) << _u(6)) | ((v >> _u(8)) & _u(0x003F003F003F003F))
    v = ((v & _u(0x00000FFF00000FFF)) << _u(12)) | ((v >> _u(16)) & _u(0x00000FFF00000FFF))
    return ((v & _u(0xFFFFFF)) << _u(24)) | ((v >> _u(32)) & _u(0xFFFFFF))


def _fold(x: U64) -> U64:
    x = x ^ (x >> _u(32))
    x = x ^ (x >> _u(16))
    return (x ^ (x >> _u(8))) & _u(0xFF)


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
        ok &= _UPPER[(w0 >> _u(8)) & _u(255)] & _UPPER[(w0 >> _u(16)) & _u(255)]
    plain = (w1 & _PLAIN_MASK) == _PLAIN
    channel = (w1 >> _u(32)) & _u(255)
    offset = np.full(len(bang), 14, dtype=np.int64)
    head_mask = np.full(len(bang), 0x0000FFFFFFFFFFFF, dtype=np.uint64)  # the six characters before the payload
    if not plain.all():
        bare = (w1 & _NO_CHANNEL_MASK) == _NO_CHANNEL
        numbered = ((w1 & _SEQUENCE_MASK) == _SEQUENCE) & _DIGIT[(w1 >> _u(24)) & _u(255)]
        offset[bare], head_mask[bare] = 13, _u(0x000000FFFFFFFFFF)
        offset[numbered], head_mask[numbered] = 15, _u(0x00FFFFFFFFFFFFFF)
        # bare has a comma where plain has the channel: the two exclude each other
        channel = np.where(bare, ord("A"), np.where(numbered, (w1 >> _u(40)) & _u(255), channel))
        ok &= (plain & ~bare) | bare | numbered
    ok &= _CHANNEL[channel]
    body = load(buf, bang + offset, 40)
    p, tail = body[:4].copy(), body[3] >> _u(32)
    p[3] &= _u(0xFFFFFFFF)
    ok &= (tail & _u(0xFFFFFF)) == _word(b",0*")
    high, low = _HEX[tail >> _u(24)], _HEX[body[4] & _u(255)]
    sum_of = (w0 & ~_u(255)) ^ (w1 & head_mask) ^ p[0] ^ p[1] ^ p[2] ^ p[3]
    told = (high.astype(np.uint16) << 4) | low
    ok &= (_fold(sum_of) ^ _u(ord(",") ^ ord("0"))) == told  # an invalid digit is 255 and makes it too great
    ok &= (high < 16) & (low < 16)
    kind = (p[0] & _u(255)).astype(np.uint8)
    p[3] |= _word(b"\0\0\0\x000000")
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
    value[raw >= _u(missing_from)] = np.nan
    return value


def _positions(s: _Sentences, at: I64, t: F64, class_b: bool) -> tuple[U8, NDArray[np.void]]:
    """Outcome and report of the sentences ``at``; the reports are meant where the outcome is REPORT."""
    u0, u1, u2 = s.words[:, at] if len(at) < len(s.kind) else s.words
    mmsi = ((u0 >> _u(10)) & _u(0x3FFFFFFF)).astype(np.int64)
    if class_b:  # message 18
        sog = ((u0 & _u(3)) << _u(8)) | (u1 >> _u(40))
        lon = (u1 >> _u(11)) & _u(0xFFFFFFF)
        lat = ((u1 & _u(0x7FF)) << _u(16)) | (u2 >> _u(32))
        cog, heading = (u2 >> _u(20)) & _u(0xFFF), (u2 >> _u(11)) & _u(0x1FF)
    else:  # messages 1, 2, 3
        sog = (u1 >> _u(36)) & _u(0x3FF)
        lon = (u1 >> _u(7)) & _u(0xFFFFFFF)
        lat = ((u1 & _u(0x7F)) << _u(20)) | (u2 >> _u(28))
        cog, heading = (u2 >> _u(16)) & _u(0xFFF), (u2 >> _u(7)) & _u(0x1FF)
    lat_raw, lon_raw = _signed(lat, 27), _signed(lon, 28)
    code = np.zeros(len(at), dtype=np.uint8)
    code[(np.abs(lat_raw) > _LAT_RAW) | (np.abs(lon_raw) > _LON_RAW)] = NO_POSITION
    code[(mmsi < 1) | (mmsi > MMSI_MAX)] = BAD_MMSI
    code[np.isnan(t)] = NO_TIME
    out = np.zeros(len(at), dtype=REPORT_DTYPE)
    out["mmsi"], out["t"], out["lat"], out["lon"] = mmsi, t, _degrees(lat_raw), _degrees(lon_raw)
    out["sog"], out["cog"] = _measured(sog, 1023, 10.0), _measured(cog, 3600, 10.0)
    out["heading"] = _measured(heading, 360, 1.0)
    out["nav_status"] = -1 if class_b else ((u0 >> _u(6)) & _u(15)).astype(np.int8)
    out["msg_type"] = 18 if class_b else (u0 >> _u(42)).astype(np.int8)
    out["ship_type"] = -1
    return code, out


def _cdv_times(buf: U8, starts: I64) -> F64:
    """Unix s of ``YYYY/MM/DD HH:MM:SS `` at ``starts``; NaN where that is not what stands there."""
    w = load(buf, starts, 24)
    clock = load(buf, starts + 11, 8)[0] ^ _word(b"00:00:00")  # digits become 0..9, the colons 0
    # a digit plus 0x76 keeps bit 7 clear up to 9; a colon must be exactly 0
    fine = ((clock + _word(b"\x76\x76\x7f\x76\x76\x7f\x76\x76")) & _rep(0x80)) == 0
    fine &= (clock & _rep(0x80)) == 0
    d = clock
    h = (d & _u(15)) * _u(10) + ((d >> _u(8)) & _u(15))
    m = ((d >> _u(24)) & _u(15)) * _u(10) + ((d >> _u(32)) & _u(15))
    s = ((d >> _u(48)) & _u(15)) * _u(10) + ((d >> _u(56)) & _u(15))
    fine &= (
        (h < 24)
        & (m < 60)
        & (s < 60)
        & (((w[1] >> _u(16)) & _u(255)) == ord(" "))
        & (((w[2] >> _u(24)) & _u(255)) == ord(" "))
    )
    seconds = (h * _u(3600) + m * _u(60) + s).astype(np.float64)
    # Dates come in runs: each run's date is read once.
    date_hi, date_lo = w[0], w[1] & _u(0xFFFF)
    changes = np.flatnonzero((date_hi[1:] != date_hi[:-1]) | (date_lo[1:] != date_lo[:-1])) + 1
    firsts = np.concatenate([[0], changes])
    known: dict[tuple[int, int], float] = {}
    midnight = np.empty(len(firsts), dtype=np.float64)
    for i, (hi, lo) in enumerate(zip(date_hi[firsts].tolist(), date_lo[firsts].tolist(), strict=True)):
        if (hi, lo) not in known:
            known[hi, lo] = _midnight(hi.to_bytes(8, "little") + lo.to_bytes(2, "little"))
        midnight[i] = known[hi, lo]
    t = np.repeat(midnight, np.diff(np.append(firsts, len(starts)))) + seconds
    t[~fine] = np.nan
    return t


def _midnight(text: bytes) -> float:
    """``YYYY/MM/DD`` -> Unix s, NaN when it is no date."""
    y, m, d = text[:4], text[5:7], text[8:10]
    if text[4:5] != b"/" or text[7:8] != b"/" or not (y + m + d).isdigit():
        return float("nan")
    year, month, day = int(y), int(m), int(d)
    if not (year >= 1 and 1 <= month <= 12 and 1 <= day <= calendar.monthrange(year, month)[1]):
        return float("nan")
    return float(calendar.timegm((year, month, day, 0, 0, 0)))


def _number(buf: U8, at: I64, digits: int) -> tuple[F64, NDArray[np.bool_]]:
    """The decimal number of so many digits at each position, and whether only digits stand there."""
    raw = buf[at[:, None] + np.arange(digits)]
    good = _DIGIT[raw].all(axis=1)
    return (raw - np.uint8(48)).astype(np.float64) @ (10.0 ** np.arange(digits - 1, -1, -1)), good


def _epoch(value: F64) -> F64:
    """s or ms -> s."""
    return np.where(value >= MS_FROM, value / 1000.0, value)


def _suffix_times(buf: U8, after: I64, ends: I64) -> F64:
    """Unix s of ``,r123456789,1152921693``, ``,1152921693`` or ``,1327992119157``; NaN for any other suffix."""
    length = ends - after
    t = np.full(len(after), np.nan)
    for total, start, digits in ((22, 12, 10), (11, 1, 10), (14, 1, 13)):
        at = np.flatnonzero(length == total)
        if not len(at):
            continue
        good = buf[after[at]] == ord(",")
        if total == 22:  # a station: a letter and nine digits
            good &= ((buf[after[at] + 1] == ord("r")) | (buf[after[at] + 1] == ord("b"))) & (
                buf[after[at] + 11] == ord(",")
            )
            good &= _number(buf, after[at] + 2, 9)[1]
        value, digits_only = _number(buf, after[at] + start, digits)
        t[at] = np.where(good & digits_only, _epoch(value), np.nan)
    return t


def _tag_blocks(buf: U8, starts: I64, ends: I64, lo: int, hi: int) -> tuple[I64, F64]:
    """Of lines that begin with a tag block: where the sentence begins (-1: not recognised) and its time.

    Recognised: one block, its checksum of two digits right, its time given as ``c:`` of 10 or 13 digits, no group.
    """
    part = buf[lo:hi]
    slashes = np.flatnonzero(part == ord("\\")) + lo
    first = np.searchsorted(slashes, starts)
    slashes = np.append(slashes, [hi, hi, hi])
    close, third = slashes[first + 1], slashes[first + 2]
    good = (close + SENTENCE_CHARS < ends) & (third >= ends) & (close > starts + 4)
    close = np.where(good, close, starts + 5)
    high, low = _HEX[buf[close - 2]], _HEX[buf[close - 1]]
    good &= (buf[close - 3] == ord("*")) & (high < 16) & (low < 16) & (buf[close + 1] == ord("!"))
    # the checksum of the fields, from running exclusive ors: [start + 1, close - 3)
    running = np.bitwise_xor.accumulate(buf[lo : hi + PADDING])
    good &= (running[close - 4 - lo] ^ running[starts - lo]) == ((high << 4) | (low & 15))
    # times: "c:" after the opening slash or a comma; more than one, a group or a second star: left to pyais
    t = np.full(len(starts), np.nan)
    for_line = np.full(len(starts), -1, dtype=np.int64)
    colons = np.flatnonzero(part == ord(":")) + lo
    line = np.searchsorted(starts, colons, side="right") - 1
    inside = (line >= 0) & (colons > starts[0] + 1)
    colons, line = colons[inside], line[inside]
    inside = colons < close[line]
    colons, line = colons[inside], line[inside]
    key, before = buf[colons - 1], buf[colons - 2]
    of_field = (before == ord(",")) | (colons - 2 == starts[line])
    is_time = of_field & (key == ord("c"))
    is_group = (of_field & (key == ord("g"))) | (before == ord("G"))  # g:1-2-1604 or 1G2:1604
    times = np.bincount(line[is_time], minlength=len(starts))
    grouped = np.bincount(line[is_group], minlength=len(starts))
    for_line[line[is_time]] = colons[is_time] + 1
    good &= (times == 1) & (grouped == 0)
    stars = np.flatnonzero(part == ord("*")) + lo
    good &= np.searchsorted(stars, close) - np.searchsorted(stars, starts) == 1
    for digits in (10, 13):
        end = np.where(for_line >= 0, for_line + digits, 0)
        at = np.flatnonzero(good & (for_line >= 0) & ((buf[end] == ord(",")) | (buf[end] == ord("*"))))
        if len(at):
            value, digits_only = _number(buf, for_line[at], digits)
            t[at] = np.where(digits_only, _epoch(value), np.nan)
    good &= ~np.isnan(t)
    return np.where(good, close + 1, -1), t


def _opaque(rows: NDArray[np.void]) -> NDArray[np.void]:
    """The rows as bytes without fields: NumPy copies those at once, fields one by one."""
    return rows.view(f"V{rows.dtype.itemsize}")


def _where(rows: NDArray[np.void], keep: NDArray[np.bool_]) -> NDArray[np.void]:
    return rows if keep.all() else _opaque(rows)[keep].view(rows.dtype)


def numpy_kernel(buf: U8, starts: I64, ends: I64, trust: Trust) -> Scan:
    """The kernel of this file; ``LineKernel``."""
    n = len(starts)
    codes = np.full(n, LEFT, dtype=np.uint8)
    reports = np.empty(n, dtype=REPORT_DTYPE)
    found = 0
    if sys.byteorder == "little":
        for lo in range(0, n, CHUNK):
            scan = _chunk(buf, starts[lo : lo + CHUNK], ends[lo : lo + CHUNK], trust)
            codes[lo : lo + CHUNK] = scan.codes
            _opaque(reports)[found : found + len(scan.reports)] = _opaque(scan.reports)
            found += len(scan.reports)
    return Scan(codes, reports[:found])


def _chunk(buf: U8, starts: I64, ends: I64, trust: Trust) -> Scan:
    n = len(starts)
    codes = np.full(n, LEFT, dtype=np.uint8)
    first = buf[starts]
    bang, t = starts.copy(), np.full(n, trust.at)
    timed = np.zeros(n, dtype=bool)  # the time is settled: nothing behind the sentence may change it
    cdv = (_DIGIT[first]) & (buf[starts + 20] == ord("!"))
    if cdv.any():
        at = slice(None) if cdv.all() else np.flatnonzero(cdv)
        bang[at] += 20
        times = _cdv_times(buf, starts[at])
        t[at] = np.where(np.isnan(times), -np.inf, times if trust.cdv else trust.at)
        timed[at] = trust.cdv
    tagged = first == ord("\\")
    if tagged.any():
        at = np.flatnonzero(tagged)
        where, times = _tag_blocks(buf, starts[at], ends[at], int(starts[at[0]]), int(ends[at[-1]]))
        bang[at] = np.where(where < 0, starts[at], where)  # a backslash there: not recognised as a sentence
        if trust.tagblock:
            t[at], timed[at] = times, True
    s = _sentences(buf, bang)
    ok = s.ok & (t != -np.inf) & (s.end <= ends)
    suffixed = np.flatnonzero(ok & (s.end < ends))
    if len(suffixed):
        times = _suffix_times(buf, s.end[suffixed], ends[suffixed])
        ok[suffixed] &= ~np.isnan(times)  # an unknown suffix
        if trust.suffix:
            t[suffixed] = np.where(timed[suffixed], t[suffixed], times)
    class_a = ok & (s.kind >= ord("1")) & (s.kind <= ord("3"))
    class_b = ok & (s.kind == ord("B"))
    codes[ok & ((s.kind == ord("4")) | (s.kind == ord(";")))] = NOT_A_POSITION
    if class_a.all():
        codes, rows = _positions(s, np.arange(n), t, class_b=False)
        return Scan(codes, _where(rows, codes == REPORT))
    out = np.zeros(n, dtype=REPORT_DTYPE)
    for at, is_b in ((np.flatnonzero(class_a), False), (np.flatnonzero(class_b), True)):
        if len(at):
            codes[at], rows = _positions(s, at, t[at], is_b)
            _opaque(out)[at] = _opaque(rows)
    return Scan(codes, _where(out, codes == REPORT))
