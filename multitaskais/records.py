"""The types that flow through the package: reports, samples, rejections, verdicts, alerts.

Many of a kind travel as one NumPy structured array (``REPORT_DTYPE``, ``SAMPLE_DTYPE``); one of a kind is a
NamedTuple with the same fields in the same order (``PositionReport(*row)`` with ``row`` of ``array.tolist()``).
Missing floats are NaN, missing integers -1, missing text empty. Times are Unix seconds, UTC.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any, NamedTuple

import msgspec
import numpy as np

from .stamps import Stamps

REPORT_DTYPE = np.dtype(
    [
        ("mmsi", "i8"),
        ("t", "f8"),  # Unix s
        ("lat", "f8"),  # deg north, NaN when not available
        ("lon", "f8"),  # deg east
        ("sog", "f8"),  # knots, NaN when not available; never 102.3
        ("cog", "f8"),  # deg true [0, 360), NaN when not available; never 360
        ("heading", "f8"),  # deg true [0, 360), NaN when not available; never 511
        ("nav_status", "i1"),  # ITU-R M.1371 0..15, -1 unknown
        ("msg_type", "i1"),  # AIS message type, -1 unknown (decoded archives)
        ("ship_type", "i2"),  # ITU-R M.1371 ship type 0..255, -1 unknown
        ("ship_name", "S20"),  # six-bit ASCII of the air; empty when not heard
        ("second", "i1"),  # UTC second of the fix by the ship itself 0..59, -1 when not sent
        ("station", "S15"),  # who received it, as a tag block or a suffix names it; empty when not told
    ]
)
# How many of the fields above say what the report is; the others say how it came.
CONTENT_FIELDS = 11


class PositionReport(NamedTuple):
    """One position report; the row form of ``REPORT_DTYPE`` (units and missing values there)."""

    mmsi: int
    t: float
    lat: float
    lon: float
    sog: float
    cog: float
    heading: float = float("nan")
    nav_status: int = -1
    msg_type: int = -1
    ship_type: int = -1
    ship_name: bytes = b""
    second: int = -1
    station: bytes = b""


SAMPLE_DTYPE = np.dtype(
    [
        ("mmsi", "i8"),
        ("t", "f8"),  # grid time, Unix s
        ("n", "i4"),  # number of the sample in its line, from 0; goes on over the 24 h cut
        ("lat", "f8"),
        ("lon", "f8"),
        ("sog", "f8"),  # knots, NaN when missing on either side
        ("cog", "f8"),  # deg [0, 360), NaN when missing
        (
            "mismatch",
            "f8",
        ),  # knots; median over the slot's report pairs of |velocity made - velocity reported|, NaN without pairs
        ("made_30min", "f8"),  # m made good in the last 3 slots (or since the start, when shorter)
        ("nav_status", "i1"),  # of the report before the sample
        ("ship_type", "i2"),
        ("moored", "?"),  # under 0.5 kn and 150 m in 30 minutes, or navigational status 1 or 5 (docs/method.md#moored)
    ]
)


class Reason(StrEnum):
    """Why a line or a report was left out. ``in = accepted + sum of these`` always holds."""

    # lines and sentences
    CHECKSUM = "checksum"
    MALFORMED = "malformed"
    INCOMPLETE = "incomplete"  # parts of a message that never came
    OWN_SHIP = "own_ship"  # !..VDO
    NOT_AIS = "not_ais"  # some other NMEA sentence or text
    NO_TIME = "no_time"
    UNKNOWN_TYPE = "unknown_type"
    NOT_A_POSITION = "not_a_position"  # decoded, but not a position report
    # reports
    BAD_MMSI = "bad_mmsi"
    NO_POSITION = "no_position"
    OUT_OF_REGION = "out_of_region"
    SOG_NOT_AVAILABLE = "sog_not_available"
    TOO_FAST = "too_fast"
    DUPLICATE = "duplicate"
    LATE = "late"  # behind the vessel's newest report by more than the lateness; of ships together: its slot is decided
    FUTURE = "future"  # ahead of its partition's clock and not confirmed
    BEHIND = "behind"  # hours behind its partition's clock (a broken station clock)
    TOO_MANY = "too_many"  # more from one vessel than a transponder can send; the first of each second count
    DISPLACED = "displaced"  # needs an impossible speed; left out of the track, kept as evidence
    # on the ship's own course, whole hours ahead or behind: its station's clock is wrong
    STATION_CLOCK = "station_clock"
    # live records only
    BAD_JSON = "bad_json"
    BAD_VALUE = "bad_value"
    NO_KEY = "no_key"
    KEY_MISMATCH = "key_mismatch"
    TOO_LARGE = "too_large"
    TOMBSTONE = "tombstone"
    STATE_TOO_LARGE = "state_too_large"  # of a vessel: its tracks were ended
    FRAMED = "framed"  # begins with byte 0: framed for a schema registry, not JSON
    CONTROL = "control"  # a control record among the reports: commands have a topic of their own


class NotJudged(IntEnum):
    """Why a sample or a track has no judgement. 0 means that it has one."""

    JUDGED = 0
    TOO_SHORT = 1  # not enough samples yet for any detector
    MOORED = 2
    OUTSIDE_REGION = 3
    LITTLE_KNOWN = 4  # too few vessels were seen there
    NO_DATA = 5  # the values that every detector needs are missing
    NO_COVERAGE = 6  # nothing was ever received around there: no normal is known, which is not abnormal
    TOO_FAST = 7  # above the limit of speed, and no detector of the model judges there

    @property
    def text(self) -> str:
        return self.name.lower()


class Status(StrEnum):
    """Of an alert, in the order of its life."""

    RAISED = "raised"
    UPDATED = "updated"
    CLOSED = "closed"
    RETRACTED = "retracted"


class VerdictKind(StrEnum):
    """What is said of a vessel at a time, or of a whole track."""

    NORMAL = "normal"
    ABNORMAL = "abnormal"  # an alert stands, or stood
    NOT_JUDGED = "not_judged"  # for a reason of ``NotJudged``

    @classmethod
    def of(cls, *, abnormal: bool, judged: bool) -> VerdictKind:
        """An alert is a verdict also where no detector judged: a rule of the tracker may have raised it."""
        return cls.ABNORMAL if abnormal else cls.NORMAL if judged else cls.NOT_JUDGED


class AlertType(StrEnum):
    """One alert type has one score and one threshold; each takes its own share of the false-alarm budget."""

    ABNORMAL = "abnormal"  # the fused score of the detectors whose traits name this type
    CONTRADICTION = "contradiction"  # reported velocity against the velocity made good
    JUMP = "jump"  # an impossible displacement between two reports
    LOITERING = "loitering"
    DRIFT = "drift"
    SPEED = "speed"
    IDENTITY_CONFLICT = "identity_conflict"  # two ships on one MMSI
    # of all ships together, or of a ship and an area: no score of the panel (engine.fleet)
    MEETING = "meeting"  # two ships side by side at sea
    SILENCE = "silence"  # under way, and not heard for longer than is usual there
    ZONE = "zone"  # breaks the rule of an area


# Types that a detector's score or a rule of the tracker raises, in the order of the panel's arrays; append only.
PANEL_ALERT_TYPES = (
    AlertType.ABNORMAL,
    AlertType.CONTRADICTION,
    AlertType.JUMP,
    AlertType.LOITERING,
    AlertType.DRIFT,
    AlertType.SPEED,
    AlertType.IDENTITY_CONFLICT,
)


class Cause(StrEnum):
    """What an alert is about, named by the decision list of ``detection.explain``."""

    JUMP = "jump"
    CONTRADICTION = "contradiction"
    DRIFT = "drift"
    LOITERING = "loitering"
    OUT_OF_PLACE = "out_of_place"
    SPEED = "speed"
    COURSE = "course"
    IDENTITY_CONFLICT = "identity_conflict"
    MEETING = "meeting"
    SILENCE = "silence"
    ZONE = "zone"


class Place(NamedTuple):
    """A moment of a track."""

    t: float
    lat: float
    lon: float


class DetectorScore(NamedTuple):
    name: str
    z: float


class Shares(NamedTuple):
    """How much each part of the four-hot contributes to the strangeness; sums to 1, NaN when unknown."""

    lat: float
    lon: float
    sog: float
    cog: float


class Partner(NamedTuple):
    """The other ship of a meeting; the alert's own is the one with the lower MMSI."""

    mmsi: int
    ship_name: str | None
    ship_type: int | None


