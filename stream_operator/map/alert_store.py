"""The book of alerts: the last revision of each, what was said before, and what officers answered."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import msgspec

from .untrusted import AlertRecord, Answer

REVISIONS_MAX = 60  # of one alert
ANSWERS_MAX = 60  # of one alert


@dataclass(slots=True)
class Entry:
    """An alert with its former revisions and what officers answered; the newest of both are kept."""

    alert: AlertRecord
    first_decided_at: float
    revisions: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=REVISIONS_MAX))
    answers: list[Answer] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For the list: the alert, when it was first raised, and the last answer."""
        last = self.answers[-1] if self.answers else None
        return {
            **msgspec.to_builtins(self.alert),
            "first_decided_at": self.first_decided_at,
            "answer": None if last is None else last.answer,
            "answers": len(self.answers),
        }


def bounded(answers: list[Answer]) -> list[Answer]:
    """At most ``ANSWERS_MAX`` in order of time. Whoever has answered most gives way first, and the first and last of each person last.

    So nobody pushes out what another has said, until there are more persons than places; then the latest answers stay.
    """
    answers = sorted(answers, key=lambda a: a.time)
    while len(answers) > ANSWERS_MAX:
        of_person: dict[str, list[int]] = {}
        for i, a in enumerate(answers):
            of_person.setdefault(a.who, []).append(i)
        most = max(of_person.values(), key=len)
        # Not the first nor the last of this person, where there are others; of two the first; else the oldest of all.
        del answers[most[1] if len(most) > 2 else most[0] if len(most) == 2 else 0]
    return answers


class AlertBook:
    """The newest ``alerts_max`` alerts by the time of their last revision, and which have changed since that was last asked."""

    def __init__(self, alerts_max: int) -> None:
        self._max = alerts_max
        self._entries: dict[str, Entry] = {}
        self._early: dict[str, list[Answer]] = {}  # answers that were read before their alert
        self._open: dict[int, set[str]] = {}  # vessel -> its open alerts
        self.changed: set[str] = set()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, alert_id: str) -> Entry | None:
        return self._entries.get(alert_id)

    def of_vessel(self, mmsi: int) -> list[Entry]:
        return [e for e in self._entries.values() if int(e.alert.mmsi) == mmsi]

    def goes_on(self, mmsi: int) -> None:
        """The vessel is still abnormal: its open alerts are told again, with the track until now."""
        self.changed |= self._open.get(mmsi, set())

    def newest(self, n: int) -> list[Entry]:
        """Newest first, by when they were first raised."""
        return sorted(self._entries.values(), key=lambda e: -e.first_decided_at)[:n]

    def take(self, alert: AlertRecord) -> list[str]:
        """One revision. The last in the log holds, whatever its number: a log that is judged again begins at 1 again.

        Returns the ids of alerts that had to make room.
        """
        entry = self._entries.pop(alert.alert_id, None)
        if entry is None:
            entry = Entry(alert, alert.decided_at)
            for early in self._early.pop(alert.alert_id, ()):
                entry.answers.append(early)
        elif alert.revision <= entry.alert.revision:
            entry.first_decided_at = alert.decided_at
            entry.revisions = deque((r for r in entry.revisions if r["revision"] < alert.revision), REVISIONS_MAX)
            if entry.revisions:
                entry.first_decided_at = entry.revisions[0]["decided_at"]
        entry.alert = alert
        entry.revisions.append(
            {
                "revision": alert.revision,
                "status": alert.status,
                "decided_at": alert.decided_at,
                "t": alert.segment_end.t,
                "score": alert.score,
                "log10_nfa": alert.log10_nfa,
                "message": alert.message,
                "model_version": alert.model_version,
            }
        )
        self._entries[alert.alert_id] = entry  # at the end: the order of the dict is that of the last revisions
        self.changed.add(alert.alert_id)
        self._mark(alert)
        gone = []
        while len(self._entries) > self._max:
            gone.append(oldest := next(iter(self._entries)))
            self._mark(self._entries.pop(oldest).alert, gone=True)
            self.changed.discard(oldest)
        return gone

    def _mark(self, alert: AlertRecord, gone: bool = False) -> None:
        mine = self._open.setdefault(int(alert.mmsi), set())
        if alert.is_open and not gone:
            mine.add(alert.alert_id)
        else:
            mine.discard(alert.alert_id)
            if not mine:
                del self._open[int(alert.mmsi)]

    def answer(self, answer: Answer) -> None:
        """Put an answer to its alert, or keep it for an alert that has not come yet."""
        entry = self._entries.get(answer.alert_id)
        if entry is None:  # topics are read side by side; its alert may come a moment later
            early = self._early.setdefault(answer.alert_id, [])
            early.append(answer)
            early[:] = bounded(early)
            while len(self._early) > self._max:
                del self._early[next(iter(self._early))]
            return
        entry.answers.append(answer)
        entry.answers = bounded(entry.answers)
        self.changed.add(answer.alert_id)
