"""What clients send and get: JSON with these fields and limits, which is also the OpenAPI of the server."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from multitaskais.times import LATEST

SENTENCE_CHARS_MAX = 4096

# JSON knows no whole numbers: 5.0 is 5, also where null may stand in its place.
_WHOLE = {"type": "integer"}
Mmsi = (
    Annotated[float, Meta(ge=1, le=999_999_999, multiple_of=1, extra_json_schema=_WHOLE)]
    | Annotated[str, Meta(pattern=r"^(?=.*[1-9])[0-9]{1,9}$", description="digits, not all of them 0")]
)  # fmt: skip
UnixTime = Annotated[float, Meta(gt=0, lt=LATEST, description="Unix s")]
Lat = Annotated[float, Meta(ge=-90, le=91, description="degrees north; 91 is not available")]
Lon = Annotated[float, Meta(ge=-180, le=181, description="degrees east; 181 is not available")]
Sog = Annotated[float, Meta(ge=0, le=102.3, description="knots; 102.3 is not available")]
Cog = Annotated[float, Meta(ge=0, le=360, description="degrees true; 360 is not available")]
Heading = Annotated[float, Meta(ge=0, le=511, description="degrees true; 511 is not available")]
NavStatus = Annotated[float, Meta(ge=0, le=15, multiple_of=1, description="ITU-R M.1371", extra_json_schema=_WHOLE)]
ShipType = Annotated[float, Meta(ge=0, le=255, multiple_of=1, description="ITU-R M.1371", extra_json_schema=_WHOLE)]
Sentence = Annotated[str, Meta(max_length=SENTENCE_CHARS_MAX, pattern=r"^[^\r\n]*[\r\n]*$", description="one line")]
ShipName = Annotated[str, Meta(max_length=64, description="20 characters are used")]
MODEL_NAME = r"[a-z0-9][a-z0-9_.-]{0,63}(@[a-z0-9][a-z0-9_.-]{0,63}-[0-9a-f]{12})?"
ModelName = Annotated[
    str,
    Meta(pattern=f"^({MODEL_NAME})?$", description="NAME or NAME@VERSION; may be left out where one model is offered"),
]


class Report(Struct, frozen=True, forbid_unknown_fields=True):
    """One position report. What is not known is null, absent, or the AIS value for it."""

    mmsi: Mmsi
    t: UnixTime
    lat: Lat | None = None
    lon: Lon | None = None
    sog: Sog | None = None
    cog: Cog | None = None
    heading: Heading | None = None
    nav_status: NavStatus | None = None
    ship_type: ShipType | None = None
    ship_name: ShipName | None = None


class TrackReport(Struct, frozen=True, forbid_unknown_fields=True):
    """One position report of a track."""

    t: UnixTime
    lat: Lat | None = None
    lon: Lon | None = None
    sog: Sog | None = None
    cog: Cog | None = None
    heading: Heading | None = None
    nav_status: NavStatus | None = None


class TrackOfReports(Struct, frozen=True, forbid_unknown_fields=True):
    """The reports of one vessel."""

    mmsi: Mmsi
    reports: Annotated[list[TrackReport], Meta(min_length=1)]
    ship_type: ShipType | None = None
    ship_name: ShipName | None = None


FORMS = ("reports", "tracks", "sentences")  # of what is to be judged; a request has exactly one


class ScoreRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Exactly one of reports, tracks and sentences (AIVDM lines with their time, as in an archive)."""

    model: ModelName = ""
    reports: Annotated[list[Report], Meta(min_length=1)] | UnsetType = UNSET
    tracks: Annotated[list[TrackOfReports], Meta(min_length=1)] | UnsetType = UNSET
    sentences: Annotated[list[Sentence], Meta(min_length=1)] | UnsetType = UNSET
    predicted: bool = False

    def size(self) -> int:
        """Reports or sentences."""
        if not isinstance(self.tracks, UnsetType):
            return sum(len(t.reports) for t in self.tracks)
        return sum(len(x) for x in (self.reports, self.sentences) if not isinstance(x, UnsetType))

    def given(self) -> int:
        """How many of the three are there."""
        return sum(not isinstance(getattr(self, form), UnsetType) for form in FORMS)


class Expected(Struct, frozen=True):
    """What ships do where the anomaly is; null where too few passed."""

    sog_knots: list[float] | None  # quartiles
    cog_deg: list[float]  # usual courses, the commonest first; empty where ships go all ways
    usual_place_m: float | None  # metres to the nearest place where ships usually pass
    vessels: int | None  # that this rests on


class DetectorOpinion(Struct, frozen=True):
    name: str
    z: float | None


class Anomaly(Struct, frozen=True):
    """The last revision of one alert; ``alert`` is the contract's, as on the topic."""

    timestamp: str
    end: str
    mmsi: str
    track_id: str
    alert_type: str
    cause: str
    score: float | None  # over its threshold
    message: str
    expected: Expected
    detectors: list[DetectorOpinion]
    alert: dict[str, Any]


class TrackAnswer(Struct, frozen=True):
    track_id: str
    mmsi: str
    verdict: Literal["normal", "abnormal", "not_judged"]
    reason: str | None  # why not judged
    score: float | None
    samples: int
    judged_samples: int


class Predicted(Struct, frozen=True):
    """What was expected of one sample, from all before it; null where nothing could be."""

    timestamp: str
    mmsi: str
    track_id: str
    lat: float | None
    lon: float | None
    sog: float | None
    cog: float | None


class Coverage(Struct, frozen=True):
    """How far the model knows these waters. ``msg`` is null when it knows all of it."""

    known: Literal["all", "part", "none"]
    out_of_region: int  # reports outside its box
    little_known_tracks: int  # not judged, because too few vessels were seen there
    msg: str | None


class ScoreAnswer(Struct, frozen=True):
    status: Literal["success"]
    model_version: str
    anomalies: list[Anomaly]
    tracks: list[TrackAnswer]
    predicted: list[Predicted]
    coverage: Coverage
    received: int
    accepted: int
    rejected: dict[str, int]


class ModelInfo(Struct, frozen=True):
    name: str
    version: str
    region: dict[str, Any]
    detectors: list[str]
    budget: dict[str, Any]
    made_from: dict[str, Any]
    credits: list[str]


class ModelList(Struct, frozen=True):
    status: Literal["success"]
    models: list[ModelInfo]


class Health(Struct, frozen=True):
    alive: bool


class Ready(Struct, frozen=True):
    ready: bool
    why_not: list[str]
    models: dict[str, str]
    judges: int
    store_age_s: float | None
