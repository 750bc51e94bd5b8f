"""Static data (types 5 and 24) of many lines together, in NumPy alone: what ``ais.kernel`` leaves and pyais need not see.

Recognised is a line with one whole sentence of one or two parts, its checksum right, its time in the usual ``.cdv`` spelling or nowhere:

    [YYYY/MM/DD HH:MM:SS ]!xxVDM,(1,1|2,1|2,2),[digit],[A|B|1|2],<payload>,[0-5]*hh

and of these the messages of type 5 and 24 that hold all of their fields. Two parts are paired here only where no other line can come
between them in ``ais.assembly``; whether an older part waits for one of them is asked when its turn comes (``block``).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..assembly import TIMEOUT_LINES, TIMEOUT_S
from ..positions import StaticData
from ..sentinels import MMSI_MAX, clean_name
from .positions import CHANNEL, UPPER, Trust
from .timestamps import DIGIT, F64, HEX, I64, U8, cdv_times

# characters looked at, from '!' on; the standard allows 82. Less than what follows the buffer (PADDING)
SENTENCE_MAX = 88
PART_A_BITS, PART_B_BITS = 160, 162  # of type 24: its fields end there
TYPE_5_BITS = 270  # name, type and size end there
BITS_MAX, PART_BITS_MAX = 424 + 5, 168 + 5  # the standard's length, filled up to a whole character
CDV_CHARS = 20  # date, blank, time, blank
CRAFT = (980_000_000, 989_999_999)

_SIX = np.full(256, 255, dtype=np.uint8)  # six-bit value of an armoured character, 255 outside of the armour
_SIX[48:88], _SIX[96:120] = np.arange(40), np.arange(40, 64)
_ASCII = np.arange(64, dtype=np.uint8)
_ASCII[:32] += 64
_COLUMN = np.arange(SENTENCE_MAX)
_HEAD, _TAIL = 14, 5  # characters before the payload (without a sequence id) and behind it


class _Left:
    """In place of a message that is left to pyais."""


_LEFT = _Left()


class Key(NamedTuple):
    """Of a set of parts, as ``assembly`` and pyais name it."""

    channel: str
    seq_id: int | None
    frag_cnt: int
    talker_id: str


class Statics(NamedTuple):
    """What a block's lines say without doubt; ``None`` stands for static data of a vessel without a number."""

    alone: dict[int, StaticData | None]  # by line
    first: dict[int, int]  # line of a first part -> number of its pair
    second: dict[int, int]  # line of the second part -> the same
    keys: list[Key]  # of the pairs
    said: list[StaticData | None]


NONE = Statics({}, {}, {}, [], [])


class _Parts(NamedTuple):
    """The sentences recognised among n lines."""

    line: I64  # (m,) of the block, rising
    total: U8
    number: U8
    fill: U8
    key: I64  # the same for parts of the same ``Key``
    t: F64
    six: U8  # (m, SENTENCE_MAX) six-bit values; the payload begins at ``at`` and has ``chars``
    at: I64
    chars: I64


def find(buf: U8, starts: I64, ends: I64, left: I64, trust: Trust) -> Statics:
    """Of the lines ``left`` (rising indices) of a block."""
    parts, known = _sentences(buf, starts[left], ends[left], left, trust)
    if not len(parts.line):
        return NONE
    kind = parts.six[np.arange(len(parts.at)), parts.at]
    one = np.flatnonzero((parts.total == 1) & ((kind == 5) | (kind == 24)))
    alone = {line: said for line, said in zip(parts.line[one].tolist(), _unpack(parts, one, one), strict=True)}
    a, b = _pairs(parts, kind, left[~known])
    said = _unpack(parts, a, b)
    whole = [k for k, s in enumerate(said) if s is not _LEFT]
    a, b = a[whole], b[whole]
    return Statics(
        {line: s for line, s in alone.items() if not isinstance(s, _Left)},
        {line: k for k, line in enumerate(parts.line[a].tolist())},
        {line: k for k, line in enumerate(parts.line[b].tolist())},
        [_key(k) for k in parts.key[a].tolist()],
        [s for k in whole if not isinstance(s := said[k], _Left)],
    )


