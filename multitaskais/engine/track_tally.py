"""What is said of whole tracks, gathered while an archive is judged, so that no sample has to be kept."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from ..records import Alert, NotJudged, VerdictKind
from .events import StepTrace


class TrackVerdict(NamedTuple):
    """What is said of a whole track."""

    track_id: str
    mmsi: int
    t_start: float  # of its first sample
    t_end: float  # of its last sample
    samples: int
    judged_samples: int
    verdict: VerdictKind
    reason: str | None  # of its last sample, when no sample was judged
    score: float | None  # greatest score / threshold
    alerts: int


class _Seen:
    __slots__ = ("judged", "mmsi", "reason", "samples", "score", "t_end", "t_start")

    def __init__(self, mmsi: int, t: float) -> None:
        self.mmsi = mmsi
        self.t_start = self.t_end = t
        self.samples = self.judged = self.reason = 0
        self.score = -math.inf


class TrackTally:
    """Grows with the tracks, not with their samples. The samples of a track come in order of time, as the engine gives them."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}
        self._alerts: dict[str, set[str]] = {}

    def add(self, traces: Iterable[StepTrace], alerts: Iterable[Alert]) -> None:
        """What one run of reports led to."""
        for track_ids, samples, result in traces:
            columns = (samples["mmsi"], samples["t"], result.judged, result.reason, result.score)
            for track_id, mmsi, t, judged, reason, score in zip(track_ids, *(c.tolist() for c in columns), strict=True):
                seen = self._seen.get(track_id)
                if seen is None:
                    seen = self._seen[track_id] = _Seen(mmsi, t)
                seen.t_end = t
                seen.samples += 1
                seen.judged += judged
                seen.reason = reason
                if seen.score < score < math.inf:
                    seen.score = score
        self.add_alerts(alerts)

    def add_track(
        self,
        track_id: str,
        mmsi: int,
        t_start: float,
        t_end: float,
        samples: int,
        judged: int,
        reason: int,
        score: float,
    ) -> None:
        """A whole track at once; ``reason`` of its last sample, ``score`` the greatest or -inf."""
        seen = self._seen[track_id] = _Seen(mmsi, t_start)
        seen.t_end, seen.samples, seen.judged, seen.reason, seen.score = t_end, samples, judged, reason, score

    def add_alerts(self, alerts: Iterable[Alert]) -> None:
        for alert in alerts:
            self._alerts.setdefault(alert.track_id, set()).add(alert.alert_id)

    def verdicts(self) -> list[TrackVerdict]:
        """One row a track with at least one sample, by track id."""
        out = []
        for track_id in sorted(self._seen):
            s = self._seen[track_id]
            n_alerts = len(self._alerts.get(track_id, ()))
            judged = s.judged > 0 or n_alerts > 0
            out.append(
                TrackVerdict(
                    track_id,
                    s.mmsi,
                    s.t_start,
                    s.t_end,
                    s.samples,
                    s.judged,
                    VerdictKind.of(abnormal=n_alerts > 0, judged=judged),
                    None if judged else NotJudged(s.reason).text,
                    s.score if s.score > -math.inf else None,
                    n_alerts,
                )
            )
        return out