class ZoneOfAlert(NamedTuple):
    """The area of a zone alert and the rule that was broken."""

    name: str
    rule: str


# Fixed for ever: alert ids of all versions are made in this name space.
ALERT_NAMESPACE = uuid.UUID("6f6c1f52-8a0e-5c9e-9d0b-3f1f6a7f1a15")


def alert_id(mmsi: int, t_first: float, alert_type: AlertType, with_what: str = "") -> str:
    """UUIDv5 of (mmsi, time of the sample at which the alert was first raised, alert type); docs/contract.md#alerts.

    ``with_what``: partner or zone, where a ship can have several alerts of one type at one time.
    """
    more = f"/{with_what}" if with_what else ""
    return str(uuid.uuid5(ALERT_NAMESPACE, f"{mmsi}/{t_first:.3f}/{alert_type}{more}"))


def six_digits(x: float) -> float | None:
    """Round to 6 significant digits, as all numbers in alerts are; NaN and infinities become None (JSON null)."""
    x = float(x)
    return float(f"{x:.6g}") if np.isfinite(x) else None


@dataclass(frozen=True, slots=True)
class Alert:
    """One revision of one alert; ``as_dict`` is the wire form of ``docs/alert.schema.json``."""

    alert_id: str
    revision: int
    status: Status
    mmsi: int
    ship_name: str | None
    ship_type: int | None
    alert_type: AlertType
    cause: Cause
    detectors: tuple[DetectorScore, ...]
    track_id: str
    segment_start: Place
    segment_end: Place
    decided_at: float
    score: float  # alert type's score divided by its threshold; >= 1 when raised
    log10_nfa: float | None
    share: Shares | None
    message: str
    model_version: str
    challenger: bool = False
    partner: Partner | None = None  # of a meeting
    zone: ZoneOfAlert | None = None  # of a zone alert

    def as_dict(self) -> dict[str, Any]:
        """The wire form: times in Unix s, positions to 1e-6 degrees, numbers to 6 significant digits, null where unknown."""

        def place(p: Place) -> dict[str, Any]:
            return {"t": p.t, "lat": round(p.lat, 6), "lon": round(p.lon, 6)}

        values: dict[str, Any] = {
            "alert_id": self.alert_id,
            "revision": self.revision,
            "status": str(self.status),
            "mmsi": str(self.mmsi),
            "ship_name": self.ship_name,
            "ship_type": self.ship_type,
            "alert_type": str(self.alert_type),
            "cause": str(self.cause),
            "detectors": [{"name": d.name, "z": six_digits(d.z)} for d in self.detectors],
            "track_id": self.track_id,
            "segment_start": place(self.segment_start),
            "segment_end": place(self.segment_end),
            "decided_at": self.decided_at,
            "score": six_digits(self.score),
            "log10_nfa": None if self.log10_nfa is None else six_digits(self.log10_nfa),
            "share": None if self.share is None else {k: six_digits(v) for k, v in self.share._asdict().items()},
            "message": self.message,
            "model_version": self.model_version,
            "challenger": self.challenger,
        }
        if self.partner is not None:
            values["partner"] = {**self.partner._asdict(), "mmsi": str(self.partner.mmsi)}
        if self.zone is not None:
            values["zone"] = self.zone._asdict()
        return values


