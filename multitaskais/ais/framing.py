"""A line of any archive format -> its AIS sentences, each with time, station and tag-block group.

| format   | where the time stands                                                                                |
|----------|------------------------------------------------------------------------------------------------------|
| cdv      | before the sentence: ``YYYY/MM/DD HH:MM:SS !AIVDM,...``, and any other spelling of ``multitaskais.times`` |
| tagblock | NMEA 0183 v4 tag block before it, or on a line of its own: ``\\c:1488326400,s:...*hh\\!AIVDM,...``     |
| suffix   | after the checksum: ``,r003669987,1152921693`` (USCG), ``,1327992119173``, ``( ... timestamp: 20240501120000)`` |
| pghp     | Gatehouse line before the sentence: ``$PGHP,1,2008,5,9,0,0,0,10,338,2,,1,09*17``                      |
| json     | a receiver's JSON object a line, with the sentences in ``nmea`` and the time in ``rxuxtime``, ``toa``, ``rxtime``, ``time`` ... |
| bare     | nowhere: given from outside, or by the clock of the same log (``$..RMC``, ``$..ZDA``, a base station's message 4) |

All times are Unix seconds; what is written without a zone is UTC, whatever the machine's zone.
Nothing here raises: what cannot be read is a ``Reason``.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from functools import reduce
from operator import xor
from typing import Any, NamedTuple

import msgspec

from .. import times
from ..errors import FormatError
from ..records import Reason
from ..times import unix_time
from .log_clock import Year

NAN = float("nan")
LINE_FORMATS = ("cdv", "tagblock", "suffix", "pghp", "json", "bare")

# Any talker: two characters between '!' and VDM / VDO. VDO is own ship.
_START = re.compile(rb"!([^,*!\\]{2})(VD[MO]),")
# The sentence ends at its checksum; the lookahead refuses a third hexadecimal digit.
_END = re.compile(rb"\*([0-9A-Fa-f]{1,2})(?![0-9A-Fa-f])")
_CDV = re.compile(rb"\s*(\d{4})/(\d\d)/(\d\d)[ T](\d\d):(\d\d):(\d\d)(\.\d{1,9})?[ \t]*(?=[!\\$]|$)")
# First field after the checksum that is a whole number of 10 digits (s) or 13 (ms): the usual spellings, also read in blocks.
_EPOCH = re.compile(rb",(\d{13}|\d{10})(?=,|\s|$)")
# Where what a logger wrote before the sentence ends: at a tag block, a sentence or a time line.
_BEGIN = re.compile(rb"\\[^\\!]*\\|![^,*!\\]{2}VD[MO],|\$PGHP,")
_KEYED_TIME = re.compile(rb"\b(?:timestamp|rxuxtime|rxtime|toa|time)\b\W{1,4}(\d[\w:.+-]*)")
_CLOCK = re.compile(rb"\$[A-Z]{2}(RMC|ZDA),(\d\d)(\d\d)(\d\d)(?:\.\d+)?,([^*]*)\*([0-9A-Fa-f]{2})")
_PREFIX_MAX = 300  # bytes before or behind a sentence that are looked at
_STATION = re.compile(rb",([rb]b?\d{6,10})(?=,|\s|$)")
_GROUP = re.compile(rb"(\d{1,2})-(\d{1,2})-(\w{1,12})$")
_GROUP_OLD = re.compile(rb"(\d)G(\d):(\w{1,12})$")  # NMEA 0183 v3 spelling: 1G2:0125

_BOM = b"\xef\xbb\xbf"  # some editors begin a file with it
_GROUPS_KEPT = 64  # groups whose time is remembered for the sentences that follow


class Group(NamedTuple):
    """Tag-block group ``g:sentence-total-id``."""

    sentence: int
    total: int
    group_id: bytes


class Frame(NamedTuple):
    """One AIS sentence cut out of a line, with what the line says about it."""

    sentence: bytes  # from '!' to the checksum, nothing before or after; its checksum is right
    t: float  # Unix s, NaN where the line has no time that can be trusted
    station: bytes
    group: Group | None
    times: tuple[
        tuple[str, float], ...
    ] = ()  # (format, Unix s) of each time of the line, where it has several that differ


class Framing(NamedTuple):
    """What one line gave: sentences and refusals in the order of the line, or the context of the next line."""

    frames: tuple[Frame, ...]
    reasons: tuple[Reason, ...]
    context: bool = False  # a time line or tag block that was read and waits for the sentence that follows


_NOT_AIS = Framing((), (Reason.NOT_AIS,))
_CONTEXT = Framing((), (), True)


class _Tag(NamedTuple):
    """A tag block whose checksum is right."""

    t: float
    station: bytes
    group: Group | None


_NO_TAG = _Tag(NAN, b"", None)


class _Pghp(NamedTuple):
    t: float
    checksum: int  # of the sentence it belongs to, -1 when not told
    country: bytes


def checksum(data: bytes) -> int:
    """Exclusive or of all bytes: NMEA 0183."""
    return reduce(xor, data, 0)


def _tag_block_time(value: bytes) -> float:
    """``c:`` says itself that it is a time: small numbers are seconds too, as test sentences have them."""
    if not value[:1].isdigit() or not value.isascii():
        return NAN
    t = times.read_time(value)
    if t != t and value.isdigit() and len(value) <= 13:
        t = int(value) / (1000.0 if int(value) >= times.LATEST else 1.0)
    return t


def parse_tag_block(body: bytes) -> _Tag | None:
    """The text between the backslashes -> its fields; None when its own checksum is wrong or missing."""
    fields, star, hexdigits = body.rpartition(b"*")
    if not star or len(hexdigits) != 2:
        return None
    try:
        if int(hexdigits, 16) != checksum(fields):
            return None
    except ValueError:
        return None
    t, station, group = NAN, b"", None
    for item in fields.split(b","):
        key, _, value = item.partition(b":")
        if key == b"c":
            t = _tag_block_time(value)
        elif key == b"s":
            station = value
        elif m := _GROUP.match(value) if key == b"g" else _GROUP_OLD.match(item):
            group = Group(int(m[1]), int(m[2]), m[3])
    return _Tag(t, station, group)


def parse_pghp(line: bytes) -> _Pghp | Reason:
    """``$PGHP,type,year,month,day,hour,minute,second,ms,country,region,pss,online,checksum*hh``."""
    end = _END.search(line)
    if end is None:
        return Reason.MALFORMED
    if int(end[1], 16) != checksum(line[1 : end.start()]):
        return Reason.CHECKSUM
    fields = line[: end.start()].split(b",")
    try:
        year, month, day, hour, minute, second, ms = (int(f) for f in fields[2:9])
    except ValueError:
        return Reason.MALFORMED
    t = unix_time(year, month, day, hour, minute, second, ms / 1000.0)
    if t != t or not 0 <= ms < 1000:
        return Reason.MALFORMED
    try:
        of_sentence = int(fields[-1], 16) if len(fields) > 9 and fields[-1] else -1
    except ValueError:
        of_sentence = -1
    return _Pghp(t, of_sentence, fields[9] if len(fields) > 9 else b"")


# Of a receiver's JSON object: where its sentences are, and where the time, the most exact first.
_JSON_SENTENCES = (
    "nmea",
    "sentence",
    "sentences",
    "raw",
    "raw_data",
    "nmea0183",
    "message",
    "msg",
    "line",
    "ais",
    "data",
)
_JSON_TIMES = (
    "rxuxtime", "toa", "tagblock_timestamp", "rxtime", "timestamp", "time", "received_at", "receivedAt", "datetime",
    "time_utc", "epoch", "ts", "t",
)  # fmt: skip
JSON_STATIONS = ("station", "station_id", "source", "receiver")


# Of a logger's JSON object: what the name of a time holds, where no known one is there.
_TIME_WORDS = ("timestamp", "time", "received", "date")


def json_time(fields: dict[str, Any]) -> float:
    """The moment that a receiver's JSON object gives, Unix s; NaN where it gives none."""
    for key in _JSON_TIMES:
        if (t := _json_moment(fields.get(key))) == t:
            return t
    return NAN