def _sentences(buf: U8, start: I64, end: I64, line: I64, trust: Trust) -> tuple[_Parts, NDArray[np.bool_]]:
    """The sentences recognised, and which lines they are among those given."""
    dated = DIGIT[buf[start]] & (buf[start + CDV_CHARS] == ord("!"))
    bang = np.where(dated, start + CDV_CHARS, start)
    chars = end - bang
    known = (chars > _HEAD + _TAIL) & (chars <= SENTENCE_MAX)
    line, end, bang, chars = line[known], end[known], bang[known], chars[known]
    window = np.ndarray((len(buf) - SENTENCE_MAX + 1,), dtype=f"V{SENTENCE_MAX}", buffer=buf, strides=(1,))
    text = window[bang].view(np.uint8).reshape(-1, SENTENCE_MAX)
    c = np.ascontiguousarray(text[:, : _HEAD + 1].T)
    good = (c[0] == ord("!")) & UPPER[c[1]] & UPPER[c[2]] & (c[8] == ord(",")) & (c[10] == ord(","))
    for k, char in enumerate(b"VDM,", 3):
        good &= c[k] == char
    total, number = c[7] - ord("0"), c[9] - ord("0")
    good &= (total >= 1) & (total <= 2) & (number >= 1) & (number <= total)
    numbered = DIGIT[c[11]] & (c[12] == ord(",")) & CHANNEL[c[13]] & (c[14] == ord(","))
    good &= numbered | ((c[11] == ord(",")) & CHANNEL[c[12]] & (c[13] == ord(",")))
    at = np.where(numbered, _HEAD + 1, _HEAD).astype(np.int64)
    fill, high, low = buf[end - 4] - ord("0"), HEX[buf[end - 2]], HEX[buf[end - 1]]
    good &= (buf[end - 5] == ord(",")) & (fill <= 5) & (buf[end - 3] == ord("*")) & (high < 16) & (low < 16)
    good &= chars - _TAIL > at
    summed = (_COLUMN >= 1) & ((chars - 3)[:, None] > _COLUMN)
    good &= np.bitwise_xor.reduce(text * summed, axis=1) == ((high << 4) | (low & 15))
    six = _SIX[text]
    payload = (at[:, None] <= _COLUMN) & ((chars - _TAIL)[:, None] > _COLUMN)
    good &= ~((six == 255) & payload).any(axis=1)
    t = np.full(len(line), trust.at)
    dated = dated[known]
    if dated.any():
        times = cdv_times(buf, bang[dated] - CDV_CHARS)
        good[dated] &= ~np.isnan(times)
        if trust.cdv:
            t[dated] = times
    key = np.zeros(len(line), np.int64)
    for field in (c[1], c[2], np.where(numbered, c[13], c[12]), np.where(numbered, c[11], 0), total):
        key = (key << 8) | field
    known[known] = good
    columns = (line, total, number, fill, key, t, six, at, chars - _TAIL - at)
    return _Parts(*(x[good] for x in columns)), known


def _pairs(parts: _Parts, kind: U8, unknown: I64) -> tuple[I64, I64]:
    """First and second parts (indices) of messages of type 5 between which nothing can come."""
    several = np.flatnonzero(parts.total == 2)
    order = several[np.argsort(parts.key[several], kind="stable")]
    a, b = order[:-1], order[1:]
    line_a, line_b = parts.line[a], parts.line[b]
    fine = (parts.key[a] == parts.key[b]) & (parts.number[a] == 1) & (parts.number[b] == 2) & (kind[a] == 5)
    fine &= line_b - line_a <= TIMEOUT_LINES
    fine &= parts.chars[a] > 1  # of a single character the fill bits may take a part of the type
    fine &= ~(np.abs(parts.t[a] - parts.t[b]) > TIMEOUT_S)
    # a line of which nothing is known could hold a part of the same message
    fine &= np.searchsorted(unknown, line_a) == np.searchsorted(unknown, line_b)
    return a[fine], b[fine]


def _key(number: int) -> Key:
    one, two, channel, sequence, total = number.to_bytes(5, "big")
    return Key(chr(channel), sequence - ord("0") if sequence else None, total, chr(one) + chr(two))


