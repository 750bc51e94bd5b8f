"""Lines -> messages through pyais, one at a time: every message type, and the truth that the block path must equal.

One line has one outcome. A line is *accepted* when something of it was used: its sentence, or its part of a message
that became whole, or the time or tag block that it carries for the next line. Otherwise it is rejected under one reason
(the first, where a line holds several sentences). A line whose message is not whole yet waits for its outcome.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from pyais.exceptions import (
    MissingPayloadException,
    UnknownMessageException,
    UnknownPartNoException,
)
from pyais.messages import AISSentence, NMEASentenceFactory

from ..records import Counts, Reason
from ..times import EARLIEST, LATEST, unix_time
from .assembly import Assembler, Part, SetKey, Whole
from .framing import Frame, Framer
from .log_clock import Year

# A sentence holds 82 characters by the standard; prefix, tag block and suffix a few hundred more. Longer is no AIS line.
LINE_MAX = 4096
AGREES_S = 5.0  # a stamp and the ship's own second of its fix: what sending, receiving and writing down take
NO_SECOND = 60  # ITU-R M.1371-5 table 48: 60 and above are no second


class Message(NamedTuple):
    """One decoded AIS message."""

    line: int  # number of the line that completed it, from 0
    lines: tuple[int, ...]  # of all its parts
    t: float  # Unix s, NaN when unknown
    station: bytes
    payload: Any  # the pyais message
    bv: Any  # pyais bit vector of the payload: fields that begin beyond its length are None, a field cut by it is not whole


class Rejected(NamedTuple):
    line: int
    reason: Reason


class Context(NamedTuple):
    """The line carries a time or a tag block for the sentence that follows."""

    line: int


class Outcomes:
    """Keeps the one outcome of each line: accepted when anything of it was used, else its first refusal."""

    def __init__(self) -> None:
        self.counts = Counts()
        self._waiting: set[int] = set()
        self._used: set[int] = set()
        self._refused: dict[int, Reason] = {}

    def begin(self, line: int) -> None:
        self._waiting.add(line)

    def add(self, outcome: Message | Rejected | Context) -> None:
        if isinstance(outcome, Message):
            self._used.update(outcome.lines)
        elif isinstance(outcome, Context):
            self._used.add(outcome.line)
        else:
            self._refused.setdefault(outcome.line, outcome.reason)

    def settled(self) -> Iterator[tuple[int, Reason]]:
        """The rejected lines among those settled since the last call, all of them counted."""
        for line in sorted(self._used | self._refused.keys()):
            reason = self._refused.get(line)
            if line not in self._waiting:  # had its outcome before: one line with several sentences
                continue
            self._waiting.remove(line)
            self.counts.received += 1
            if line in self._used or reason is None:
                self.counts.accepted += 1
            else:
                self.counts.reject(reason)
                yield line, reason
        self._used.clear()
        self._refused.clear()


class Decoder:
    """Feed the lines of one archive in order; ``finish`` at its end."""

    def __init__(
        self, line_format: str | None = None, at: float | None = None, arrival: bool = False, year: Year | None = None
    ) -> None:
        self._framer = Framer(line_format, at, arrival, year)
        self._assembler = Assembler()
        self._agreed: dict[str, int] = {}  # by place of a time: how often it agreed with the ship's own second

    @property
    def waiting(self) -> bool:
        """The next line depends on one before it (a time line, a tag block on its own line)."""
        return self._framer.waiting

    @property
    def broken_tags(self) -> int:
        """Sentences whose tag block has a wrong checksum: its time was not used."""
        return self._framer.broken_tags

    @property
    def at(self) -> float:
        """Unix s, of sentences without a time; a live feed moves it on."""
        return self._framer.at

    @at.setter
    def at(self, t: float) -> None:
        self._framer.at = t

    def free(self, key: SetKey, more: int) -> bool:
        """``Assembler.free``."""
        return self._assembler.free(key, more)

    def feed(self, line: int, text: bytes) -> Iterator[Message | Rejected | Context]:
        """What follows from line number ``line``; nothing when it is a part that waits for the others."""
        if len(text) > LINE_MAX:
            yield Rejected(line, Reason.MALFORMED if b"VDM," in text[:LINE_MAX] else Reason.NOT_AIS)
            return
        framing = self._framer.frame(text)
        if framing.context:
            yield Context(line)
        for reason in framing.reasons:
            yield Rejected(line, reason)
        for frame in framing.frames:
            yield from self._sentence(line, frame)

    def finish(self) -> Iterator[Rejected]:
        """The parts whose message never became whole."""
        for line in self._assembler.finish():
            yield Rejected(line, Reason.INCOMPLETE)

    def _sentence(self, line: int, frame: Frame) -> Iterator[Message | Rejected]:
        try:
            sentence = NMEASentenceFactory.produce(frame.sentence)
        except Exception:  # pyais raises many kinds on garbage; whatever it is, the sentence is not one
            yield Rejected(line, Reason.MALFORMED)
            return
        if not isinstance(sentence, AISSentence):
            yield Rejected(line, Reason.NOT_AIS)
            return
        part = Part(line, frame, sentence)
        if sentence.frag_cnt == 1:
            yield self._message(line, Whole((part,)))
            return
        whole, lost = self._assembler.add(part)
        for lost_line in lost:
            yield Rejected(lost_line, Reason.INCOMPLETE)
        if whole is None:
            return
        outcome = self._message(line, whole)
        yield outcome
        if isinstance(outcome, Rejected):
            for p in whole.parts:
                if p.line != line:
                    yield Rejected(p.line, outcome.reason)

    def _message(self, line: int, whole: Whole) -> Message | Rejected:
        try:
            merged = AISSentence.assemble_from_iterable([p.sentence for p in whole.parts])
            payload = merged.decode()
        except MissingPayloadException:
            return Rejected(line, Reason.MALFORMED)
        except (UnknownMessageException, UnknownPartNoException):
            return Rejected(line, Reason.UNKNOWN_TYPE)
        except Exception:  # a payload too short or too strange for its type
            return Rejected(line, Reason.MALFORMED)
        station = next((p.frame.station for p in whole.parts if p.frame.station), b"")
        t = whole.t
        if several := next((p.frame.times for p in whole.parts if p.frame.times), ()):
            t = self._chosen(several, getattr(payload, "second", NO_SECOND))
        elif t != t and payload.msg_type == 4:
            self._framer.clock = _base_station_time(payload)
        return Message(line, tuple(p.line for p in whole.parts), t, station, payload, merged.bv)

    def _chosen(self, several: tuple[tuple[str, float], ...], second: int) -> float:
        """Of several times of one line that of the place which has agreed most with the ships' own seconds (within
        ``AGREES_S``); before any has, the first in the order of ``framing``."""
        if 0 <= second < 60:
            for place, t in several:
                if abs(math.remainder(t - second, 60.0)) <= AGREES_S:
                    self._agreed[place] = self._agreed.get(place, 0) + 1
        return max(several, key=lambda found: self._agreed.get(found[0], 0))[1]


def _base_station_time(payload: Any) -> float:
    """UTC of a message 4, Unix s; NaN where the station does not know it."""
    parts = [getattr(payload, name, None) for name in ("year", "month", "day", "hour", "minute", "second")]
    if not all(isinstance(p, int) for p in parts) or not parts[0]:
        return float("nan")
    t = unix_time(*parts)  # type: ignore[arg-type]
    return t if EARLIEST <= t < LATEST else float("nan")
