"""Officers' answers joined to the alerts that they are about: records of the topics, or lines of files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..exact import functions
from ..records import PANEL_ALERT_TYPES, AlertType
from ..types import Samples
from ..units import KM_PER_DEG_TRAINED
from .suppression import RADIUS_KM, AnswerKind, OfficerAnswer, Stretch, Suppression
from .threshold import N_TYPES, TYPES

# Those that a panel or the tracker raises; what is raised of ships together, or in a zone, is ended by its zone or its own rules.
ALERT_TYPES = frozenset(PANEL_ALERT_TYPES) - {AlertType.IDENTITY_CONFLICT}
ANSWERS = tuple(AnswerKind)  # no set: what is looked for in it may be anything
WHO_CHARS = 100


def answers_of(
    alerts: Iterable[Mapping[str, Any]], feedback: Iterable[Mapping[str, Any]], t: float
) -> tuple[list[OfficerAnswer], dict[str, int]]:
    """What was answered, each with its alert's last revision, and by reason how many answers are left aside.

    Args:
        alerts, feedback: records of the topics, in order; anything may stand in them.
        t: event time from which answers that are new act.
    """
    last = {str(a["alert_id"]): a for a in alerts if "alert_id" in a}
    found: list[OfficerAnswer] = []
    aside: dict[str, int] = {}
    for record in feedback:
        why = ""
        alert = last.get(str(record.get("alert_id")))
        if alert is None:
            why = "its alert is not on the topic any more"
        elif str(alert.get("alert_type")) not in ALERT_TYPES:
            why = f"alerts of type {alert.get('alert_type')} are not suppressed by answers"
        elif record.get("answer") not in ANSWERS:
            why = "no known answer"
        else:
            try:
                found.append(_answer(alert, record, t))
            except (KeyError, TypeError, ValueError, OverflowError):
                why = "its alert cannot be read"
        if why:
            aside[why] = aside.get(why, 0) + 1
    return found, aside


def _answer(alert: Mapping[str, Any], record: Mapping[str, Any], t: float) -> OfficerAnswer:
    begin, end = alert["segment_start"], alert["segment_end"]
    return OfficerAnswer(
        alert_id=str(alert["alert_id"]),
        answer=AnswerKind(record["answer"]),
        who=str(record.get("who") or "")[:WHO_CHARS],
        mmsi=int(alert["mmsi"]),
        alert_type=str(alert["alert_type"]),
        cause=str(alert["cause"]),
        stretch=(float(begin["lat"]), float(begin["lon"]), float(end["lat"]), float(end["lon"])),
        score=float(alert["score"]),
        t=t,
    )


def read_records(file: Path) -> list[dict[str, Any]]:
    """Lines of JSON objects: alerts as ``detect`` and ``python -m stream_operator alerts`` write them, answers as ``ais.feedback`` has them.

    Raises:
        InputError: the file, or a line of it, cannot be read.
    """
    out: list[dict[str, Any]] = []
    try:
        with file.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                try:
                    record = json.loads(line)
                except (ValueError, RecursionError):
                    raise InputError(f"{file}, line {number}: not JSON; give one object a line") from None
                if not isinstance(record, dict):
                    raise InputError(f"{file}, line {number}: not a JSON object; give one object a line")
                out.append(record)
    except (OSError, UnicodeDecodeError) as e:
        raise InputError(f"{file} cannot be read: {e}") from None
    return out


def suppressed(rules: Sequence[Suppression], samples: Samples) -> NDArray[np.bool_]:
    """(m, N_TYPES) where a suppression lies over a sample's place, for its vessel and the alert type; its times and causes are not asked for."""
    out = np.zeros((len(samples), N_TYPES), bool)
    for rule in rules:
        if rule.alert_type not in TYPES:
            continue
        mine = np.arange(len(samples)) if rule.mmsi is None else np.flatnonzero(samples["mmsi"] == rule.mmsi)
        near = _distance_km(samples["lat"][mine], samples["lon"][mine], rule.stretch) <= RADIUS_KM
        out[mine[near], TYPES.index(rule.alert_type)] = True
    return out


def _distance_km(lat: NDArray[np.float64], lon: NDArray[np.float64], stretch: Stretch) -> NDArray[np.float64]:
    """``suppression.distance_km`` of (n,) places."""
    east = KM_PER_DEG_TRAINED * functions.cos(lat)
    x = [((at - lon + 180.0) % 360.0 - 180.0) * east for at in stretch[1::2]]
    y = [(at - lat) * KM_PER_DEG_TRAINED for at in stretch[::2]]
    dx, dy = x[1] - x[0], y[1] - y[0]
    length2 = dx * dx + dy * dy
    along = np.clip(-(x[0] * dx + y[0] * dy) / np.where(length2 > 0, length2, 1.0), 0.0, 1.0)
    return functions.hypot(x[0] + along * dx, y[0] + along * dy)