def _unpack(parts: _Parts, a: I64, b: I64) -> list[StaticData | _Left | None]:
    """Messages of types 5 and 24; a is b where one sentence holds it all."""
    n, first = len(a), parts.chars[a]
    two = a != b
    bits = 6 * (first + np.where(two, parts.chars[b], 0)) - parts.fill[b]
    column = np.arange(-(-TYPE_5_BITS // 6) + 1)
    in_first = column < first[:, None]
    row = np.where(in_first, a[:, None], b[:, None]) * SENTENCE_MAX
    place = np.where(in_first, parts.at[a][:, None], (parts.at[b] - first)[:, None]) + column
    # beyond the end: some other character, which is not looked at
    six = parts.six.reshape(-1)[row + np.minimum(place, SENTENCE_MAX - 1)].T.astype(np.int64)
    kind, mmsi = _number(six, 0, 6), _number(six, 8, 30)
    t = np.where(np.isnan(parts.t[a]), parts.t[b], parts.t[a])
    five = (kind == 5) & (bits >= TYPE_5_BITS) & (bits <= BITS_MAX)
    part = _number(six, 38, 2)
    part_a = (kind == 24) & ~two & (part == 0) & (bits >= PART_A_BITS) & (bits <= PART_BITS_MAX)
    part_b = (kind == 24) & ~two & (part == 1) & (bits >= PART_B_BITS) & (bits <= PART_BITS_MAX)
    out: list[StaticData | _Left | None] = [_LEFT] * n
    numbered = (mmsi >= 1) & (mmsi <= MMSI_MAX)
    for i in np.flatnonzero((five | part_a | part_b) & ~numbered).tolist():
        out[i] = None
    for which, layout in ((five, _TYPE_5), (part_a, _PART_A), (part_b, _PART_B)):
        at = np.flatnonzero(which & numbered)
        if len(at):
            for i, said in zip(at.tolist(), layout.read(six[:, at], mmsi[at], t[at]), strict=True):
                out[i] = said
    return out


class _Layout(NamedTuple):
    """Where a message has what (bits); -1 where it has not."""

    msg_type: int
    name: int
    ship_type: int
    callsign: int
    imo: int
    size: int

    def read(self, six: I64, mmsi: I64, t: F64) -> list[StaticData]:
        n = len(mmsi)
        nobody: list[bytes | None] = [None] * n
        unknown = np.full(n, -1)
        ship_type = _number(six, self.ship_type, 8) if self.ship_type >= 0 else unknown
        imo = _number(six, self.imo, 30) if self.imo >= 0 else unknown
        size = [unknown] * 4
        if self.size >= 0:
            size = [_number(six, self.size + at, width) for at, width in ((0, 9), (9, 9), (18, 6), (24, 6))]
            # ITU-R M.1371: a craft that belongs to a ship gives the ship's number in place of its size
            craft = (mmsi >= CRAFT[0]) & (mmsi <= CRAFT[1]) & (self.msg_type == 24)
            size = [np.where(craft, -1, x) for x in size]
        columns = (
            mmsi.tolist(),
            t.tolist(),
            [self.msg_type] * n,
            _text(six, self.name, 20) if self.name >= 0 else nobody,
            np.where(ship_type == 0, -1, ship_type).tolist(),
            _text(six, self.callsign, 7) if self.callsign >= 0 else nobody,
            np.where(imo == 0, -1, imo).tolist(),
            *(x.tolist() for x in size),
        )
        return [StaticData(*row) for row in zip(*columns, strict=True)]


_TYPE_5 = _Layout(5, name=112, ship_type=232, callsign=70, imo=40, size=240)
_PART_A = _Layout(24, name=40, ship_type=-1, callsign=-1, imo=-1, size=-1)
_PART_B = _Layout(24, name=-1, ship_type=40, callsign=90, imo=-1, size=132)


def _number(six: I64, start: int, width: int) -> I64:
    """Bits of sextets (k, n) as a whole number (n,)."""
    first, last = start // 6, (start + width - 1) // 6
    value = six[first] & ((1 << (6 * (first + 1) - start)) - 1)
    for k in range(first + 1, last + 1):
        value = (value << 6) | six[k]
    number: I64 = value >> (6 * (last + 1) - start - width)
    return number


def _text(six: I64, start: int, chars: int) -> list[bytes | None]:
    """Six-bit text that begins at a bit, as ``clean_name`` leaves it."""
    k, shift = divmod(start, 6)
    value = six[k : k + chars] << shift
    if shift:
        value |= six[k + 1 : k + chars + 1] >> (6 - shift)
    rows = np.ascontiguousarray(_ASCII[value & 63].T)
    return [clean_name(text) or None for text in rows.view(f"S{chars}")[:, 0].tolist()]
