"""Control records: what persons and feeds ask of the workers, in a topic of its own rights (``ais.control``).

The topic has one partition, so that there is one order; a record's number is its offset there. The value is JSON:

    {"kind": "watermark", "t": 1767225600.0, "final": false, "after": {"0": 4711, "3": 12}, "by": "feed@tower", "sent": 1767225601.2}
    {"kind": "model", "model": "/models/june", "version": "2026-06-01", "from": 1767225600.0, "by": "...", "sent": ...}
    {"kind": "zone", "name": "cable north", "from": 1767225600.0, "zone": {...} or null, "by": "...", "sent": ...}
    {"kind": "suppress", "alert_type": "abnormal", "cause": "out_of_place", "stretch": [48.1, -7.0, 48.1, -6.6], "from": 1767225600.0, "least_score": 1.8,
     "mmsi": 227000001 or null, "until": 1767312000.0 or null, "why": "...", "by": "...", "sent": ...}
    {"kind": "withdraw", "number": 17, "by": "...", "sent": ...}

``by`` and ``sent`` (Unix s) say who sent it and when; nothing that is decided rests on them. Unknown fields are passed over.
A new kind is a new ``Control`` with its tag, and a branch in ``worker.partition``.

The key is ``Control.key``: the topic is compacted, so of the records of one key the last stays; one that is compacted away
before a worker has read it (``min.compaction.lag.ms`` is the retention of the source) is one that a later record replaced.

Who may write here may end tracks, change models and zones: grant Write to those and to nobody else.
"""

from __future__ import annotations

import math
import os
import socket
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from multitaskais.detection.suppression import Suppression
from multitaskais.errors import ConfigError
from multitaskais.times import LATEST

from ..plain_text import plain

RECORD_MAX_BYTES = 262_144  # a zone of ten thousand corners
TEXT_CHARS = 200
PARTITION = 0  # of the control topic: it has one


