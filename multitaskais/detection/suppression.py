"""What watch officers' answers change: kinds of alerts that are normal for a vessel, or at a place, need a higher score there.

A suppression lowers nothing that was learnt and hides nothing that was decided: from a moment of event time on, an alert of its
type and cause, within ``RADIUS_KM`` of where the answered alert was, is raised only by a score above ``least_score``. It is a value of the log (a control
record in the live operator), so a replay decides as the live run did. Other kinds, other places and much greater scores are never
touched, and whoever says *real* ends it.

``suppressions_of`` makes them from answers:

- *normal here*: for that vessel, at once; for all vessels, when ``AGREE`` alerts of two vessels or more were so answered at the place;
- *acknowledge*: for that vessel, for ``ACKNOWLEDGED_S``: what is known is not repeated;
- *real*: never any, and none of that kind at that place stands beside it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from ..errors import ConfigError
from ..exact import scalars
from ..units import KM_PER_DEG_TRAINED

RADIUS_KM = 10.0
AGREE = 3  # alerts answered "normal here" that make a place's kind normal for all vessels
LOUDER = 1.5  # times the greatest score that was answered: above it an alert is raised all the same
ACKNOWLEDGED_S = 86400.0

Stretch = tuple[
    float, float, float, float
]  # from latitude, longitude to latitude, longitude, degrees; both alike for one place


class AnswerKind(StrEnum):
    """What an officer says of an alert."""

    ACKNOWLEDGE = "acknowledge"
    NORMAL_HERE = "normal_here"
    REAL = "real"


@dataclass(frozen=True, slots=True, kw_only=True)
class OfficerAnswer:
    """What an officer said of an alert. ``t``: event time from which it acts; ``stretch``: the ends of the alert's segment."""

    alert_id: str
    answer: AnswerKind
    who: str
    mmsi: int
    alert_type: str
    cause: str
    stretch: Stretch
    score: float
    t: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Suppression:
    """Alerts of ``alert_type`` and ``cause`` around a place need ``least_score`` (score / threshold, so 1 is usual) to be raised.

    Attributes:
        stretch: the way along which it holds, ``RADIUS_KM`` to each side.
        mmsi: of one vessel; None: of all.
        since, until: event time, Unix s.
        why: for the officer: who answered what.

    Raises:
        ConfigError: a value that cannot be.
    """

    alert_type: str
    cause: str
    stretch: Stretch
    since: float
    least_score: float
    mmsi: int | None = None
    until: float = math.inf
    why: str = ""

    def __post_init__(self) -> None:
        if not (self.alert_type and self.cause):
            raise ConfigError("a suppression needs an alert type and a cause")
        lats, lons = self.stretch[::2], self.stretch[1::2]
        if not (all(-90 <= x <= 90 for x in lats) and all(-180 <= x <= 180 for x in lons)):
            raise ConfigError("a suppression needs a place: latitude within 90 and longitude within 180 degrees")
        if not 1 <= self.least_score < math.inf:
            raise ConfigError("the least score of a suppression must be 1 or more: nothing lowers a threshold")
        if not -math.inf < self.since < self.until:
            raise ConfigError("a suppression must begin before it ends")

    def holds(self, mmsi: int, alert_type: str, cause: str, t: float, lat: float, lon: float) -> bool:
        return (
            (self.mmsi is None or self.mmsi == mmsi)
            and self.alert_type == alert_type
            and self.cause == cause
            and self.since <= t < self.until
            and distance_km(lat, lon, self.stretch) <= RADIUS_KM
        )


def distance_km(lat: float, lon: float, stretch: Stretch) -> float:
    """From a place to a stretch (a straight line on the plane that touches at the place); across 180 degrees as anywhere."""
    east = KM_PER_DEG_TRAINED * scalars.cos(lat)

    def xy(at_lat: float, at_lon: float) -> tuple[float, float]:
        return ((at_lon - lon + 180.0) % 360.0 - 180.0) * east, (at_lat - lat) * KM_PER_DEG_TRAINED

    (x0, y0), (x1, y1) = xy(*stretch[:2]), xy(*stretch[2:])
    dx, dy = x1 - x0, y1 - y0
    length2 = dx * dx + dy * dy
    along = min(max(-(x0 * dx + y0 * dy) / length2, 0.0), 1.0) if length2 > 0 else 0.0
    return scalars.hypot(x0 + along * dx, y0 + along * dy)


