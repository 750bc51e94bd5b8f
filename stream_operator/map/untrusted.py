"""What comes from the topics, made safe to keep and to show: checked structure, bounded sizes, plain text.

Ship names come from the air and may hold anything. They are shown as text only; what would confuse a reader even as text
(controls, right-to-left overrides, invisible characters, towers of accents) is taken out here, once for all readers.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from multitaskais.detection.suppression import AnswerKind
from multitaskais.records import Status, VerdictKind

from ..plain_text import plain

ZONE_CHARS = 80
NAME_CHARS = 40  # AIS names have 20 characters; other sources may say more

VERDICT_CODE = {VerdictKind.NOT_JUDGED: 0, VerdictKind.NORMAL: 1, VerdictKind.ABNORMAL: 2}  # of the page

Id = Annotated[str, msgspec.Meta(pattern=r"^[0-9A-Za-z_-]{1,64}$")]
Mmsi = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,9}$")]
Short = Annotated[str, msgspec.Meta(max_length=200)]


class Place(msgspec.Struct, frozen=True):
    t: float
    lat: float | None = None
    lon: float | None = None


class Detector(msgspec.Struct, frozen=True):
    name: Short
    z: float | None = None


class Share(msgspec.Struct, frozen=True):
    lat: float | None = None
    lon: float | None = None
    sog: float | None = None
    cog: float | None = None


class Partner(msgspec.Struct, frozen=True):
    """The other ship of a meeting."""

    mmsi: Mmsi
    ship_name: str | None = None
    ship_type: int | None = None


class ZoneOfAlert(msgspec.Struct, frozen=True):
    name: str
    rule: Short = ""


class AlertRecord(msgspec.Struct):
    """A revision of an alert as it lies in the topic (``Alert.as_dict``); unknown fields are ignored."""

    alert_id: Id
    revision: int
    status: Status
    mmsi: Mmsi
    alert_type: Short
    segment_start: Place
    segment_end: Place
    decided_at: float
    message: str = ""
    cause: Short | None = None
    ship_name: str | None = None
    ship_type: int | None = None
    detectors: Annotated[list[Detector], msgspec.Meta(max_length=32)] = []
    track_id: Short = ""
    score: float | None = None
    log10_nfa: float | None = None
    share: Share | None = None
    model_version: Short = ""
    challenger: bool = False
    partner: Partner | None = None
    zone: ZoneOfAlert | None = None

    @property
    def is_open(self) -> bool:
        return self.status in (Status.RAISED, Status.UPDATED)


class VerdictRecord(msgspec.Struct):
    """A vessel's verdict as it lies in the topic (``Verdict.as_dict``)."""

    mmsi: Mmsi
    t: float
    verdict: VerdictKind
    track_id: Short = ""
    reason: Short | None = None
    score: float | None = None


class StationEvent(msgspec.Struct, omit_defaults=True):
    """Something is wrong with a station, not with ships: a record of ``ais.dead`` whose header ``reason`` is its kind."""

    decided_at: float  # event time, Unix s
    t: float = 0.0  # since when
    lat: float | None = None
    lon: float | None = None
    silent: int | None = None  # ships, of an outage
    heard: int | None = None
    station: str = ""  # whose clock it is, and how many ships it displaces by how much
    ships: int | None = None
    offset_s: float | None = None
    kind: str = ""


class Answer(msgspec.Struct):
    """What an officer says about an alert; the record of ``ais.feedback``."""

    alert_id: Id
    answer: AnswerKind
    time: float  # Unix s, when it was given
    word: str = ""
    who: str = ""
    mmsi: str = ""
    revision: int = 0  # of the alert when it was answered


_alert = msgspec.json.Decoder(AlertRecord)
_verdict = msgspec.json.Decoder(VerdictRecord)
_answer = msgspec.json.Decoder(Answer)
_station = msgspec.json.Decoder(StationEvent)


def alert(value: bytes) -> AlertRecord:
    """Raises ``msgspec.DecodeError`` (with its subclass ``ValidationError``) on anything that is not an alert."""
    a = _alert.decode(value)
    a.ship_name = plain(a.ship_name, NAME_CHARS) or None
    a.message = plain(a.message)
    for name in ("alert_type", "cause", "track_id", "model_version"):
        setattr(a, name, plain(getattr(a, name), 200))
    if a.partner is not None:
        called = plain(a.partner.ship_name, NAME_CHARS) or None
        a.partner = Partner(a.partner.mmsi, called, a.partner.ship_type)
    if a.zone is not None:
        a.zone = ZoneOfAlert(plain(a.zone.name, ZONE_CHARS), plain(a.zone.rule, NAME_CHARS))
    a.detectors = [Detector(plain(d.name, NAME_CHARS), d.z) for d in a.detectors]
    return a


def verdict(value: bytes) -> VerdictRecord:
    """Raises as ``alert`` does."""
    v = _verdict.decode(value)
    v.reason = plain(v.reason, NAME_CHARS)
    return v


def station(value: bytes, kind: str) -> StationEvent:
    """Raises as ``alert`` does."""
    event = _station.decode(value)
    event.kind = kind
    event.station = plain(event.station, NAME_CHARS)
    return event


def answer(value: bytes) -> Answer:
    """Raises as ``alert`` does."""
    a = _answer.decode(value)
    a.word, a.who, a.mmsi = plain(a.word, 280), plain(a.who, NAME_CHARS), plain(a.mmsi, 9)
    return a
