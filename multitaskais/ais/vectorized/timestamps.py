"""When the lines of a block were received, many at a time; the words that ``ais.kernel`` works on.

A time that stands there in any other than the usual spelling is left to be read line by line.
"""

from __future__ import annotations

import calendar

import numpy as np
from numpy.typing import NDArray

from ...times import EARLIEST, LATEST

U8 = NDArray[np.uint8]
U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]
F64 = NDArray[np.float64]

PADDING = 96  # bytes that must follow the last line in the buffer: loads may reach beyond it
# of a tag block's characters between its slashes: NMEA 0183 allows no more; a longer one is read by itself
FIELDS_MAX = 80
_FIRST_BYTES = np.array([(1 << (8 * k)) - 1 for k in range(9)], dtype=np.uint64)  # so many of a word
SENTENCE_CHARS = 46  # the shortest sentence of 28 payload characters


def word(text: bytes) -> np.uint64:
    return np.uint64(int.from_bytes(text, "little"))


def u64(x: int) -> np.uint64:
    return np.uint64(x)


def eight(byte: int) -> np.uint64:
    """The byte, eight times."""
    return np.uint64(byte * 0x0101010101010101)


def bytes_in(chars: bytes) -> NDArray[np.bool_]:
    t = np.zeros(256, dtype=bool)
    t[list(chars)] = True
    return t


HEX = np.full(256, 255, dtype=np.uint8)
HEX[list(b"0123456789")] = np.arange(10)
HEX[list(b"ABCDEF")] = np.arange(10, 16)
HEX[list(b"abcdef")] = np.arange(10, 16)
DIGIT = bytes_in(b"0123456789")


def load(buf: U8, at: I64, width: int) -> U64:
    """(width / 8, n) words: ``width`` bytes from each position on."""
    window = np.ndarray((max(len(buf) - width + 1, 0),), dtype=f"V{width}", buffer=buf, strides=(1,))
    # fancy indexing copies each item at once; take() would first copy the whole window
    return np.ascontiguousarray(window[at].view("<u8").reshape(len(at), width // 8).T)


def cdv_times(buf: U8, starts: I64) -> F64:
    """Unix s of ``YYYY/MM/DD HH:MM:SS `` at ``starts``; NaN where that is not what stands there."""
    w = load(buf, starts, 24)
    clock = ((w[1] >> u64(24)) | (w[2] << u64(40))) ^ word(b"00:00:00")  # digits become 0..9, the colons 0
    # a digit plus 0x76 keeps bit 7 clear up to 9; a colon must be exactly 0
    fine = ((clock + word(b"\x76\x76\x7f\x76\x76\x7f\x76\x76")) & eight(0x80)) == 0
    fine &= (clock & eight(0x80)) == 0
    d = clock
    h = (d & u64(15)) * u64(10) + ((d >> u64(8)) & u64(15))
    m = ((d >> u64(24)) & u64(15)) * u64(10) + ((d >> u64(32)) & u64(15))
    s = ((d >> u64(48)) & u64(15)) * u64(10) + ((d >> u64(56)) & u64(15))
    fine &= (
        (h < 24)
        & (m < 60)
        & (s < 60)
        & (((w[1] >> u64(16)) & u64(255)) == ord(" "))
        & (((w[2] >> u64(24)) & u64(255)) == ord(" "))
    )
    seconds = (h * u64(3600) + m * u64(60) + s).astype(np.float64)
    # Dates come in runs: each run's date is read once.
    date_hi, date_lo = w[0], w[1] & u64(0xFFFF)
    changes = np.flatnonzero((date_hi[1:] != date_hi[:-1]) | (date_lo[1:] != date_lo[:-1])) + 1
    firsts = np.concatenate([[0], changes])
    known: dict[tuple[int, int], float] = {}
    midnight = np.empty(len(firsts), dtype=np.float64)
    for i, (hi, lo) in enumerate(zip(date_hi[firsts].tolist(), date_lo[firsts].tolist(), strict=True)):
        if (hi, lo) not in known:
            known[hi, lo] = _midnight(hi.to_bytes(8, "little") + lo.to_bytes(2, "little"))
        midnight[i] = known[hi, lo]
    t: NDArray[np.float64] = np.repeat(midnight, np.diff(np.append(firsts, len(starts)))) + seconds
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


def _eight_digits(w: U64) -> tuple[U64, NDArray[np.bool_]]:
    """Words of eight digits, each 0..9 in its byte -> their number, and whether each byte is one."""
    # a digit plus 0x76 keeps bit 7 clear up to 9
    good = (((w + eight(0x76)) | w) & eight(0x80)) == 0
    # neighbours are joined to numbers of two, four, eight digits; the first digit stands in the lowest byte
    w = (w * u64(10) + (w >> u64(8))) & u64(0x00FF00FF00FF00FF)
    w = (w * u64(100) + (w >> u64(16))) & u64(0x0000FFFF0000FFFF)
    return (w * u64(10_000) + (w >> u64(32))) & u64(0xFFFFFFFF), good


def _number(buf: U8, at: I64, digits: int) -> tuple[F64, NDArray[np.bool_]]:
    """The decimal number of 9 to 16 digits at each position, exact below 2^53, and whether only digits stand there."""
    words = load(buf, at, 16) ^ eight(ord("0"))
    high, good = _eight_digits(words[0])
    # the last digits, with zeros before them
    low, also = _eight_digits(words[1] << u64(8 * (16 - digits)))
    return (high * u64(10 ** (digits - 8)) + low).astype(np.float64), good & also


def _epoch(value: F64) -> F64:
    """A count of s (10 digits) or ms (13) -> s."""
    return np.where(value >= LATEST, value / 1000.0, value)


def suffix_times(buf: U8, after: I64, ends: I64) -> F64:
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
        value = _epoch(value)
        # Behind a sentence a number may be anything: one that is no moment at which AIS was received is left.
        t[at] = np.where(good & digits_only & (value >= EARLIEST) & (value < LATEST), value, np.nan)
    return t


def _exclusive_or(buf: U8, begin: I64, length: I64) -> U8:
    """Of the bytes of each span; spans of at most FIELDS_MAX bytes."""
    count = -(-int(length.max(initial=0)) // 8)
    if not count:
        return np.zeros(len(begin), dtype=np.uint8)
    total = np.zeros(len(begin), dtype=np.uint64)
    for k, w in enumerate(load(buf, begin, 8 * count)):
        total ^= w & _FIRST_BYTES[np.clip(length - 8 * k, 0, 8)]
    total ^= total >> u64(32)
    total ^= total >> u64(16)
    return (total ^ (total >> u64(8))).astype(np.uint8)


def tag_blocks(buf: U8, starts: I64, ends: I64, lo: int, hi: int) -> tuple[I64, F64]:
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
    high, low = HEX[buf[close - 2]], HEX[buf[close - 1]]
    good &= (buf[close - 3] == ord("*")) & (high < 16) & (low < 16) & (buf[close + 1] == ord("!"))
    length = close - 4 - starts  # of the fields
    good &= length <= FIELDS_MAX
    good &= _exclusive_or(buf, starts + 1, np.where(good, length, 0)) == ((high << 4) | (low & 15))
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