class Suppressions:
    """Those in force, by the number of the record that made each. Which of them hold at a moment is asked with the moment."""

    def __init__(self, rules: Mapping[int, Suppression] | None = None) -> None:
        self._by_number: dict[int, Suppression] = dict(rules or {})
        self._types = {rule.alert_type for rule in self._by_number.values()}

    def __len__(self) -> int:
        return len(self._by_number)

    def put(self, number: int, rule: Suppression) -> None:
        self._by_number[number] = rule
        self._types.add(rule.alert_type)

    def withdraw(self, number: int) -> bool:
        """False when there is none of this number."""
        found = self._by_number.pop(number, None) is not None
        self._types = {rule.alert_type for rule in self._by_number.values()}
        return found

    def concern(self, alert_type: str) -> bool:
        """Whether any is of this type: cheap, before the rest is looked at."""
        return alert_type in self._types

    def least_score(self, mmsi: int, alert_type: str, cause: str, t: float, lat: float, lon: float) -> float:
        """The score that raises an alert here: 1 without any suppression that holds."""
        held = [r.least_score for r in self._by_number.values() if r.holds(mmsi, alert_type, cause, t, lat, lon)]
        return max(held, default=1.0)


NO_SUPPRESSIONS = Suppressions()


def suppressions_of(answers: Iterable[OfficerAnswer], agree: int = AGREE) -> list[Suppression]:
    """What answers in the order in which they were given lead to: a pure function of them, so that whoever asks again gets the same.

    Of one officer's answers to one alert the last counts.
    """
    last: dict[tuple[str, str], OfficerAnswer] = {}
    for answer in answers:
        last.pop((answer.alert_id, answer.who), None)  # a changed answer counts from when it was changed
        last[answer.alert_id, answer.who] = answer
    given = list(last.values())
    real = [a for a in given if a.answer == "real"]
    made: list[Suppression] = []
    for i, a in enumerate(given):
        if a.answer == "real" or any(_alike(a, r) for r in real):
            continue
        if a.answer == AnswerKind.ACKNOWLEDGE:
            made.append(
                _suppression([a], a.mmsi, f"{a.who or 'an officer'} has acknowledged {a.alert_id}", ACKNOWLEDGED_S)
            )
            continue
        made.append(_suppression([a], a.mmsi, f"{a.who or 'an officer'} called {a.alert_id} normal here"))
        same = [b for b in given[: i + 1] if b.answer == AnswerKind.NORMAL_HERE and _alike(a, b)]
        alerts = len({b.alert_id for b in same})
        vessels = len({b.mmsi for b in same})
        if alerts >= agree and vessels > 1:
            # A later answer there replaces the place's suppression: it knows of more.
            made = [m for m in made if m.mmsi is not None or not _covers(m, a)]
            made.append(_suppression(same, None, f"{alerts} alerts of {vessels} vessels were called normal here"))
    return made


def _alike(a: OfficerAnswer, b: OfficerAnswer) -> bool:
    return (a.alert_type, a.cause) == (b.alert_type, b.cause) and _touch(a.stretch, b.stretch)


def _covers(rule: Suppression, a: OfficerAnswer) -> bool:
    return (rule.alert_type, rule.cause) == (a.alert_type, a.cause) and _touch(rule.stretch, a.stretch)


def _touch(a: Stretch, b: Stretch) -> bool:
    """Whether an end of one lies within ``RADIUS_KM`` of the other."""
    ends = [(a[:2], b), (a[2:], b), (b[:2], a), (b[2:], a)]
    return any(distance_km(*end, other) <= RADIUS_KM for end, other in ends)


def _suppression(answers: Sequence[OfficerAnswer], mmsi: int | None, why: str, for_s: float = math.inf) -> Suppression:
    last = answers[-1]
    rule = Suppression(
        alert_type=last.alert_type,
        cause=last.cause,
        stretch=(
            round(last.stretch[0], 4),
            round(last.stretch[1], 4),
            round(last.stretch[2], 4),
            round(last.stretch[3], 4),
        ),
        since=last.t,
        least_score=LOUDER * max(1.0, *(a.score for a in answers)),
        mmsi=mmsi,
        why=why,
    )
    return rule if math.isinf(for_s) else replace(rule, until=last.t + for_s)


__all__ = [
    "ACKNOWLEDGED_S",
    "AGREE",
    "LOUDER",
    "NO_SUPPRESSIONS",
    "RADIUS_KM",
    "OfficerAnswer",
    "Suppression",
    "Suppressions",
    "suppressions_of",
]
