"""A day, or days, of traffic: reports, who sends them, and which of them are abnormal."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..config import Region
from ..errors import ConfigError
from ..records import REPORT_DTYPE
from ..types import Reports, StaticRows
from . import together
from .anomalies import Window, misreport
from .fleet import identities
from .radio import heard_twice, listen
from .settings import DAY_S, SimulationSettings
from .voyages import MIX, Lanes, abnormal


class Label(NamedTuple):
    """An abnormal ship and when it was abnormal (Unix s, first and last abnormal report)."""

    mmsi: int
    kind: str
    t_start: float
    t_end: float
    partner: int = -1  # MMSI of the other ship of a meeting

    def as_dict(self) -> dict[str, Any]:
        return {k: v for k, v in self._asdict().items() if k != "partner" or v >= 0}


class SimulatedTraffic(NamedTuple):
    reports: Reports  # (n,) REPORT_DTYPE, sorted by t, second receptions included
    statics: StaticRows  # (ships,) fleet.STATIC_DTYPE
    labels: tuple[Label, ...]  # the abnormal ships; all others are clean
    lookalikes: tuple[Label, ...] = ()  # of which no meeting, silence or zone may be told
    zones: dict[str, Any] | None = None  # GeoJSON, when there are scenes of ships together


def simulate(region: Region, settings: SimulationSettings, rng: np.random.Generator) -> SimulatedTraffic:
    """SimulatedTraffic of ``settings.days`` days; the same generator state gives the same traffic, bit for bit.

    Each ship makes one voyage. Those under way before the start or after the end are heard for their part in between.

    Raises ConfigError for a region without lanes (only ``brittany`` has some).
    """
    if region.name != "brittany":
        raise ConfigError(
            f"simulate: there are no lanes for region {region.name!r}; simulated traffic exists for brittany"
        )
    lanes = Lanes(settings.lane_shift_m, rng)
    makers, share = [m for m, _ in MIX], np.array([w for _, w in MIX])
    voyages = []
    for d in range(settings.days):
        day = settings.start + d * DAY_S
        kinds = [settings.kinds[k % len(settings.kinds)] for k in range(settings.abnormal)]
        voyages += [abnormal(lanes, day, kind, rng) for kind in kinds]
        for which in rng.choice(len(makers), settings.vessels - settings.abnormal, p=share / share.sum()):
            voyages.append(makers[which](lanes, day, rng))

    statics = identities([v.ship for v in voyages], rng)
    heard, labels = [], []
    for voyage, who in zip(voyages, statics, strict=True):
        reports = listen(voyage, who, rng)
        reports = reports[(reports["t"] >= settings.start) & (reports["t"] < settings.end)]
        if voyage.window is not None and len(reports):
            window = Window(voyage.start + voyage.window.start, voyage.start + voyage.window.end)
            if voyage.kind in ("spoof", "jump"):
                reports, window = misreport(reports, voyage.kind, window, rng)
            t = reports["t"][(reports["t"] >= window.start) & (reports["t"] <= window.end)]
            if len(t):
                labels.append(Label(int(who["mmsi"]), voyage.kind, float(t[0]), float(t[-1])))
        heard.append(reports)
    reports = np.concatenate(heard) if heard else np.empty(0, REPORT_DTYPE)
    reports = heard_twice(reports[np.argsort(reports["t"], kind="stable")], rng)
    if not settings.together:
        return _with_outages(SimulatedTraffic(reports, statics, tuple(labels)), settings)
    days = [together.scenes(lanes, settings.start + d * DAY_S, settings.together, rng) for d in range(settings.days)]
    permitted = [m for d in days for m in d.zones["features"][0]["properties"]["permitted_mmsi"]]
    zones = days[0].zones
    zones["features"][0]["properties"]["permitted_mmsi"] = permitted
    reports = np.concatenate([reports, *(d.reports for d in days)])
    traffic = SimulatedTraffic(
        reports[np.argsort(reports["t"], kind="stable")],
        np.concatenate([statics, *(d.statics for d in days)]),
        (*labels, *(Label(*row) for d in days for row in d.labels)),
        tuple(Label(*row) for d in days for row in d.lookalikes),
        zones,
    )
    return _with_outages(traffic, settings)


def _with_outages(traffic: SimulatedTraffic, settings: SimulationSettings) -> SimulatedTraffic:
    """The same ships, but a station hears nothing for a while each evening, if that is asked for."""
    if not settings.station_outage:
        return traffic
    reports, silenced = traffic.reports, []
    for d in range(settings.days):
        reports, rows = together.evening_outage(reports, settings.start + d * DAY_S)
        silenced += rows
    # A ship that did something itself is no look-alike; what nobody heard of it is not labelled.
    labels = tuple(heard for label in traffic.labels if (heard := _heard_part(label, reports)) is not None)
    done = {m for label in traffic.labels for m in (label.mmsi, label.partner)}
    lookalikes = (*traffic.lookalikes, *(Label(*row) for row in silenced if row[0] not in done))
    return traffic._replace(reports=reports, labels=labels, lookalikes=lookalikes)


def _heard_part(label: Label, reports: Reports) -> Label | None:
    """The label from the first to the last abnormal report that is left; None where none is."""
    t = reports["t"][(reports["mmsi"] == label.mmsi) & (reports["t"] >= label.t_start) & (reports["t"] <= label.t_end)]
    return label._replace(t_start=float(t[0]), t_end=float(t[-1])) if len(t) else None
