"""Parts of one AIS message, on different lines and with others between them -> the whole message.

Parts belong together when station, channel, sequence id, number of parts and talker agree (or the tag-block group,
where both carry one). A set of parts is given up when the same part comes again, when a part of the same key comes
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


class Assembler:
    """Open sets of parts; ``add`` gives the message that a part completes and the line numbers given up."""

    def __init__(self) -> None:
        self._sets: OrderedDict[tuple, _Set] = OrderedDict()

    @staticmethod
    def _key(part: Part) -> tuple:
        s, group = part.sentence, part.frame.group
        if group is not None and group.total > 1:
            return ("g", part.frame.station if group.sentence == 1 else b"", group.total, group.group_id, s.frag_cnt)
        return (part.frame.station, s.channel, s.seq_id, s.frag_cnt, s.talker_id)

    def add(self, part: Part) -> tuple[Whole | None, list[int]]:
        s = part.sentence
        key = self._key(part)
        if key[0] == "g":  # the later sentences of a group need not repeat the station
            key = ("g", *key[2:])
        lost: list[int] = []
        held = self._sets.get(key)
        if held is not None and (s.frag_num in held.parts or self._too_late(held, part)):
            lost = self._drop(key)
            held = None
        if held is None:
            held = self._sets[key] = _Set()
            if len(self._sets) > SETS_KEPT:
                lost += self._drop(next(iter(self._sets)))
        held.parts[s.frag_num] = part
        held.last_line = part.line
        if part.frame.t == part.frame.t:
            held.last_t = part.frame.t
        if len(held.parts) < s.frag_cnt:
            return None, lost
        del self._sets[key]
        return Whole(tuple(held.parts[i] for i in range(1, s.frag_cnt + 1))), lost

    @staticmethod
    def _too_late(held: _Set, part: Part) -> bool:
        # both NaN comparisons are False: without times the lines alone decide
        return part.line - held.last_line > TIMEOUT_LINES or abs(part.frame.t - held.last_t) > TIMEOUT_S

    def _drop(self, key: tuple) -> list[int]:
        return [p.line for p in self._sets.pop(key).parts.values()]

    def finish(self) -> list[int]:
        """The line numbers of all parts whose message never became whole."""
        lines = sorted(line for key in list(self._sets) for line in self._drop(key))
        self._sets.clear()
        return lines
