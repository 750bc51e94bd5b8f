"""Alerts of meetings, silences and zones: what their folds say, as records with a sentence for the watch officer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from ..config import Region
from ..detection.explain import position
from ..detection.ship_classes import class_name
from ..encounters.fleet import FleetTable
from ..encounters.meeting import ABREAST, Change
from ..encounters.metric import distance_m
from ..encounters.patterns import MERCHANT, NEIGHBOURHOOD_NM, Patterns, group_of
from ..encounters.shore import distance_from_shore_m
from ..encounters.silence import Heard, SilenceChange
from ..records import Alert, AlertType, Cause, Partner, Place, Status, ZoneOfAlert, alert_id
from ..tracks.tracker import track_name
from ..units import KNOT_MPS, M_PER_NM
from ..zones.fold import ZoneChange
from ..zones.zone import Rule

NEAR_SHORE_KM = 1.0  # the outline of the land is no better


@dataclass(frozen=True, slots=True)
class Ship:
    """What is known of a ship beside its reports."""

    mmsi: int
    name: str | None
    ship_type: int  # -1 unknown

    @classmethod
    def of(cls, mmsi: int, ship_type: int, ship_name: bytes) -> Ship:
        return cls(mmsi, ship_name.decode("ascii", "replace").strip() or None, ship_type)

    @property
    def known_type(self) -> int | None:
        return None if self.ship_type < 0 else self.ship_type

    @property
    def text(self) -> str:
        kind = class_name(self.ship_type)
        if self.name:
            return f"{self.name} ({f'{kind}, ' if kind else ''}MMSI {self.mmsi:09d})"
        return f"{kind or 'vessel'} MMSI {self.mmsi:09d}"


def ship_in(fleet: FleetTable, mmsi: int) -> Ship:
    at = int(fleet.find(np.array([mmsi]))[0])
    if at < 0:
        return Ship(mmsi, None, -1)
    return Ship.of(mmsi, int(fleet.rows["ship_type"][at]), bytes(fleet.rows["ship_name"][at]))


class FleetAlerts:
    """Writes the alerts of one model.

    Args:
        model_version: whose patterns the alerts rest on.
        region: whose coastline distances from shore are measured to; None takes the world's.
    """

    def __init__(self, model_version: str, patterns: Patterns, region: Region | None = None) -> None:
        self.model_version = model_version
        self.patterns = patterns
        self.region = region

    # ---------------------------------------------------------------- meetings

    def meeting(self, change: Change, decided_at: float, first: Ship, second: Ship) -> Alert:
        """The next revision of a meeting's alert. ``decided_at``: Unix s of event time."""
        p = change.pair
        return self._alert(
            AlertType.MEETING,
            change.status,
            first,
            revision=p.revision,
            t_first=p.since,
            start=Place(p.since, *p.began),
            end=Place(p.until, *p.at),
            decided_at=decided_at,
            score=p.score,
            message=self._meeting_text(change, first, second),
            with_what=str(second.mmsi),
            partner=Partner(second.mmsi, second.name, second.known_type),
        )

    def _meeting_text(self, change: Change, first: Ship, second: Ship) -> str:
        p = change.pair
        done = change.status is Status.CLOSED
        how = ("went" if done else "go") if p.kind == ABREAST else ("lay" if done else "lie")
        text = f"{_upper(first.text)} and {second.text} {how} side by side, {p.metres:.0f} m apart at least, for {span(p.until - p.since)}"
        text += f", near {position(p.lat, p.lon)}, {_when(p.since, p.until)}"
        shore = distance_from_shore_m(p.lat, p.lon, self.region) / 1000.0
        text += f"; {_from_shore(shore)}"
        if len(self.patterns.stops):
            stop = self.patterns.stops.distance_m(p.lat, p.lon) / 1000.0
            text += f", {_kilometres(stop)} from the nearest place where ships stop"
        groups = group_of(np.array([first.ship_type, second.ship_type]))
        if self.patterns.days and p.kind != ABREAST and all(g in MERCHANT for g in groups.tolist()):
            n = self.patterns.merchant_meetings_near(p.lat, p.lon)
            others = "no other pair" if n == 0 else "one other pair" if n == 1 else f"{n} other pairs"
            text += (
                f". In {_days(self.patterns.days)} {others} of merchant ships did so within {NEIGHBOURHOOD_NM:.0f} NM"
            )
        return text + "."

    # ---------------------------------------------------------------- silences

    def silence(self, change: SilenceChange, ship: Ship) -> Alert:
        """The next revision of a silence's alert; its segment goes from the last report to where the ship was heard again."""
        s = change.silence
        heard = s.heard_t == s.heard_t
        end = Place(s.heard_t, s.heard_lat, s.heard_lon) if heard else Place(s.t, s.lat, s.lon)
        lasted = (s.heard_t if heard else change.decided_at) - s.t
        return self._alert(
            AlertType.SILENCE,
            change.status,
            ship,
            revision=s.revision,
            t_first=s.raised_at,
            start=Place(s.t, s.lat, s.lon),
            end=end,
            decided_at=change.decided_at,
            score=max(lasted / s.limit_s, 1.0),
            message=self._silence_text(change, ship, lasted),
        )

    @staticmethod
    def _silence_text(change: SilenceChange, ship: Ship, lasted: float) -> str:
        s = change.silence
        text = f"{_upper(ship.text)} has not been heard since {_moment(s.t)}, under way at {s.sog:.1f} kn near {position(s.lat, s.lon)}"
        usual = f"; ships there are hardly ever silent for more than {span(s.limit_s)}"
        if change.why is Heard.OUTAGE:
            return f"{text}; neither have most ships around it: the station went silent, not the ship."
        if change.why is Heard.TOO_LONG:
            return f"{text}, for {span(lasted)}{usual}; no longer waited for."
        if s.heard_t != s.heard_t:
            return f"{text}{usual}."
        metres = distance_m(s.lat, s.lon, s.heard_lat, s.heard_lon)
        text = text.replace("has not been heard since", "was not heard from", 1)
        if change.why is Heard.IN_PLACE:
            return f"{text}, to {_moment(s.heard_t)}; heard again in place after {span(lasted)}{usual}."
        knots = metres / max(lasted, 1.0) / KNOT_MPS
        return f"{text}, to {_moment(s.heard_t)}; heard again {metres / M_PER_NM:.0f} NM away after {span(lasted)}, which needs {knots:.0f} kn{usual}."

    # ---------------------------------------------------------------- zones

    def zone(self, change: ZoneChange) -> Alert:
        """The next revision of the alert of a stay in a zone."""
        s, zone = change.stay, change.zone
        ship = Ship.of(s.mmsi, s.ship_type, s.ship_name)
        begun = s.broken_since or s.entered
        start = begun if zone.rule is Rule.LEAVE else s.entered
        return self._alert(
            AlertType.ZONE,
            change.status,
            ship,
            revision=s.revision,
            t_first=s.raised_at,
            start=Place(*start),
            end=Place(*s.last),
            decided_at=change.decided_at,
            score=zone.score,
            message=self._zone_text(change, ship),
            with_what=zone.name,
            zone=ZoneOfAlert(zone.name, str(zone.rule)),
        )

    @staticmethod
    def _zone_text(change: ZoneChange, ship: Ship) -> str:
        s, zone = change.stay, change.zone
        begun = s.broken_since or s.entered
        since = f"since {_moment(begun[0])}"
        limit = f"{zone.speed_knots:g} kn" if zone.speed_knots is not None else ""
        what = {
            Rule.ENTER: f"is inside {zone.name!r}, which it may not enter, {since}",
            Rule.LEAVE: f"is outside {zone.name!r}, which it may not leave, {since}",
            Rule.SLOWER: f"goes slower than {limit} in {zone.name!r}, {since}",
            Rule.FASTER: f"goes faster than {limit} in {zone.name!r}, {since}",
            Rule.STOP: f"stops in {zone.name!r}, where ships may not stop, {since}",
            Rule.ANCHOR: f"lies at anchor in {zone.name!r}, where ships may not anchor, {since}",
            Rule.CABLE_CORRIDOR: f"is slower than {limit} or at anchor over {zone.name!r}, {since}",
        }[zone.rule]
        text = f"{_upper(ship.text)} {what}, near {position(s.last[1], s.last[2])}"
        if s.sog == s.sog:
            text += f"; {s.sog:.1f} kn"
        if zone.rule is not Rule.LEAVE:
            text += f"; entered {_moment(s.entered[0])}"
        if change.status is Status.CLOSED:
            text += f"; ended by {_moment(change.decided_at)}"
        return text + "."

    # ---------------------------------------------------------------- all

    def _alert(
        self,
        alert_type: AlertType,
        status: Status,
        ship: Ship,
        *,
        revision: int,
        t_first: float,
        start: Place,
        end: Place,
        decided_at: float,
        score: float,
        message: str,
        with_what: str = "",
        partner: Partner | None = None,
        zone: ZoneOfAlert | None = None,
    ) -> Alert:
        return Alert(
            alert_id=alert_id(ship.mmsi, t_first, alert_type, with_what),
            revision=revision,
            status=status,
            mmsi=ship.mmsi,
            ship_name=ship.name,
            ship_type=ship.known_type,
            alert_type=alert_type,
            cause=Cause(str(alert_type)),
            detectors=(),
            track_id=track_name(ship.mmsi, start.t),
            segment_start=start,
            segment_end=end,
            decided_at=decided_at,
            score=score,
            log10_nfa=None,
            share=None,
            message=message,
            model_version=self.model_version,
            partner=partner,
            zone=zone,
        )


