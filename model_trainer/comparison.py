"""Two models on the same days: what share of the tracks each flags, how far they agree, and what both make of officers' answers.

Shares and agreement rest on the vessels of the test split, which no model was made from. Answers are about any vessel: what a model saw
of an answered vessel while it was made can only make it say less of it, so a new model is not favoured.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from multitaskais.detection.answers import read_records
from multitaskais.detection.suppression import AnswerKind
from multitaskais.export import latest_revisions
from multitaskais.model.samples import Split, split_of
from multitaskais.records import Status, VerdictKind


@dataclass(frozen=True, slots=True)
class Stretch:
    """What one alert is about; ``start``, ``end``: Unix s, ``end`` with the moment of its decision."""

    mmsi: int
    alert_type: str
    start: float
    end: float

    @classmethod
    def of(cls, alert: Mapping[str, Any]) -> Stretch:
        """Raises ``KeyError``, ``TypeError`` or ``ValueError`` where it is no alert."""
        start, end = float(alert["segment_start"]["t"]), float(alert["segment_end"]["t"])
        return cls(int(alert["mmsi"]), str(alert["alert_type"]), start, max(end, float(alert["decided_at"])))

    def overlaps(self, other: Stretch) -> bool:
        """The same vessel at the same time."""
        return self.mmsi == other.mmsi and self.start <= other.end and other.start <= self.end

    def repeats(self, other: Stretch) -> bool:
        return self.alert_type == other.alert_type and self.overlaps(other)


@dataclass(frozen=True, slots=True)
class Judged:
    """What one model says of the days.

    Attributes:
        flagged: of each judged track of a vessel of the test split, by track id, whether an alert was raised.
        alerts: of all vessels; none that was retracted.
        first, last: of all tracks, Unix s; NaN without any.
    """

    flagged: Mapping[str, bool]
    alerts: Sequence[Stretch]
    first: float = math.nan
    last: float = math.nan

    @classmethod
    def read(cls, folder: Path) -> Judged:
        """From what ``multitaskais detect`` wrote."""
        table = pq.read_table(folder / "verdicts.parquet")
        rows = table.select(["track_id", "mmsi", "verdict", "t_start", "t_end"]).to_pydict()
        held_out = split_of(table["mmsi"].to_numpy()) == Split.TEST
        flagged = {
            track: verdict == VerdictKind.ABNORMAL
            for track, verdict, held in zip(rows["track_id"], rows["verdict"], held_out.tolist(), strict=True)
            if held and verdict != VerdictKind.NOT_JUDGED
        }
        last = latest_revisions(read_records(folder / "alerts.jsonl"))
        alerts = tuple(Stretch.of(a) for a in last if a["status"] != Status.RETRACTED)
        return cls(flagged, alerts, min(rows["t_start"], default=math.nan), max(rows["t_end"], default=math.nan))


@dataclass(frozen=True, slots=True)
class Answered:
    """Alerts that officers called real, and those that they called normal where they were; of each alert the last answer counts."""

    real: tuple[Stretch, ...] = ()
    normal_here: tuple[Stretch, ...] = ()

    @classmethod
    def of(cls, alerts: Iterable[Mapping[str, Any]], answers: Iterable[Mapping[str, Any]]) -> Answered:
        """Records of ``ais.alerts`` and ``ais.feedback``, in order; anything may stand in them. An answer without its alert is left out."""
        about: dict[str, Stretch] = {}
        for alert in alerts:
            try:
                about[str(alert["alert_id"])] = Stretch.of(alert)
            except (KeyError, TypeError, ValueError):
                continue
        last = {str(r.get("alert_id")): r.get("answer") for r in answers}

        def those(answer: AnswerKind) -> tuple[Stretch, ...]:
            return tuple(about[name] for name, said in last.items() if said == answer and name in about)

        return cls(those(AnswerKind.REAL), those(AnswerKind.NORMAL_HERE))

    @classmethod
    def read(cls, compare: Mapping[str, Any]) -> Answered:
        """The files that ``[compare]`` of a conf names; empty where it names none. Raises ``InputError``."""
        if not compare.get("answers"):
            return cls()
        return cls.of(read_records(Path(compare["alerts"])), read_records(Path(compare["answers"])))


def compare(latest: Judged, new: Judged, answered: Answered) -> dict[str, Any]:
    """The figures as JSON, by name; None where there is nothing to rest on.

    ``agreement``: share of the tracks that both judged on which both say the same. ``alerts_in_common``: alerts of the new model for which
    the latest has one of the same vessel and type at the same time.
    """
    both = latest.flagged.keys() & new.flagged.keys()
    same = sum(latest.flagged[track] == new.flagged[track] for track in both)
    by_vessel = _by_vessel(latest.alerts), _by_vessel(new.alerts)
    # What was answered of other days, neither could raise.
    real, normal = (
        [a for a in answers if a.start <= new.last and new.first <= a.end]
        for answers in (answered.real, answered.normal_here)
    )

    def found(alerts: Mapping[int, list[Stretch]]) -> int:
        return sum(any(a.overlaps(r) for a in alerts.get(r.mmsi, ())) for r in real)

    def repeated(alerts: Mapping[int, list[Stretch]]) -> int:
        return sum(any(a.repeats(r) for a in alerts.get(r.mmsi, ())) for r in normal)

    return {
        "tracks": len(both),
        "flagged": _share(sum(new.flagged[track] for track in both), len(both)),
        "flagged_by_latest": _share(sum(latest.flagged[track] for track in both), len(both)),
        "agreement": _share(same, len(both)),
        "alerts": len(new.alerts),
        "alerts_of_latest": len(latest.alerts),
        "alerts_in_common": sum(any(a.repeats(b) for b in by_vessel[0].get(a.mmsi, ())) for a in new.alerts),
        "answered_real": len(real),
        "real_raised": found(by_vessel[1]),
        "real_raised_by_latest": found(by_vessel[0]),
        "answered_normal_here": len(normal),
        "normal_here_raised": repeated(by_vessel[1]),
        "normal_here_raised_by_latest": repeated(by_vessel[0]),
    }


def doubts(figures: Mapping[str, Any], limits: Mapping[str, Any]) -> list[str]:
    """Why a person should decide on the new model, though its other figures are better; empty when there is no reason.

    Args:
        figures: of ``compare``.
        limits: ``[compare]`` of the conf.
    """
    why = []
    agreement, least = figures["agreement"], limits["agreement_min"]
    if agreement is None:
        why.append("no track of these days was judged by both models")
    elif agreement < least:
        why.append(f"both models say the same of {agreement:.0%} of the tracks, less than {least:.0%}")
    kept, before = figures["real_raised"], figures["real_raised_by_latest"]
    if kept < limits["real_kept_min"] * before:
        why.append(f"of {before} alerts that officers called real and the latest raises, this one raises {kept}")
    repeated, before = figures["normal_here_raised"], figures["normal_here_raised_by_latest"]
    if repeated > before:
        why.append(f"it raises {repeated} alerts that officers called normal there, the latest {before}")
    return why


def _by_vessel(alerts: Iterable[Stretch]) -> dict[int, list[Stretch]]:
    found: dict[int, list[Stretch]] = {}
    for a in alerts:
        found.setdefault(a.mmsi, []).append(a)
    return found


def _share(n: int, of: int) -> float | None:
    return n / of if of else None
