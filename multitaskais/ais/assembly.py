"""Parts of one AIS message, on different lines and with others between them -> the whole message.

Parts belong together when channel, sequence id, number of parts and talker agree (or the tag-block group, where both
carry one), and the station, where both name one. A set of parts is given up when the same part comes again, when a part of the same key comes
``TIMEOUT_S`` of event time or ``TIMEOUT_LINES`` lines later, or at the end of the archive. Only the arrival of a part
is looked at, so the result does not depend on where an archive is cut into blocks.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from pyais.messages import AISSentence

from .framing import Frame

# Sequence ids run from 0 to 9 and are reused within seconds on a busy coast; one message leaves its station at once.
TIMEOUT_S = 60.0
TIMEOUT_LINES = 10_000
SETS_KEPT = 4096  # open sets at one time: bounds the memory of a hostile feed


class Part(NamedTuple):
    line: int  # number of its line in the archive
    frame: Frame
    sentence: AISSentence


# The key of a set of parts: channel, sequence id, number of parts and talker; of a tag block's group "g", its size, its id, number of parts.
SetKey = tuple[str | bytes | int | None, ...]


class Whole(NamedTuple):
    """All parts of one message, in the order of their fragment numbers."""

    parts: tuple[Part, ...]

    @property
    def t(self) -> float:
        """Unix s of the first part that has a time: when the message was received."""
        return next((p.frame.t for p in self.parts if p.frame.t == p.frame.t), float("nan"))


class _Set:
    __slots__ = ("last_line", "last_t", "parts")

    def __init__(self) -> None:
        self.parts: dict[int, Part] = {}
        self.last_line = -1
        self.last_t = float("nan")


def _plain_key(part: Part) -> SetKey:
    s = part.sentence
    return (s.channel, s.seq_id, s.frag_cnt, s.talker_id)


class Assembler:
    """Open sets of parts; ``add`` gives the message that a part completes and the line numbers given up."""

    def __init__(self) -> None:
        self._sets: dict[SetKey, dict[bytes, _Set]] = {}  # by key, then by station ("" where none is named)
        self._open: OrderedDict[tuple[SetKey, bytes], None] = OrderedDict()  # the oldest first
        self._alias: dict[SetKey, SetKey] = {}  # channel and sequence id -> the last set with a group that carries them

    def free(self, key: SetKey, more: int) -> bool:
        """No part of this key waits, and ``more`` sets could be opened without giving one up."""
        return key not in self._sets and self._alias.get(key) not in self._sets and len(self._open) + more < SETS_KEPT

    @staticmethod
    def _key(part: Part) -> SetKey:
        s, group = part.sentence, part.frame.group
        if group is not None and group.total > 1:
            return ("g", group.total, group.group_id, s.frag_cnt)
        return _plain_key(part)

    def _joined_key(self, part: Part) -> SetKey:
        """The key of the set that the part goes to. Where a group is named on some of the parts only (receivers often name it on the
        first alone), channel and sequence id tell the set."""
        key, plain = self._key(part), _plain_key(part)
        other = self._alias.get(plain) if key == plain else plain
        if key not in self._sets and other in self._sets:
            number = part.sentence.frag_num
            if all(number not in held.parts for held in self._sets[other].values()):
                return other
        return key

    def _station_of_set(self, key: SetKey, part: Part) -> bytes | None:
        """The set that the part goes to: of its station, else one without a station; any, when it names none itself."""
        held, station = self._sets.get(key, {}), part.frame.station
        if station in held:
            return station
        others = [b""] if station else list(reversed(held))
        return next((s for s in others if s in held and part.sentence.frag_num not in held[s].parts), None)

    def add(self, part: Part) -> tuple[Whole | None, list[int]]:
        """Take one part: (the whole message when this was its last part, numbers of the lines whose parts were given up)."""
        number, total = part.sentence.frag_num, part.sentence.frag_cnt
        key, station = self._joined_key(part), part.frame.station
        lost: list[int] = []
        found = self._station_of_set(key, part)
        if found is not None and (
            number in self._sets[key][found].parts or self._too_late(self._sets[key][found], part)
        ):
            lost = self._drop(key, found)
            found = None
        held = _Set() if found is None else self._take(key, found)
        held.parts[number] = part
        held.last_line = part.line
        if part.frame.t == part.frame.t:
            held.last_t = part.frame.t
        if len(held.parts) == total:
            return Whole(tuple(held.parts[i] for i in range(1, total + 1))), lost
        station = station or found or b""
        self._sets.setdefault(key, {})[station] = held
        if key[0] == "g":
            self._alias[_plain_key(part)] = key
            if len(self._alias) > SETS_KEPT:
                self._alias = {plain: of for plain, of in self._alias.items() if of in self._sets}
        self._open[key, station] = None
        if len(self._open) > SETS_KEPT:
            lost += self._drop(*next(iter(self._open)))
        return None, lost

    @staticmethod
    def _too_late(held: _Set, part: Part) -> bool:
        # both NaN comparisons are False: without times the lines alone decide
        return part.line - held.last_line > TIMEOUT_LINES or abs(part.frame.t - held.last_t) > TIMEOUT_S

    def _take(self, key: SetKey, station: bytes) -> _Set:
        held = self._sets[key].pop(station)
        del self._open[key, station]
        if not self._sets[key]:
            del self._sets[key]
        return held

    def _drop(self, key: SetKey, station: bytes) -> list[int]:
        return [p.line for p in self._take(key, station).parts.values()]

    def finish(self) -> list[int]:
        """The line numbers of all parts whose message never became whole."""
        return sorted({line for key, station in list(self._open) for line in self._drop(key, station)})
