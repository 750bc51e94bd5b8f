"""Labelled events of the user against alerts: what was found of what really happened, and how many alerts were of use.

Events are a table (CSV with a header, or one JSON object a line) of ``mmsi``, ``from``, ``to`` and, if wanted, ``kind``; or officers'
answers, records of ``ais.feedback``. Times may be written in any way that archives have them.

- An event is *found* when an alert of its vessel overlaps it: the alert's stretch and the moment of its decision against from and to.
- *Hours to alert*: from the event's beginning to the first decision after it.
- *Precision* rests on answers: of the alerts that were answered *real* or *normal here*, the share of *real*. The last answer counts.
- Alerts outside of every event are counted, and are not called wrong: nobody has labelled them.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..detection.answers import read_records
from ..errors import InputError
from ..export import latest_revisions
from ..times import read_time

NEEDED = ("mmsi", "from", "to")


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a vessel; ``start``, ``end``: Unix s."""

    mmsi: int
    start: float
    end: float
    kind: str


@dataclass(frozen=True, slots=True)
class Labels:
    """What the user knows: events, or answers by alert id."""

    events: tuple[Event, ...] = ()
    answers: Mapping[str, str] | None = None


def read_labels(file: Path) -> Labels:
    """Events or answers.

    Raises:
        InputError: naming the line and what is wrong with it.
    """
    rows = read_records(file) if file.suffix.lower() in (".jsonl", ".ndjson", ".json") else _csv(file)
    if not rows:
        raise InputError(f"{file}: nothing in it; give events (mmsi, from, to, kind) or answers (alert_id, answer)")
    if "alert_id" in rows[0] and "answer" in rows[0]:
        return Labels(answers={str(r.get("alert_id")): str(r.get("answer")) for r in rows})
    return Labels(events=tuple(_event(file, number, row) for number, row in enumerate(rows, 1)))


def _csv(file: Path) -> list[dict[str, Any]]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            return [{str(k).strip().lower(): v for k, v in row.items()} for row in csv.DictReader(lines)]
    except (OSError, UnicodeDecodeError, csv.Error) as e:
        raise InputError(f"{file} cannot be read as a table: {e}") from None


def _event(file: Path, number: int, row: Mapping[str, Any]) -> Event:
    if missing := [name for name in NEEDED if row.get(name) in (None, "")]:
        raise InputError(
            f"{file}, event {number}: no {missing[0]!r}; an event has {', '.join(NEEDED)} and may have kind"
        )
    start, end = read_time(str(row["from"])), read_time(str(row["to"]))
    if math.isnan(start) or math.isnan(end) or end < start:
        raise InputError(
            f"{file}, event {number}: from {str(row['from'])[:40]!r} to {str(row['to'])[:40]!r} is no span of time; write 2026-01-03T12:00"
        )
    mmsi = str(row["mmsi"]).strip()
    if not (mmsi.isascii() and mmsi.isdigit() and len(mmsi) <= 9):
        raise InputError(f"{file}, event {number}: {mmsi[:40]!r} is no MMSI")
    return Event(int(mmsi), start, end, str(row.get("kind") or "event"))


def compare(labels: Labels, alerts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The figures; NaN where there is nothing to rest on. ``alerts``: revisions in any order."""
    revisions = [a for a in alerts if not a.get("challenger")]
    last = {str(a["alert_id"]): a for a in latest_revisions(revisions) if a.get("status") != "retracted"}
    if labels.answers is not None:
        return _by_answers(labels.answers, last)
    decided: dict[str, list[float]] = {}
    for a in revisions:
        if a.get("status") in ("raised", "updated"):
            decided.setdefault(str(a["alert_id"]), []).append(float(a["decided_at"]))
    by_ship: dict[int, list[str]] = {}
    for name, a in last.items():
        by_ship.setdefault(int(a["mmsi"]), []).append(name)
    found: list[tuple[Event, float | None]] = []  # with hours to the alert, None where it was not found
    of_use: set[str] = set()
    for event in labels.events:
        mine = [n for n in by_ship.get(event.mmsi, ()) if _overlaps(event, last[n])]
        of_use.update(mine)
        after = [t for n in mine for t in decided.get(n, ()) if t >= event.start]
        found.append((event, (min(after) - event.start) / 3600.0 if after else math.nan if mine else None))
    kinds = sorted({e.kind for e in labels.events})
    return {
        "events": len(found),
        "found": sum(hours is not None for _, hours in found),
        "recall": sum(hours is not None for _, hours in found) / len(found) if found else math.nan,
        "median_hours_to_alert": _median([h for _, h in found if h is not None and math.isfinite(h)]),
        "alerts": len(last),
        "alerts_outside_events": len(last) - len(of_use),
        "per_kind": {
            kind: {
                "events": sum(e.kind == kind for e, _ in found),
                "found": sum(e.kind == kind and hours is not None for e, hours in found),
            }
            for kind in kinds
        },
    }


def _overlaps(event: Event, alert: Mapping[str, Any]) -> bool:
    begin, end = (float(alert[k]["t"]) for k in ("segment_start", "segment_end"))
    return begin <= event.end and event.start <= max(end, float(alert["decided_at"]))


def _by_answers(answers: Mapping[str, str], last: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    said = {name: answers[name] for name in last if name in answers}

    def of(names: Sequence[str]) -> dict[str, Any]:
        real = sum(said[n] == "real" for n in names)
        normal = sum(said[n] == "normal_here" for n in names)
        return {"real": real, "normal_here": normal, "precision": real / (real + normal) if real + normal else math.nan}

    types = sorted({str(last[n]["alert_type"]) for n in said})
    return {
        "alerts": len(last),
        "answered": len(said),
        "answers_without_alert": len(set(answers) - set(last)),
        **of(list(said)),
        "per_type": {t: of([n for n in said if str(last[n]["alert_type"]) == t]) for t in types},
    }


def _median(hours: Sequence[float]) -> float:
    return float(np.median(hours)) if hours else math.nan


def table(figures: Mapping[str, Any]) -> str:
    """For the screen."""

    def number(x: float) -> str:
        return "–" if math.isnan(x) else f"{x:.2f}"

    if "events" in figures:
        lines = [
            f"{figures['found']} of {figures['events']} events found (recall {number(figures['recall'])}), median"
            f" {number(figures['median_hours_to_alert'])} h to the alert; {figures['alerts_outside_events']} of {figures['alerts']} alerts lie outside of every event"
        ]
        return "\n".join(
            [*lines, *(f"{k:>20}  found {b['found']} of {b['events']}" for k, b in figures["per_kind"].items())]
        )
    lines = [
        f"{figures['answered']} of {figures['alerts']} alerts answered: {figures['real']} real, {figures['normal_here']} normal here, precision {number(figures['precision'])}"
    ]
    return "\n".join(
        [
            *lines,
            *(f"{t:>20}  {b['real']} real, {b['normal_here']} normal here" for t, b in figures["per_type"].items()),
        ]
    )