def _json_moment(value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = repr(value)
    return times.read_time(value) if isinstance(value, str) else NAN


def _logged_time(fields: dict[str, Any]) -> float:
    """``json_time``, else that of any field whose name says that it is one, such as ``@timestamp``; NaN where there is none."""
    if (t := json_time(fields)) == t:
        return t
    for word in _TIME_WORDS:
        for key, value in fields.items():
            if word in key.lower() and (t := _json_moment(value)) == t:
                return t
    return NAN


def _logged_sentences(fields: dict[str, Any]) -> list[Any]:
    """The values that hold sentences: of a known field, else of any; an object within the object is looked into once."""
    for key in _JSON_SENTENCES:
        value = fields.get(key)
        found = [
            s for s in (value if isinstance(value, list) else [value]) if isinstance(s, str) and "!" in s and "VD" in s
        ]
        if found:
            return found
    inner = [v for value in fields.values() if isinstance(value, dict) for v in value.values()]
    values = [s for v in [*fields.values(), *inner] for s in (v if isinstance(v, list) else [v])]
    return [s for s in values if isinstance(s, str) and _START.search(s.encode("ascii", "replace"))]


class Framer:
    """Reads the lines of one archive in order; remembers only what a line says about the next one.

    ``line_format`` names the one place where times are looked for; None looks in all of them, in the order of the
    table above. ``at`` (Unix s) dates sentences that have no time of their own; with ``arrival`` also those whose tag block
    cannot be trusted, since then ``at`` is when they arrived. ``year``: of stamps that have none (``log_clock``).
    """

    def __init__(
        self, line_format: str | None = None, at: float | None = None, arrival: bool = False, year: Year | None = None
    ) -> None:
        if line_format is not None and line_format not in LINE_FORMATS:
            raise FormatError(f"unknown line format {line_format!r}: give one of {', '.join(LINE_FORMATS)}")
        self._format = line_format
        self.at = NAN if at is None else float(at)
        self._arrival = arrival
        self._year, self._near = year or Year(), (year or Year()).near
        self._tag: _Tag | None = None  # from a line of its own, for the sentence that follows
        self._pghp: _Pghp | None = None
        self._group_times: OrderedDict[tuple[int, bytes], float] = OrderedDict()
        self.clock = NAN  # of the log itself: its last RMC, ZDA or message 4
        self.broken_tags = 0  # sentences whose tag block has a wrong checksum

    @property
    def waiting(self) -> bool:
        """Does the next sentence depend on a line before it?"""
        return self._tag is not None or self._pghp is not None

    def _trusts(self, name: str) -> bool:
        return self._format is None or self._format == name

    def frame(self, line: bytes) -> Framing:
        """One line, without its end -> sentences whose checksum is right, refusals, or context."""
        bang = line.find(b"!")
        if bang < 0 and b"\\" not in line and not line.lstrip().startswith(b"$PGHP"):
            if b"RMC," in line or b"ZDA," in line:
                self._set_clock(line)
            return _NOT_AIS
        rest = line.removeprefix(_BOM).strip()
        if rest.startswith(b"{"):
            return self._json(rest)
        return self._framed(rest, NAN)

    def _framed(self, rest: bytes, t: float) -> Framing:
        tag, tag_broken, own_tag = self._tag or _NO_TAG, False, False
        if rest[:1] not in (b"!", b"\\"):
            if m := _CDV.match(rest):
                if self._trusts("cdv"):
                    y, mo, d, h, mi, s = (int(g) for g in m.groups()[:6])
                    t = unix_time(y, mo, d, h, mi, s, float(m[7]) if m[7] else 0.0)
                    tag_broken = t != t  # no such moment: then no other time is trusted either
                rest = rest[m.end() :]
            elif (m := _BEGIN.search(rest)) and m.start():
                if self._trusts("cdv"):
                    prefix = rest[max(0, m.start() - _PREFIX_MAX) : m.start()]
                    found = times.find_time(prefix)
                    if found != found:
                        found = self._yearless(prefix)
                    t = found if found == found else t
                    tag_broken = found != found and times.has_unreadable_date(prefix)
                rest = rest[m.start() :]
        while rest.startswith(b"\\"):
            body, closed, after = rest[1:].partition(b"\\")
            if not closed:
                return (
                    Framing((), (Reason.MALFORMED,)) if not _START.search(rest) else self._sentences(rest, t, tag, True)
                )
            parsed, rest, own_tag = parse_tag_block(body), after.lstrip(), True
            if parsed is None:
                tag_broken = True
            else:
                tag = self._merge(tag, parsed)
        if own_tag and not rest:
            if tag_broken:  # what it says is lost; the sentence that follows is dated by its own line or not at all
                return Framing((), (Reason.CHECKSUM,))
            self._tag = tag
            return _CONTEXT
        if rest.startswith(b"$PGHP"):
            pghp = parse_pghp(rest)
            if isinstance(pghp, Reason):
                return Framing((), (pghp,))
            self._pghp = pghp
            return _CONTEXT
        if own_tag and tag_broken and _START.search(rest):
            self.broken_tags += 1
        return self._sentences(rest, t, tag, tag_broken)

    def _yearless(self, prefix: bytes) -> float:
        """Of a stamp without a year, in the year that is known; NaN where none is."""
        if (stamp := times.without_year(prefix)) is None:
            return NAN
        near = self._near if self._near == self._near else self.clock
        of_year = NAN if self._year.year is None else stamp.of(self._year.year)
        t = stamp.nearest_to(near) if near == near else of_year
        if t == t:
            self._near = t
        return t

    def _json(self, text: bytes) -> Framing:
        """A receiver's JSON object: each of its sentences as if it stood on a line of its own, at the object's time."""
        try:
            fields = msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError):
            return Framing((), (Reason.MALFORMED,)) if _START.search(text) else _NOT_AIS
        if not isinstance(fields, dict):
            return _NOT_AIS
        t = _logged_time(fields) if self._trusts("json") else NAN
        station = next((str(fields[k]).encode() for k in JSON_STATIONS if isinstance(fields.get(k), str | int)), b"")
        frames: list[Frame] = []
        reasons: list[Reason] = []
        for sentence in _logged_sentences(fields):
            framing = self._framed(sentence.encode("ascii", "replace").strip(), t)
            frames += [f if f.station else f._replace(station=station) for f in framing.frames]
            reasons += framing.reasons
        return Framing(tuple(frames), tuple(reasons)) if frames or reasons else _NOT_AIS

    def _set_clock(self, line: bytes) -> None:
        """The moment of a boat's own ``$..RMC`` or ``$..ZDA``; it dates the sentences after it that have no time."""
        m = _CLOCK.search(line)
        if m is None or int(m[6], 16) != checksum(line[m.start() + 1 : m.end() - 3]):
            return
        fields = m[5].split(b",")
        try:
            if m[1] == b"RMC":
                if fields[0] != b"A":  # the receiver does not trust it itself
                    return
                d = fields[7]
                year, month, day = 2000 + int(d[4:6]), int(d[2:4]), int(d[:2])
            else:
                day, month, year = (int(f) for f in fields[:3])
        except (IndexError, ValueError):
            return
        t = unix_time(year, month, day, int(m[2]), int(m[3]), int(m[4]))
        if t == t:
            self.clock = t

    @staticmethod
    def _merge(older: _Tag, newer: _Tag) -> _Tag:
        return _Tag(
            newer.t if newer.t == newer.t else older.t, newer.station or older.station, newer.group or older.group
        )

    def _sentences(self, text: bytes, t: float, tag: _Tag, tag_broken: bool) -> Framing:
        starts = list(_START.finditer(text))
        if not starts:
            # a sentence that lost its head is malformed; anything else is no AIS
            return Framing((), (Reason.MALFORMED,)) if re.match(rb"!.{0,5}VD", text) else _NOT_AIS
        frames: list[Frame] = []
        reasons: list[Reason] = []
        for i, start in enumerate(starts):
            piece = text[start.start() : starts[i + 1].start() if i + 1 < len(starts) else len(text)]
            if start[2] == b"VDO":
                reasons.append(Reason.OWN_SHIP)
                continue
            end = _END.search(piece)
            if end is None:
                reasons.append(Reason.MALFORMED)
            elif int(end[1], 16) != checksum(piece[1 : end.start()]):
                reasons.append(Reason.CHECKSUM)
            else:
                frames.append(self._dated(piece[: end.end()], piece[end.end() :], t, tag, tag_broken))
        self._tag = self._pghp = None
        return Framing(tuple(frames), tuple(reasons))

    def _dated(self, sentence: bytes, suffix: bytes, t: float, tag: _Tag, tag_broken: bool) -> Frame:
        """Times in the order of the table; a broken tag block dates nothing and lets nothing else date."""
        found = [("cdv", t)] if t == t else []
        if self._trusts("tagblock") and (of_tag := self._tag_time(tag)) == of_tag:
            found.append(("tagblock", of_tag))
        if suffix and self._trusts("suffix") and (of_suffix := suffix_time(suffix)) == of_suffix:
            found.append(("suffix", of_suffix))
        if self._pghp is not None and self._trusts("pghp"):
            fields = sentence.split(b",", 2)
            # The line names the checksum of its sentence: where another came between, it dates nothing. The first
            # part of several does not carry that checksum.
            of_this = self._pghp.checksum in (-1, int(sentence.rpartition(b"*")[2], 16)) or fields[1] != b"1"
            if of_this:
                found.append(("pghp", self._pghp.t))
        station = tag.station
        if not station and (m := _STATION.search(suffix)):
            station = m[1]
        if not tag_broken and found:
            several = tuple(found) if any(abs(other - found[0][1]) > 1.0 for _, other in found) else ()
            return Frame(sentence, found[0][1], station, tag.group, several)
        if not tag_broken or self._arrival:
            return Frame(sentence, self.at if self.at == self.at else self.clock, station, tag.group)
        return Frame(sentence, NAN, station, tag.group)

    def _tag_time(self, tag: _Tag) -> float:
        """Of the block itself, else of the first sentence of its group."""
        if tag.group is None:
            return tag.t
        key = (tag.group.total, tag.group.group_id)
        if tag.t == tag.t:
            self._group_times[key] = tag.t
            self._group_times.move_to_end(key)
            if len(self._group_times) > _GROUPS_KEPT:
                self._group_times.popitem(last=False)
            return tag.t
        return self._group_times.get(key, NAN) if tag.group.sentence > 1 else NAN


