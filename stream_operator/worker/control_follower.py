"""What control records do in one partition: which are due in a run, what follows from each, and what was decided, which is kept.

A record acts as soon as it is known and the log has come to where it asks to act. Where that was, and whether it was refused, is kept
in the partition's state (``Decision``), so it stays a function of this partition's log and state.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from multitaskais.engine.events import Events
from multitaskais.errors import ConfigError, ModelError
from multitaskais.types import Reports

from ..kafka import control
from ..kafka.control import ModelAnnouncement, Numbered, SuppressionRecord, Watermark, Withdrawal, Zone
from ..plain_text import plain
from ..settings import Settings
from .checkpoint import ControlPosition, Decision, Restored
from .control_log import ControlLog
from .metrics import Metrics

if TYPE_CHECKING:
    from multitaskais.engine.engine import PartitionEngine

log = logging.getLogger("stream_operator")

# Control records of a partition that wait for its log to come to where they act. Those behind them stay unread until then.
WAITING_MAX = 100


def process_batch(
    engine: PartitionEngine,
    reports: Reports,
    controls: Sequence[tuple[int, Numbered]],
    follow: Callable[[Numbered], Events | None],
) -> Iterator[tuple[int, Events]]:
    """Move the engine over reports, and ``follow`` each control record behind so many of them: (number of the part's first report, its events)."""
    done = 0
    for stop, record in [*controls, (len(reports), None)]:
        if stop > done:
            yield done, engine.process(reports[done:stop])
            done = stop
        if record is not None and (events := follow(record)) is not None:
            yield done, events


def follow(engine: PartitionEngine, record: Numbered, decisions: Mapping[int, Decision]) -> tuple[Events | None, str]:
    """Do in one partition what a control record asks for: (what follows from it, why it is refused; empty when it is not).

    ``decisions``: what was done with earlier records in this partition.
    """
    match record.control:
        case Watermark(t=t, final=final):
            return engine.end_silent(t, reopen=final), ""
        case ModelAnnouncement(model=model, version=version, since=since):
            try:
                engine.announce(version, model, since)
            except (ModelError, ConfigError) as e:
                return None, str(e)
            return None, ""
        case Withdrawal(number=number):
            earlier = decisions.get(number)
            if earlier is None or earlier.refused:
                return None, ""  # nothing was done with it, and nothing will be
            match control.decode(earlier.value):
                case ModelAnnouncement(version=version, since=since):
                    if not engine.withdraw(version, since):
                        return None, f"model {version} has taken over for good: announce the former one instead"
                case SuppressionRecord():
                    engine.suppress(number, None)
                case Watermark() | Zone():
                    pass  # what a watermark ended stays ended; a zone is not followed here
            return None, ""
        case SuppressionRecord():
            engine.suppress(record.number, record.control.rule())
            return None, ""
        case Zone():
            return None, ""  # the process that looks at ships together acts on it (``commands/meetings.py``)
    return None, f"this program does nothing with a {record.control.kind}"


def suppress_again(engine: PartitionEngine, decisions: Mapping[int, Decision]) -> None:
    """Give a restored engine what answers led to before: it is kept as decisions, not in the engine's state."""
    followed = {n: control.decode(d.value) for n, d in decisions.items() if not d.refused}
    withdrawn = {record.number for record in followed.values() if isinstance(record, Withdrawal)}
    for number, record in followed.items():
        if isinstance(record, SuppressionRecord) and number not in withdrawn:
            engine.suppress(number, record.rule())


class ControlFollower:
    """The control records of one partition. Not thread-safe: the partition calls it under its fold lock.

    Args:
        records: of the control topic.
        latest: newest time of a report in all partitions of this worker, Unix s.
    """

    def __init__(
        self,
        settings: Settings,
        partition: int,
        engine: PartitionEngine,
        restored: Restored,
        records: ControlLog,
        latest: Callable[[], float],
        metrics: Metrics,
    ) -> None:
        self._settings = settings
        self._partition = partition
        self._engine = engine
        self._records = records
        self._latest = latest
        self._metrics = metrics
        self._topic_id = restored.controls.topic_id
        self._next_number = restored.controls.next_number
        self._waiting = list(restored.controls.waiting)
        self._decisions = dict(restored.decisions)
        self._undurable: dict[int, bytes | None] = {}  # decisions since the last cut; None: forgotten
        suppress_again(engine, self._decisions)

    def begin(self, topic_id: str) -> None:
        """Follow this control topic. One that was made again is read from its beginning."""
        if self._topic_id not in ("", topic_id):
            log.warning(
                "partition %d: %s was made again, its records are followed from the first on",
                self._partition,
                self._settings.control_topic,
                extra={"partition": self._partition},
            )
            self._next_number, self._waiting = 0, []
        self._topic_id = topic_id

    def due(self, first_offset: int, next_offset: int) -> list[tuple[int, Numbered]]:
        """Control records that act in a run: (source offset before which, record), in order of both.

        Args:
            first_offset: of the run's first record.
            next_offset: of the first record behind it.
        """
        due: list[tuple[int, Numbered]] = []
        while True:
            new = self._records.since(self._next_number)[: max(0, WAITING_MAX - len(self._waiting))]
            self._waiting += [record.number for record in new]
            if new:
                self._next_number = new[-1].number + 1
            still = []
            for number in self._waiting:
                record = self._records.get(number)
                if record is None:  # compacted away: a later one of its key replaced it
                    continue
                at = record.control.starts_at(self._partition)
                if at > next_offset and self._records.withdrawn_by(number) is None:
                    still.append(number)
                else:
                    due.append((min(max(at, first_offset), next_offset), record))
            self._waiting = still
            if not new or len(still) >= WAITING_MAX:
                break
        return sorted(due, key=lambda d: (d[0], d[1].number))

    def decide(self, record: Numbered, offset: int) -> Events | None:
        """Decide on a record before this source offset, do what it asks for, and tell it once: what follows from it."""
        if (by := self._records.withdrawn_by(record.number)) is not None:
            events, refused = None, f"withdrawn by {by}"
        elif (refused := self._not_explained(record)) != "":
            events = None
        else:
            events, refused = follow(self._engine, record, self._decisions)
        decision = Decision(offset, refused, record.value)
        self._decisions[record.number] = decision
        self._undurable[record.number] = msgspec.msgpack.encode(decision)
        self._metrics.control(record.control.kind, bool(refused))
        if self._records.tell(record.number, refused):
            level = logging.WARNING if refused else logging.INFO
            what = f"is refused: {refused}" if refused else "is followed"
            log.log(
                level, "control record %d (%s, by %s) %s", record.number, record.control.summary(), plain(record.control.by) or "?", what
            )  # fmt: skip
        return events

    def _not_explained(self, record: Numbered) -> str:
        """Why a watermark is not believed: it leads the reports, here and in the worker's other partitions, and the time of day.

        The time of day is a witness for a partition that is alone; that it is asked here does not make the result a matter of
        chance, since what was decided is kept.
        """
        if not isinstance(record.control, Watermark) or self._engine.now == -math.inf:
            return ""  # nothing was heard here: there is nothing to end
        lead_s = record.control.t - max(self._engine.now, self._latest())
        if lead_s <= self._engine.silence_s:
            return ""
        return f"it leads the newest report and the time of day by {lead_s / 3600:,.1f} h; {self._engine.silence_s / 3600:.1f} h are explained"

    def forget_before(self, low_offset: int) -> None:
        """Forget decisions on watermarks whose place in the log is gone: no replay can come there any more."""
        for number, decision in list(self._decisions.items()):
            if decision.offset < low_offset and isinstance(control.decode(decision.value), Watermark):
                del self._decisions[number]
                self._undurable[number] = None

    @property
    def undurable(self) -> bool:
        """Was anything decided since the last cut?"""
        return bool(self._undurable)

    def cut(self) -> tuple[ControlPosition, dict[int, bytes | None]]:
        """Where the control topic is taken up again, and the decisions since the last cut, encoded by number (None: forgotten)."""
        decisions, self._undurable = self._undurable, {}
        return ControlPosition(self._topic_id, self._next_number, tuple(self._waiting)), decisions