class Control(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    """What all kinds have."""

    by: str = ""
    sent: float = 0.0

    @property
    def kind(self) -> str:
        return str(self.__struct_config__.tag)

    @property
    def key(self) -> bytes:
        """Records of one key replace each other."""
        raise NotImplementedError

    def problem(self) -> str | None:
        """What is wrong with its values; None when nothing is."""
        return None

    def summary(self) -> str:
        """A few words for a log line or a list."""
        raise NotImplementedError

    def starts_at(self, partition: int) -> int:
        """Offset of a source partition before which it must not act; 0 where it does not say."""
        return 0


class Watermark(Control, frozen=True, kw_only=True, tag="watermark"):
    """The reports have come as far as ``t``: a vessel that was last heard more than the gap before it will not go on.

    It ends tracks; it never makes a report unwelcome. ``after`` holds, per partition of the source, the offset behind the
    sender's last report there. ``final``: the sender's archive ends here, and the next report may be of any later time.
    """

    t: float
    final: bool = False
    after: dict[int, int] = {}

    @property
    def key(self) -> bytes:
        return b"watermark:final" if self.final else b"watermark"

    def problem(self) -> str | None:
        if not 0.0 < self.t < LATEST:
            return f"t={self.t:g} is no time in Unix seconds between 1970 and 2100"
        if any(offset < 0 or partition < 0 for partition, offset in self.after.items()):
            return "after holds a number below 0"
        return None

    def summary(self) -> str:
        return f"watermark {utc(self.t)}{', the end of an archive' if self.final else ''}"

    def starts_at(self, partition: int) -> int:
        return self.after.get(partition, 0)


class ModelAnnouncement(Control, frozen=True, kw_only=True, tag="model"):
    """Model ``version`` takes over with each vessel's first sample at or after ``since`` (ADR 0011)."""

    model: str  # a shipped name or a folder, as the workers see it
    version: str
    since: float = msgspec.field(name="from")  # time of reports, Unix s

    @property
    def key(self) -> bytes:
        return f"model:{self.version}:{self.since:.3f}".encode()

    def problem(self) -> str | None:
        if not (self.model and self.version):
            return "model and version must not be empty"
        return None if 0.0 < self.since < LATEST else f"from={self.since:g} is no time in Unix seconds before 2100"

    def summary(self) -> str:
        return f"model {plain(self.version)} ({plain(self.model)}) from {utc(self.since)}"


class Zone(Control, frozen=True, kw_only=True, tag="zone"):
    """A zone is defined, or defined again, from ``since`` on; with ``zone`` null it ends there."""

    name: str
    since: float = msgspec.field(name="from")  # time of reports, Unix s
    zone: dict[str, Any] | None = None

    @property
    def key(self) -> bytes:
        return f"zone:{self.name}:{self.since:.3f}".encode()

    def problem(self) -> str | None:
        if not self.name or len(self.name) > TEXT_CHARS:
            return f"name must have 1 to {TEXT_CHARS} characters"
        return None if 0.0 < self.since < LATEST else f"from={self.since:g} is no time in Unix seconds before 2100"

    def summary(self) -> str:
        return f"zone {plain(self.name)} {'ends' if self.zone is None else 'from'} {utc(self.since)}"


class SuppressionRecord(Control, frozen=True, kw_only=True, tag="suppress"):
    """From ``since`` on, alerts of a kind need a higher score around a place (``multitaskais.detection.suppression``)."""

    alert_type: str
    cause: str
    stretch: tuple[float, float, float, float]  # from latitude, longitude to latitude, longitude, degrees
    since: float = msgspec.field(name="from")  # time of reports, Unix s
    least_score: float
    mmsi: int | None = None  # null: of all vessels
    until: float | None = None  # null: until it is withdrawn
    why: str = ""

    @property
    def name(self) -> str:
        """What it is about, whenever it begins: one of a name is enough."""
        vessel = "all" if self.mmsi is None else str(self.mmsi)
        where = ",".join(f"{x:.4f}" for x in self.stretch)
        return f"{vessel}:{self.alert_type}:{self.cause}:{where}:{self.why}"

    @property
    def key(self) -> bytes:
        return f"suppress:{self.name}:{self.since:.3f}".encode()

    def rule(self) -> Suppression:
        """Raises ``ConfigError`` where it cannot be one."""
        return Suppression(
            alert_type=self.alert_type,
            cause=self.cause,
            stretch=self.stretch,
            since=self.since,
            least_score=self.least_score,
            mmsi=self.mmsi,
            until=math.inf if self.until is None else self.until,
            why=self.why,
        )

    def problem(self) -> str | None:
        """Why it cannot be followed; None when it can."""
        if not 0.0 < self.since < LATEST or (self.until is not None and not 0.0 < self.until < LATEST):
            return f"from={self.since:g} or until={self.until} is no time in Unix seconds before 2100"
        if max(len(self.alert_type), len(self.cause), len(self.why)) > TEXT_CHARS:
            return f"a text has more than {TEXT_CHARS} characters"
        try:
            self.rule()
        except ConfigError as e:
            return str(e)
        return None

    def summary(self) -> str:
        whose = "all vessels" if self.mmsi is None else str(self.mmsi)
        end = "" if self.until is None else f" to {utc(self.until)}"
        return (
            f"{plain(self.alert_type)}/{plain(self.cause)} of {whose} near {self.stretch[2]:.2f} {self.stretch[3]:.2f} needs a score of {self.least_score:.2f}"
            f" from {utc(self.since)}{end}: {plain(self.why)}"
        )


class Withdrawal(Control, frozen=True, kw_only=True, tag="withdraw"):
    """Control record ``number`` holds no longer."""

    number: int

    @property
    def key(self) -> bytes:
        return f"withdraw:{self.number}".encode()

    def problem(self) -> str | None:
        return None if self.number >= 0 else "number must be the number of a control record"

    def summary(self) -> str:
        return f"withdraws {self.number}"


AnyControl = Watermark | ModelAnnouncement | Zone | SuppressionRecord | Withdrawal
_decoder = msgspec.json.Decoder(AnyControl)


class Numbered(NamedTuple):
    """A control record as it lies in the topic."""

    number: int
    control: AnyControl
    value: bytes


def encode(control: AnyControl) -> tuple[bytes, bytes]:
    """(key, value)."""
    return control.key, msgspec.json.encode(control)


def decode(value: bytes | None) -> AnyControl | str:
    """The control, or in a few words why there is none. Nothing raises, whatever the bytes."""
    if value is None:
        return "no value"
    if len(value) > RECORD_MAX_BYTES:
        return f"longer than {RECORD_MAX_BYTES} bytes"
    try:
        control: AnyControl = _decoder.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        return f"not a control record ({e})"
    return control.problem() or control


def sender() -> str:
    """Who sends, for ``by``: user and machine, as far as they can be had."""
    user = os.environ.get("USER") or os.environ.get("LOGNAME") or str(os.getuid())
    return f"{user}@{socket.gethostname()}"[:TEXT_CHARS]


def utc(t: float) -> str:
    """``2026-01-01T00:00:00Z``; for times that ``problem`` let through."""
    return datetime.fromtimestamp(t, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
