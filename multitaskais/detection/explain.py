"""Why, in words: the cause by a decision list over the alarm window, and one sentence for a watch officer (docs/method.md#causes).

The four-hot parts of a likelihood say "position" for nearly everything; an ordered list of plain questions does better:

    jump, two ships on one MMSI     the alert's own type
    does it contradict itself       the rule nearly says so, or its positions do by far in the newest 20 minutes
    does it turn back and forth     it does, and the loitering rule nearly says so
    is it slow and not moored       in the last hour
    does the loudest detector know  ``wrongway`` asks for the course and for nothing else
    is it where ships do not pass   in the last hour
    does it turn where ships pass   it does, and the loitering rule says so faintly
    is its speed not the place's    the speed rule nearly says so, or half the window's samples do
    and if none of these            its course where most of the window is odd or nothing is known of the place; else the place

An alert comes one to two hours after the ship began to be strange (a mean over two hours must rise), so the older half of its
window still shows the voyage before: what it does, and where, is asked of the last hour. The numbers below were chosen on injected
anomalies of development vessels (seed 201, docs/studies/panel.md); with any of them a fifth larger or smaller the share named right
stays within 0.01.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..exact import functions, scalars
from ..records import AlertType, Cause, DetectorScore
from ..units import KNOT_MPS, M_PER_DEG, M_PER_NM
from .ship_classes import class_name
from .threshold import TYPE_INDEX
from .traffic_patterns import SECTOR_DEG, CellStatistics

CAUSES = tuple(Cause)
_OF_TYPE = {
    AlertType.JUMP: Cause.JUMP,
    AlertType.IDENTITY_CONFLICT: Cause.IDENTITY_CONFLICT,
    AlertType.CONTRADICTION: Cause.CONTRADICTION,
    AlertType.DRIFT: Cause.DRIFT,
    AlertType.LOITERING: Cause.LOITERING,
    AlertType.MEETING: Cause.MEETING,
    AlertType.SILENCE: Cause.SILENCE,
    AlertType.ZONE: Cause.ZONE,
}
# Share of its own threshold that a rule must reach to name the cause of an alert that it did not raise itself.
NEARLY = 0.7
FAINTLY = 0.3  # and that loitering must reach where the place is usual: 60 of 61 injected loiterers do, 9 of 403 others
LAST_HOUR = 6  # samples
TURNING = 9  # samples, as in the loitering rule
STRAIGHT = 0.6  # made good / path; a ship on passage is above 0.9, one that turns back and forth below
SLOW_KNOTS = 2.5  # slower is adrift, not under way (docs/method.md#rules-of-motion)
NOT_MOORED_KNOTS = 0.5
SLOW_SHARE = 0.8  # five of the last hour's six
CONTRADICTS_KNOTS = 7.0  # in both newest steps; 9 of 10 injected false velocities do, loops 6.3 at most, the others 5.7
OFF_M = 1500.0  # farther than this from where ships pass is out of place; a fine cell is about 2 km
OFF_SHARE = 0.5
SPEED_MARGIN_KNOTS = 1.0
COURSE_RARE = 0.08  # of a sector and its neighbours; an even spread gives 0.125
ODD_SPEED_SHARE = 0.5
ODD_COURSE_SHARE = 2 / 3  # who leaves her lane steers oddly for an hour at most; who goes the wrong way, all the while
LOUDEST = 3  # detectors that an alert names


class Window(NamedTuple):
    """The alarm window of one line, oldest first, without the steps before its first sample."""

    t: NDArray[np.float64]
    lat: NDArray[np.float64]
    lon: NDArray[np.float64]
    sog: NDArray[np.float64]
    cog: NDArray[np.float64]

    @classmethod
    def of(cls, row: np.void) -> Window:
        here = ~np.isnan(row["t"])
        return cls(*(row[name][here] for name in cls._fields))

    def newest(self, samples: int) -> Window:
        return Window(*(a[-samples:] for a in self))

    @property
    def straightness(self) -> float:
        """Made good / path, 0..1; NaN when the ship has not moved 500 m."""
        east = (self.lon - self.lon[0]) * scalars.cos(float(self.lat[0])) * M_PER_DEG
        north = (self.lat - self.lat[0]) * M_PER_DEG
        path = float(functions.total(functions.hypot(np.diff(east), np.diff(north))))
        return scalars.hypot(float(east[-1]), float(north[-1])) / path if path > 500.0 else math.nan

    @property
    def contradiction_knots(self) -> float:
        """By how much reported and made velocity differ in the newest two steps, the lesser of both; 0 where a number is missing."""
        t, lat, lon, sog, cog = (a[-3:] for a in self)
        if len(t) < 3:
            return 0.0
        scale = M_PER_DEG / (KNOT_MPS * np.diff(t))
        sin, cos = functions.sin_cos(cog)
        reported = sog * sin, sog * cos
        made = np.diff(lon) * scalars.cos(float(lat[0])) * scale, np.diff(lat) * scale
        off = [m - 0.5 * (r[1:] + r[:-1]) for m, r in zip(made, reported, strict=True)]
        return float(np.nan_to_num(functions.hypot(*off)).min())

    @property
    def mean_course(self) -> float:
        """Degrees true; NaN without courses."""
        sin, cos = functions.sin_cos(self.cog[~np.isnan(self.cog)])
        if not len(sin):
            return math.nan
        return scalars.atan2(float(functions.total(sin)), float(functions.total(cos))) % 360.0

    @property
    def median_sog(self) -> float:
        s = self.sog[~np.isnan(self.sog)]
        return float(np.median(s)) if len(s) else math.nan


def cause(
    alert_type: AlertType,
    window: Window,
    type_score: NDArray[np.float64],
    usual: CellStatistics | None,
    of_loudest: Cause | None = None,
) -> Cause:
    """The first that applies.

    Args:
        type_score: (N_TYPES,) score / threshold of the sample at hand.
        of_loudest: what the detector that decided asks for, where it asks for one thing alone (``Traits.cause``).
    """
    if (certain := _OF_TYPE.get(alert_type)) is not None:
        return certain

    def reaches(t: AlertType, share: float) -> bool:
        return bool(type_score[TYPE_INDEX[t]] >= share)

    hour, turns = window.newest(LAST_HOUR), window.newest(TURNING).straightness < STRAIGHT
    if reaches(AlertType.CONTRADICTION, NEARLY) or window.contradiction_knots >= CONTRADICTS_KNOTS:
        return Cause.CONTRADICTION
    if turns and reaches(AlertType.LOITERING, NEARLY):
        return Cause.LOITERING
    sog = hour.sog[~np.isnan(hour.sog)]
    if len(sog) and np.mean((sog < SLOW_KNOTS) & (sog >= NOT_MOORED_KNOTS)) >= SLOW_SHARE:
        return Cause.DRIFT
    if of_loudest is not None:
        return of_loudest
    off = _off(hour, usual) if usual is not None else []
    if off and alert_type is AlertType.ABNORMAL and np.mean(off) >= OFF_SHARE:
        return Cause.OUT_OF_PLACE
    if turns and reaches(AlertType.LOITERING, FAINTLY):
        return Cause.LOITERING
    if alert_type is AlertType.SPEED or reaches(AlertType.SPEED, NEARLY):
        return Cause.SPEED
    odd_speed, odd_course = _odd(window, usual) if usual is not None else (0.0, 0.0)
    if odd_speed >= ODD_SPEED_SHARE and odd_speed > odd_course:
        return Cause.SPEED
    return Cause.COURSE if odd_course >= ODD_COURSE_SHARE or not off else Cause.OUT_OF_PLACE


def _off(window: Window, usual: CellStatistics) -> list[bool]:
    """Of each sample of which a usual place is known: whether it is out of place."""
    away = (usual.distance_to_usual(*at) for at in zip(window.lat.tolist(), window.lon.tolist(), strict=True))
    return [d[0] > OFF_M for d in away if d is not None]


def _odd(window: Window, usual: CellStatistics) -> tuple[float, float]:
    """Share of the window's samples whose speed, and whose course, few ships there have."""
    speed: list[bool] = []
    course: list[bool] = []
    for lat, lon, sog, cog in zip(*(a.tolist() for a in window[1:]), strict=True):
        if (custom := usual.custom(lat, lon)) is None:
            continue
        if not math.isnan(sog):
            speed.append(not custom.sog_low - SPEED_MARGIN_KNOTS <= sog <= custom.sog_high + SPEED_MARGIN_KNOTS)
        if not math.isnan(cog) and sog >= 1.0:
            course.append(custom.course_share[int(cog // SECTOR_DEG) % len(custom.course_share)] < COURSE_RARE)
    return (float(np.mean(speed)) if speed else 0.0, float(np.mean(course)) if course else 0.0)


def top_contributor(
    names: tuple[str, ...], z: NDArray[np.float64], surprise_order: NDArray[np.float64]
) -> tuple[DetectorScore, ...]:
    """The detectors that say most, the loudest first; those without a number are left out."""
    order = sorted(np.flatnonzero(~np.isnan(surprise_order)), key=lambda k: (-surprise_order[k], names[k]))[:LOUDEST]
    return tuple(DetectorScore(names[k], float(z[k])) for k in order)


class Facts(NamedTuple):
    """What the sentence is made of."""

    mmsi: int
    ship_name: str | None
    ship_type: int
    cause: Cause
    t_start: float
    t: float
    lat: float
    lon: float
    sog: float  # median of the window, knots
    cog: float  # mean of the window, degrees true
    one_in: float  # one normal track in so many reaches this; NaN for events
    one_in_most: float  # more than the development tracks can tell
    detail: str = ""


def message(facts: Facts, usual: CellStatistics | None) -> str:
    """One or two plain sentences: who, what, where, when, how unusual, what ships usually do there."""
    what = {
        Cause.JUMP: "jumped: its reports lie farther apart than it can have sailed",
        Cause.CONTRADICTION: "reports a course and speed that its positions contradict",
        Cause.DRIFT: "drifts: very slow and not moored",
        Cause.LOITERING: "loiters: it turns back and forth in one area",
        Cause.OUT_OF_PLACE: "is where ships do not usually sail",
        Cause.SPEED: "sails at an unusual speed",
        Cause.COURSE: "steers an unusual course",
        Cause.IDENTITY_CONFLICT: "is two ships: two tracks report under one MMSI",
    }[facts.cause]
    text = f"{_who(facts)} {what}"
    if facts.detail:
        text += f" ({facts.detail})"
    text += f", near {position(facts.lat, facts.lon)}, {_when(facts.t_start, facts.t)}"
    if not math.isnan(facts.sog):
        text += f"; {facts.sog:.1f} kn" + (f" on {_course(facts.cog)}" if not math.isnan(facts.cog) else "")
    if usual is not None and facts.cause is not Cause.IDENTITY_CONFLICT and (habit := _habit(facts, usual)):
        text += f". {habit}"
    if not math.isnan(facts.one_in):
        odds = (
            f"fewer than 1 in {_round(facts.one_in_most)} look"
            if facts.one_in > facts.one_in_most
            else f"about 1 in {_round(facts.one_in)} looks"
        )
        text += f". Of normal tracks {odds} like this"
    return text + "."


def _who(facts: Facts) -> str:
    kind = class_name(facts.ship_type)
    if facts.ship_name:
        return f"{facts.ship_name} ({f'{kind}, ' if kind else ''}MMSI {facts.mmsi:09d})"
    return f"{f'{kind.capitalize()} vessel' if kind else 'Vessel'} MMSI {facts.mmsi:09d}"


def _habit(facts: Facts, usual: CellStatistics) -> str:
    away = usual.distance_to_usual(facts.lat, facts.lon)
    custom = usual.custom(facts.lat, facts.lon)
    parts = []
    if facts.cause is Cause.OUT_OF_PLACE and away is not None and away[0] > OFF_M:
        parts.append(f"{away[0] / M_PER_NM:.1f} NM {_compass(away[1])} of where ships usually pass")
    if custom is not None:
        habit = f"ships here usually make {custom.sog_q1:.0f} to {custom.sog_q3:.0f} kn"
        if custom.courses:
            habit += " on " + " or ".join(_course(c) for c in custom.courses)
        parts.append(habit)
    text = "; ".join(parts)
    return text[:1].upper() + text[1:]


def position(lat: float, lon: float) -> str:
    """Degrees and decimal minutes, as on a chart: 48°30.5'N 005°12.0'W."""

    def part(value: float, digits: int, signs: str) -> str:
        minutes = round(abs(value) * 600)  # tenths of a minute
        return f"{minutes // 600:0{digits}d}°{minutes % 600 / 10:04.1f}'{signs[value < 0]}"

    return f"{part(lat, 2, 'NS')} {part(lon, 3, 'EW')}"


def _when(t_start: float, t: float) -> str:
    a, b = datetime.fromtimestamp(t_start, UTC), datetime.fromtimestamp(t, UTC)
    if (b - a).total_seconds() < 60:
        return f"{b:%Y-%m-%d %H:%M} UTC"
    return (
        f"{a:%Y-%m-%d %H:%M} to {b:%H:%M} UTC"
        if a.date() == b.date()
        else f"{a:%Y-%m-%d %H:%M} to {b:%Y-%m-%d %H:%M} UTC"
    )


def _course(degrees: float) -> str:
    return f"{round(degrees) % 360:03d}°"


def _compass(degrees: float) -> str:
    return ("north", "northeast", "east", "southeast", "south", "southwest", "west", "northwest")[
        round(degrees / 45) % 8
    ]


def _round(x: float) -> str:
    if x < 10:
        return f"{x:.0f}"
    digits = 10 ** (len(str(int(x))) - 2)
    return f"{round(x / digits) * digits:,.0f}"