def suffix_time(suffix: bytes) -> float:
    """The reception time behind a sentence's checksum, Unix s; of several numbers the first (USCG order); NaN where there is none."""
    if found := _EPOCH.search(suffix):
        t = times.epoch_time(found[1].decode())
        if t == t:
            return t
    if len(suffix) < 8:
        return NAN
    if keyed := _KEYED_TIME.search(suffix[:_PREFIX_MAX]):
        t = times.read_time(keyed[1])
        if t == t:
            return t
    return times.find_time(suffix[:_PREFIX_MAX])


def sniff_line_format(lines: list[bytes]) -> str | None:
    """The line format that most of the first lines show; None when no line holds an AIS sentence."""
    votes = dict.fromkeys(LINE_FORMATS, 0)
    for raw in lines:
        line = raw.strip()
        if line.startswith(b"$PGHP"):
            votes["pghp"] += 1
            continue
        if (start := _START.search(line)) is None:
            continue
        end = _END.search(line, start.end())
        if line.startswith(b"{"):
            votes["json"] += 1
        elif b"\\" in line[: start.start()] and b"c:" in line[: start.start()]:
            votes["tagblock"] += 1
        elif _CDV.match(line) or times.find_time(line[: start.start()]) == times.find_time(line[: start.start()]):
            votes["cdv"] += 1
        elif end and (t := suffix_time(line[end.end() :])) == t:
            votes["suffix"] += 1
        else:
            votes["bare"] += 1
    timed = {k: v for k, v in votes.items() if k != "bare" and v}
    if timed:
        return max(timed, key=lambda k: timed[k])
    return "bare" if votes["bare"] else None
