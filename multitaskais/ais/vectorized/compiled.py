"""The kernel compiled with numba (``pip install .[fast]``): the same codes and reports as ``ais.kernel``, about four times as fast.

It recognises the two usual spellings, ``YYYY/MM/DD HH:MM:SS !xxVDM,1,1,,c,<28>,0*hh`` and the sentence alone; what it
leaves goes to the NumPy kernel, and what that leaves to pyais.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...exact.compiled import jit
from ...records import REPORT_DTYPE
from ..sentinels import LAT_MAX, LON_MAX, MMSI_MAX
from .positions import BAD_MMSI, LEFT, NO_POSITION, NO_TIME, NOT_A_POSITION, REPORT, Scan, Trust, numpy_kernel
from .timestamps import HEX, I64, U8

_LAT_RAW, _LON_RAW = round(LAT_MAX * 600000), round(LON_MAX * 600000)
_SENTENCE = 47  # characters, with a channel and without a sequence id
_PREFIX = 20  # date, blank, time, blank

_ARMOUR = np.full(256, 255, dtype=np.uint8)  # six-bit value of a character, 255 outside of the armour
_ARMOUR[48:88], _ARMOUR[96:120] = np.arange(40), np.arange(40, 64)
# what stands around talker, channel, payload and checksum; 0: anything
_FRAME = np.frombuffer(b"!\0\0VDM,1,1,,\0," + b"\0" * 28 + b",0*\0\0", dtype=np.uint8)
_DATE = np.frombuffer(b"0000/00/00 00:00:00 ", dtype=np.uint8)


@jit
def _two(buf: U8, at: int) -> int:
    number: int = (buf[at] - 48) * 10 + (buf[at + 1] - 48)
    return number


@jit
def _midnight(buf: U8, at: int) -> float:
    """Unix s of the date at ``at``, whose digits are digits; NaN when there is no such day."""
    y, m, d = _two(buf, at) * 100 + _two(buf, at + 2), _two(buf, at + 5), _two(buf, at + 8)
    if y < 1 or m < 1 or m > 12 or d < 1:
        return np.nan
    leap = y % 4 == 0 and (y % 100 != 0 or y % 400 == 0)
    longest = 31
    if m in (4, 6, 9, 11):
        longest = 30
    elif m == 2:
        longest = 29 if leap else 28
    if d > longest:
        return np.nan
    # days of the proleptic Gregorian calendar, with years that begin in March
    if m <= 2:
        y -= 1
        m += 12
    days = 365 * y + y // 4 - y // 100 + y // 400 + (153 * (m - 3) + 2) // 5 + d - 1
    seconds: float = (days - 719468) * 86400.0
    return seconds


@jit
def _scan(buf: U8, starts: I64, ends: I64, cdv: bool, at: float, codes: U8, out: NDArray[np.void]) -> int:
    found = 0
    day_at, day = -1, np.nan
    for i in range(len(starts)):
        start, end = starts[i], ends[i]
        codes[i] = LEFT
        bang, t = start, at
        if end - start == _PREFIX + _SENTENCE:
            fine = True
            for k in range(_PREFIX):
                c, want = buf[start + k], _DATE[k]
                if want == 48:
                    fine &= 48 <= c <= 57
                else:
                    fine &= c == want
            if not fine:
                continue
            same = day_at >= 0
            if same:
                for k in range(10):
                    same &= buf[start + k] == buf[day_at + k]
            if not same:
                day = _midnight(buf, start)
                day_at = start
            h, m, s = _two(buf, start + 11), _two(buf, start + 14), _two(buf, start + 17)
            if np.isnan(day) or h > 23 or m > 59 or s > 59:
                continue
            if cdv:
                t = day + (h * 3600 + m * 60 + s)
            bang += _PREFIX
        elif end - start != _SENTENCE:
            continue
        fine, xor = True, np.uint8(0)
        for k in range(14):
            c, want = buf[bang + k], _FRAME[k]
            fine &= want == 0 or c == want
            xor ^= c
        channel, a, b = buf[bang + 12], buf[bang + 1], buf[bang + 2]
        fine &= (65 <= a <= 90) and (65 <= b <= 90)
        fine &= channel == 65 or channel == 66 or channel == 49 or channel == 50
        fine &= buf[bang + 42] == 44 and buf[bang + 43] == 48 and buf[bang + 44] == 42
        high, low = HEX[buf[bang + 45]], HEX[buf[bang + 46]]
        fine &= high < 16 and low < 16
        if not fine:
            continue
        u0, u1, u2, bad = np.uint64(0), np.uint64(0), np.uint64(0), np.uint8(0)
        for k in range(8):
            c0, c1, c2 = buf[bang + 14 + k], buf[bang + 22 + k], buf[bang + 30 + k]
            xor ^= c0 ^ c1 ^ c2
            v0, v1, v2 = _ARMOUR[c0], _ARMOUR[c1], _ARMOUR[c2]
            bad |= v0 | v1 | v2
            u0 = (u0 << np.uint64(6)) | np.uint64(v0)
            u1 = (u1 << np.uint64(6)) | np.uint64(v1)
            u2 = (u2 << np.uint64(6)) | np.uint64(v2)
        for k in range(38, 42):
            c = buf[bang + k]
            xor ^= c
            bad |= _ARMOUR[c]
        # 33 is '!', which the sum leaves out; 28 is ',' and '0' before the star
        if bad > 63 or (xor ^ 33 ^ 28) != (high << 4 | low):
            continue
        w0, w1, w2 = np.int64(u0), np.int64(u1), np.int64(u2)
        kind = w0 >> 42
        if kind == 4 or kind == 11:
            codes[i] = NOT_A_POSITION
            continue
        if kind == 18:
            sog = ((w0 & 3) << 8) | (w1 >> 40)
            lon = (w1 >> 11) & 0xFFFFFFF
            lat = ((w1 & 0x7FF) << 16) | (w2 >> 32)
            cog, heading, status = (w2 >> 20) & 0xFFF, (w2 >> 11) & 0x1FF, np.int64(-1)
            second = (w2 >> 5) & 63
        elif 1 <= kind <= 3:
            sog = (w1 >> 36) & 0x3FF
            lon = (w1 >> 7) & 0xFFFFFFF
            lat = ((w1 & 0x7F) << 20) | (w2 >> 28)
            cog, heading, status = (w2 >> 16) & 0xFFF, (w2 >> 7) & 0x1FF, (w0 >> 6) & 15
            second = (w2 >> 1) & 63
        else:
            continue
        mmsi = (w0 >> 10) & 0x3FFFFFFF
        lat, lon = (lat ^ 0x4000000) - 0x4000000, (lon ^ 0x8000000) - 0x8000000
        if np.isnan(t):
            codes[i] = NO_TIME
        elif mmsi < 1 or mmsi > MMSI_MAX:
            codes[i] = BAD_MMSI
        elif abs(lat) > _LAT_RAW or abs(lon) > _LON_RAW:
            codes[i] = NO_POSITION
        else:
            codes[i] = REPORT
            row = out[found]
            row.mmsi, row.t = mmsi, t
            # rounded 5/3 of a whole number, as in ais.kernel
            row.lat, row.lon = ((10 * lat + 3) // 6) / 1e6, ((10 * lon + 3) // 6) / 1e6
            row.sog = sog / 10.0 if sog < 1023 else np.nan
            row.cog = cog / 10.0 if cog < 3600 else np.nan
            row.heading = float(heading) if heading < 360 else np.nan
            row.nav_status, row.msg_type, row.ship_type = status, kind, -1
            row.second = second if second < 60 else -1
            found += 1
    return found


def numba_kernel(buf: U8, starts: I64, ends: I64, trust: Trust) -> Scan:
    """``LineKernel``."""
    codes = np.empty(len(starts), dtype=np.uint8)
    out = np.zeros(len(starts), dtype=REPORT_DTYPE)
    found = _scan(buf, starts, ends, trust.cdv, trust.at, codes, out)
    left = np.flatnonzero(codes == LEFT)
    if not len(left):
        return Scan(codes, out[:found])
    rest = numpy_kernel(buf, starts[left], ends[left], trust)
    lines = np.concatenate([np.flatnonzero(codes == REPORT), left[rest.codes == REPORT]])
    codes[left] = rest.codes
    order = np.argsort(lines, kind="stable")
    if len(rest.reports):
        opaque = f"V{REPORT_DTYPE.itemsize}"
        both = np.concatenate([out[:found].view(opaque), rest.reports.view(opaque)])
        return Scan(codes, both[order].view(REPORT_DTYPE))
    return Scan(codes, out[:found])
