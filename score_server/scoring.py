"""Requests of one model -> answers, by the same engine as live and ``detect``: ``score(model, requests)``.

Tracks know nothing of each other, so requests without a vessel in common are judged in one run: a lone track costs one step of the
panel for each of its samples, and a hundred tracks cost hardly more. What is found among ships together (meetings, silences) is looked for in each request alone.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any

import numpy as np
from msgspec import UnsetType
from numpy.typing import NDArray

from multitaskais.ais.archives import CHUNK_LINES, Archive
from multitaskais.ais.containers import Member
from multitaskais.ais.positions import StaticMemory
from multitaskais.ais.sentinels import (
    NAV_STATUS_MAX,
    clean_name,
    known_angles,
    known_codes,
    known_positions,
    known_speeds,
)
from multitaskais.detectors.residual import ResidualDetector
from multitaskais.engine import batch
from multitaskais.errors import InputError
from multitaskais.model.folder import Model
from multitaskais.records import REPORT_DTYPE, Alert, Counts, NotJudged, Reason, six_digits
from multitaskais.types import Reports, Trace

from .wire import (
    Anomaly,
    Coverage,
    DetectorOpinion,
    Expected,
    Predicted,
    Report,
    ScoreAnswer,
    ScoreRequest,
    TrackAnswer,
    TrackOfReports,
)


def score(model: Model, requests: Sequence[ScoreRequest]) -> list[ScoreAnswer]:
    """One answer a request, each as if it had been judged alone.

    Raises:
        InputError: sentences that are none.
    """
    read = [reports_of(r) for r in requests]
    answers: list[ScoreAnswer | None] = [None] * len(requests)
    for group in _without_common_vessels([reports["mmsi"] for reports, _ in read]):
        reports = np.concatenate([read[i][0] for i in group])
        result = batch.run(model, reports, trace=True, by_vessel=True)
        for i in group:
            answers[i] = _answer(model, requests[i], result, *read[i])
    return [a for a in answers if a is not None]


def _without_common_vessels(vessels: list[NDArray[np.int64]]) -> list[list[int]]:
    """Requests in groups, in each of which no vessel is in two."""
    groups: list[tuple[set[int], list[int]]] = []
    for i, mmsi in enumerate(vessels):
        here = set(np.unique(mmsi).tolist())
        for known, members in groups:
            if known.isdisjoint(here):
                known |= here
                members.append(i)
                break
        else:
            groups.append((here, [i]))
    return [members for _, members in groups]


# ---------------------------------------------------------------- in


def reports_of(request: ScoreRequest) -> tuple[Reports, Counts]:
    """(n,) reports of ``REPORT_DTYPE``, and the counts of what was read (sentences: lines that held none are rejected)."""
    if not isinstance(request.sentences, UnsetType):
        return _decoded(request.sentences)
    rows: list[Any] = []
    if not isinstance(request.reports, UnsetType):
        rows = request.reports
        reports = _columns(rows)
        reports["mmsi"] = [int(r.mmsi) for r in rows]
        _statics(reports, slice(None), map(attrgetter("ship_type"), rows), map(attrgetter("ship_name"), rows))
    else:
        tracks: list[TrackOfReports] = [] if isinstance(request.tracks, UnsetType) else request.tracks
        rows = [r for t in tracks for r in t.reports]
        reports = _columns(rows)
        first = 0
        for t in tracks:
            at = slice(first, first := first + len(t.reports))
            reports["mmsi"][at] = int(t.mmsi)
            _statics(reports, at, [t.ship_type] * len(t.reports), [t.ship_name] * len(t.reports))
    return reports, Counts(received=len(reports), accepted=len(reports))


def _columns(rows: list[Report]) -> Reports:
    """What every report has; AIS values for "not available" become missing, as on the topic."""
    out = np.zeros(len(rows), REPORT_DTYPE)

    def column(name: str) -> NDArray[np.float64]:
        return np.array(list(map(attrgetter(name), rows)), dtype=float)  # None -> NaN

    out["t"] = column("t")
    out["lat"], out["lon"] = known_positions(column("lat"), column("lon"))
    out["sog"] = known_speeds(column("sog"))
    out["cog"], out["heading"] = known_angles(column("cog")), known_angles(column("heading"))
    out["nav_status"] = known_codes(column("nav_status"), NAV_STATUS_MAX)
    out["msg_type"] = out["second"] = -1
    return out


def _statics(reports: Reports, at: slice, types: Iterable[float | None], names: Iterable[str | None]) -> None:
    reports["ship_type"][at] = [-1 if t is None else t for t in types]
    reports["ship_name"][at] = [clean_name(n) for n in names]


def _decoded(sentences: list[str]) -> tuple[Reports, Counts]:
    text = "\n".join(s.rstrip("\r\n") for s in sentences).encode("utf-8", "replace")
    archive = Archive(Member("sentences", io.BufferedReader(io.BytesIO(text))))
    if archive.is_table:
        raise InputError("sentences: these are the lines of a table; give AIVDM sentences with their time, or reports")
    counts, parts = Counts(), [np.zeros(0, REPORT_DTYPE)]
    for part in archive.batches(None, CHUNK_LINES, StaticMemory()):
        counts.add(part.counts)
        parts.append(part.reports)
    return np.concatenate(parts), counts


# ---------------------------------------------------------------- out


def _answer(
    model: Model, request: ScoreRequest, result: batch.BatchResult, reports: Reports, read: Counts
) -> ScoreAnswer:
    """What of ``result`` belongs to the vessels of this request."""
    own = set(np.unique(reports["mmsi"]).tolist())
    trace = result.trace[np.isin(result.trace["mmsi"], list(own))]
    mine = batch.BatchResult(
        [a for a in result.alerts if a.mmsi in own],
        [v for v in result.verdicts if v.mmsi in own],
        trace=trace,
        detector_names=result.detector_names,
    )
    # A lone ship meets nobody, and while nobody else is heard its silence says nothing: a minute-by-minute look would find nothing.
    together = batch.run_fleet(model, reports).alerts if model.patterns is not None and len(own) > 1 else []
    last = {a.alert_id: a for a in (*mine.alerts, *together)}
    anomalies = [_anomaly(model, a) for a in last.values()]
    tracks = [
        TrackAnswer(
            v.track_id,
            str(v.mmsi),
            v.verdict,  # type: ignore[arg-type]
            v.reason,
            None if v.score is None else six_digits(v.score),
            v.samples,
            v.judged_samples,
        )
        for v in batch.track_verdicts(mine)
    ]
    rejected = Counts()
    for mmsi in own:
        for reason, n in result.rejected_of.get(mmsi, {}).items():
            rejected.reject(reason, n)
    accepted = len(reports) - sum(rejected.rejected.values())
    coverage = _coverage(model, len(reports), rejected.rejected.get(Reason.OUT_OF_REGION, 0), tracks)
    for reason, n in read.rejected.items():
        rejected.reject(reason, n)
    return ScoreAnswer(
        "success",
        model.version,
        sorted(anomalies, key=lambda a: (a.timestamp, a.mmsi, a.alert_type)),
        tracks,
        _predicted(model, trace) if request.predicted else [],
        coverage,
        read.received,
        accepted,
        {str(k): n for k, n in sorted(rejected.rejected.items())},
    )


def _coverage(model: Model, n: int, outside: int, tracks: list[TrackAnswer]) -> Coverage:
    little = sum(t.reason in (NotJudged.LITTLE_KNOWN.text, NotJudged.NO_COVERAGE.text) for t in tracks)
    r = model.region
    box = f"model {model.name} knows {r.lat_min:g}..{r.lat_max:g} N, {r.lon_min:g}..{r.lon_max:g} E"
    if n and outside == n:
        return Coverage("none", outside, little, f"{box}; none of the {n} reports lie there: nothing is said of them")
    parts = []
    if outside:
        parts.append(f"{box}; {outside} of {n} reports lie elsewhere")
    if little:
        parts.append(f"{little} of {len(tracks)} tracks are where too few vessels were seen when the model was made")
    none = bool(tracks) and little == len(tracks)
    return Coverage("none" if none else "part" if parts else "all", outside, little, "; ".join(parts) or None)


def _anomaly(model: Model, alert: Alert) -> Anomaly:
    at = alert.segment_end
    custom = model.usual.custom(at.lat, at.lon)
    away = model.usual.distance_to_usual(at.lat, at.lon)
    expected = Expected(
        None if custom is None else [round(custom.sog_q1, 2), round(custom.sog_q3, 2)],
        [] if custom is None else [float(c) for c in custom.courses],
        None if away is None else round(away[0], 1),
        None if custom is None else custom.n_vessels,
    )
    return Anomaly(
        utc(alert.segment_start.t),
        utc(at.t),
        str(alert.mmsi),
        alert.track_id,
        str(alert.alert_type),
        str(alert.cause),
        six_digits(alert.score),
        alert.message,
        expected,
        [DetectorOpinion(d.name, six_digits(d.z)) for d in alert.detectors],
        alert.as_dict(),
    )


def _predicted(model: Model, trace: Trace) -> list[Predicted]:
    network = next((d for d in model.panel.detectors if isinstance(d, ResidualDetector)), None)
    if network is None:
        return []
    order = np.lexsort((trace["n"], trace["t"], trace["track_id"], trace["mmsi"]))
    samples = trace[order]
    found = network.expected(samples)

    def number(x: float, digits: int) -> float | None:
        return None if np.isnan(x) else round(float(x), digits)

    return [
        Predicted(utc(s["t"]), str(s["mmsi"]), str(s["track_id"]), number(e["lat"], 6), number(e["lon"], 6), number(e["sog"], 2), number(e["cog"], 1))
        for s, e in zip(samples, found, strict=True)
    ]  # fmt: skip


def utc(t: float) -> str:
    """ISO 8601 with Z; thousandths of a second where there are any."""
    t = round(float(t), 3)
    return datetime.fromtimestamp(t, UTC).isoformat(timespec="seconds" if t.is_integer() else "milliseconds").replace("+00:00", "Z")  # fmt: skip