class Verdict(msgspec.Struct, frozen=True, gc=False):  # many are made: a dataclass takes ten times as long
    """The present verdict of one vessel's line: normal, abnormal, or not judged because of ``reason``."""

    mmsi: int
    track_id: str
    t: float  # of the sample that decided it
    verdict: VerdictKind
    reason: str | None  # NotJudged.text when not judged
    score: float | None  # greatest score / threshold of the sample
    model_version: str

    def as_dict(self) -> dict[str, Any]:
        """The wire form of ``ais.verdicts``."""
        return {
            "mmsi": str(self.mmsi),
            "track_id": self.track_id,
            "t": self.t,
            "verdict": str(self.verdict),
            "reason": self.reason,
            "score": None if self.score is None else six_digits(self.score),
            "model_version": self.model_version,
        }


@dataclass(slots=True)
class Counts:
    """Reports in, accepted, and rejected by reason."""

    received: int = 0
    accepted: int = 0
    rejected: dict[Reason, int] = field(default_factory=dict)
    blanked: dict[str, int] = field(
        default_factory=dict
    )  # values of accepted rows that cannot be, by field: left empty
    stamps: Stamps = field(default_factory=Stamps, compare=False)  # of the accepted ones

    def blank(self, name: str, n: int) -> None:
        if n:
            self.blanked[name] = self.blanked.get(name, 0) + n

    def reject(self, reason: Reason, n: int = 1) -> None:
        if n:
            self.rejected[reason] = self.rejected.get(reason, 0) + n

    def add(self, other: Counts) -> None:
        self.received += other.received
        self.accepted += other.accepted
        for reason, n in other.rejected.items():
            self.reject(reason, n)
        for name, n in other.blanked.items():
            self.blank(name, n)
        self.stamps.add(other.stamps)