def span(seconds: float) -> str:
    """45 min, 5 h, 5 h 20 min, 3 days."""
    minutes = round(seconds / 60.0)
    if minutes < 60:
        return f"{minutes} min"
    if minutes >= 48 * 60:
        return f"{round(minutes / 1440)} days"
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min" if rest else f"{hours} h"


def _days(days: float) -> str:
    n = max(round(days), 1)
    return "1 day" if n == 1 else f"{n} days"


def _kilometres(km: float) -> str:
    return f"{km:.1f} km" if km < 10.0 else f"{km:.0f} km"


def _from_shore(km: float) -> str:
    if km == float("inf"):
        return "more than 300 km from shore"
    return "less than 1 km from shore" if km < NEAR_SHORE_KM else f"{km:.0f} km from shore"


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _moment(t: float) -> str:
    return f"{datetime.fromtimestamp(t, UTC):%Y-%m-%d %H:%M} UTC"


def _when(t_start: float, t: float) -> str:
    a, b = datetime.fromtimestamp(t_start, UTC), datetime.fromtimestamp(t, UTC)
    until = f"{b:%H:%M}" if a.date() == b.date() else f"{b:%Y-%m-%d %H:%M}"
    return f"{a:%Y-%m-%d %H:%M} to {until} UTC"
