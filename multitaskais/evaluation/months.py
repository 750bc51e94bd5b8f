"""What detection found, month by month and year by year: a table of counts, and a figure of it.

A track counts in the month of its first sample, an alert in the month in which it was raised, a vessel in each month in which it has a
track (and once in the year). Months are UTC.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..records import AlertType, Status, VerdictKind
from . import plots


@dataclass
class Period:
    """Of one month or one year."""

    tracks: int = 0
    vessels: int = 0
    abnormal: int = 0  # tracks
    not_judged: Counter[str] = field(default_factory=Counter)  # tracks by reason
    alerts: Counter[str] = field(default_factory=Counter)  # by type

    @property
    def judged(self) -> int:
        return self.tracks - self.not_judged.total()

    def as_dict(self) -> dict[str, Any]:
        return {
            "tracks": self.tracks,
            "judged": self.judged,
            "not_judged": dict(sorted(self.not_judged.items())),
            "abnormal": self.abnormal,
            "vessels": self.vessels,
            "alerts": {t: self.alerts[t] for t in map(str, AlertType) if self.alerts[t]},
        }


@dataclass
class Months:
    """Grows with the months, not with tracks or alerts."""

    months: dict[str, Period] = field(default_factory=dict)
    years: dict[str, Period] = field(default_factory=dict)

    def add_tracks(self, verdicts: pa.Table) -> None:
        """Rows of ``alert_files.VERDICT_SCHEMA``, all of each vessel that is among them."""
        t, mmsi = verdicts["t_start"].to_numpy(), verdicts["mmsi"].to_numpy()
        verdict = np.asarray(verdicts["verdict"].to_pylist(), dtype=object)
        reason = np.asarray(verdicts["reason"].to_pylist(), dtype=object)
        for periods, unit in ((self.months, "M"), (self.years, "Y")):
            names = _names(t, unit)
            for name in np.unique(names).tolist():
                mine = names == name
                period = periods.setdefault(name, Period())
                period.tracks += int(mine.sum())
                period.vessels += len(np.unique(mmsi[mine]))
                period.abnormal += int((verdict[mine] == VerdictKind.ABNORMAL).sum())
                period.not_judged.update(r for r in reason[mine].tolist() if r is not None)

    @staticmethod
    def add_counts(periods: dict[str, Period], name: str, verdict: str, reason: str | None, tracks: int) -> None:
        """``tracks`` of one period with one verdict that were counted elsewhere; ``vessels`` is set by who counted."""
        period = periods.setdefault(name, Period())
        period.tracks += tracks
        if verdict == VerdictKind.ABNORMAL:
            period.abnormal += tracks
        if reason is not None:
            period.not_judged[reason] += tracks

    def add_alert(self, alert: Mapping[str, Any]) -> None:
        """A revision; all but ``raised`` are passed over."""
        if alert["status"] == Status.RAISED:
            for periods, unit in ((self.months, "M"), (self.years, "Y")):
                name = str(_names(np.array([alert["decided_at"]]), unit)[0])
                periods.setdefault(name, Period()).alerts[alert["alert_type"]] += 1

    def as_dict(self) -> dict[str, Any]:
        """``{"months": {"2026-01": {...}}, "years": {"2026": {...}}}``, in order."""
        return {
            name: {k: periods[k].as_dict() for k in sorted(periods)}
            for name, periods in (("months", self.months), ("years", self.years))
        }

    def picture(self, title: str = "") -> bytes:
        """PNG: alerts by type, tracks judged and not judged, vessels, a bar each month (each year of more than five years)."""
        periods = self.months if len(self.months) <= 60 else self.years
        names = _without_holes(sorted(periods)) if periods is self.months else sorted(periods)
        rows = [periods.get(name, Period()) for name in names]
        figure, axes = plots.new_figure(max(7.0, min(0.28 * len(names) + 4.0, 16.0)), 8.5, rows=3)
        at = np.arange(len(names))
        types = [str(t) for t in AlertType if any(r.alerts[str(t)] for r in rows)]
        alerts = [(t.replace("_", " "), [r.alerts[t] for r in rows]) for t in types]
        _stack(axes[0], at, alerts, "alerts", [COLOUR_OF[t] for t in types])
        reasons = sorted({reason for r in rows for reason in r.not_judged})
        parts = [("normal", [r.judged - r.abnormal for r in rows]), ("abnormal", [r.abnormal for r in rows])]
        parts += [
            (f"not judged: {reason.replace('_', ' ')}", [r.not_judged[reason] for r in rows]) for reason in reasons
        ]
        _stack(axes[1], at, parts, "tracks", (plots.GREEN, plots.RED, *NOT_JUDGED))
        _stack(axes[2], at, [("vessels", [r.vessels for r in rows])], "vessels", (plots.BLUE,))
        step = max(1, -(-len(names) // 24))
        for ax in axes:
            ax.set_xticks(at[::step], names[::step], rotation=45 if len(names) > 8 else 0, fontsize=8)
            ax.set_xlim(-0.6, len(names) - 0.4)
        if title:
            figure.suptitle(title, fontsize=11)
        return plots.png(figure)


NOT_JUDGED = ("#4d4d4d", "#7f7f7f", "#a6a6a6", "#c7c7c7", "#e0e0e0")
# A type has its colour whichever others there are.
COLOUR_OF = dict(zip(map(str, AlertType), (*plots.CYCLE, "#5e3c99"), strict=True))


def _stack(
    ax: Any, at: NDArray[np.int64], parts: list[tuple[str, list[int]]], label: str, colours: Sequence[str]
) -> None:
    bottom = np.zeros(len(at))
    for (name, values), colour in zip(parts, [colours[i % len(colours)] for i in range(len(parts))], strict=True):
        ax.bar(at, values, 0.8, bottom=bottom, label=name, color=colour)
        bottom += values
    ax.set_ylabel(label)
    ax.yaxis.get_major_locator().set_params(integer=True)
    ax.spines[["top", "right"]].set_visible(False)
    if len(parts) > 1:
        ax.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _names(t: NDArray[np.float64], unit: str) -> NDArray[np.str_]:
    """(n,) Unix s -> "2026-01" (M) or "2026" (Y)."""
    return np.floor(t).astype("datetime64[s]").astype(f"datetime64[{unit}]").astype(str)


def _without_holes(names: list[str]) -> list[str]:
    """Every month from the first to the last."""
    if not names:
        return []
    first, last = np.datetime64(names[0], "M"), np.datetime64(names[-1], "M")
    return np.arange(first, last + 1).astype(str).tolist()
