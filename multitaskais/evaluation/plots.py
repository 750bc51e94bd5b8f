"""Pictures of an evaluation. Each function returns PNG bytes; matplotlib is loaded when one is asked for.

Colours are Okabe and Ito's, which colour-blind people can tell apart.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..config import Region
from ..data import coastline
from ..units import M_PER_DEG
from . import metrics
from .evaluate import Outcome
from .kinds import vessel_class
from .labelled import CLEAN

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, RED, GREEN, PINK, SKY, GREY = "#0072B2", "#E69F00", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#999999"
CYCLE = (BLUE, ORANGE, GREEN, RED, PINK, SKY, "#F0E442", "#000000", GREY)
LAND, SEA, SHORE = "#e8e4da", "#f7fafc", "#8c877b"
STRANGEST = 20


def new_figure(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple[Figure, Any]:
    """A figure of its own, without the global state of pyplot. ``axes`` as ``Figure.subplots`` gives them."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns)


def png(figure: Figure, dpi: int = 110) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=dpi, metadata={"Software": None})
    return out.getvalue()


def draw_land(ax: Axes, region: Region, box: tuple[float, float, float, float] | None = None) -> None:
    """Land in grey, the axes cut to ``box`` (lon_min, lon_max, lat_min, lat_max; the region's by default), true proportions."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    lon_min, lon_max, lat_min, lat_max = box or (region.lon_min, region.lon_max, region.lat_min, region.lat_max)
    ax.set_facecolor(SEA)
    if rings := coastline(region):
        codes = [np.r_[Path.MOVETO, np.full(len(r) - 2, Path.LINETO), Path.CLOSEPOLY] for r in rings]
        path = Path(np.concatenate(rings), np.concatenate(codes))
        ax.add_patch(PathPatch(path, facecolor=LAND, edgecolor=SHORE, linewidth=0.6, zorder=1))
    ax.set_xlim(lon_min, lon_max)
    ax.set_ylim(lat_min, lat_max)
    ax.set_aspect(1.0 / np.cos(np.radians(0.5 * (lat_min + lat_max))))


def degree_labels(ax: Axes) -> None:
    from matplotlib.ticker import FuncFormatter

    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{abs(x):g}°{'W' if x < 0 else 'E'}"))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{abs(y):g}°{'S' if y < 0 else 'N'}"))
    ax.tick_params(labelsize=8, color=SHORE)


def roc_curves(result: Outcome) -> bytes:
    """All kinds together against the clean tracks: the fusion, and each detector alone."""
    kind = result.labelled.tracks["kind"]
    clean = kind == CLEAN
    figure, ax = new_figure(7.5, 6)
    for i, view in enumerate((result.fused, *result.detectors)):
        x, y = metrics.roc(view.score[~clean], view.score[clean])
        ax.step(
            x, y, where="post", label=view.name, color="black" if i == 0 else CYCLE[(i - 1) % len(CYCLE)],
            linewidth=2.4 if i == 0 else 1.3,
        )  # fmt: skip
    ax.plot([0, 1], [0, 1], ":", color=GREY, linewidth=1, label="by chance")
    ax.axvline(0.05, color=GREY, linewidth=0.8, linestyle="--")
    ax.text(0.055, 0.01, "5 % of clean tracks", fontsize=8, color="#555555")
    shipped = (
        float(result.fused.flagged[clean].mean()) if clean.any() else np.nan,
        float(result.fused.flagged[~clean].mean()) if (~clean).any() else np.nan,
    )
    ax.plot(*shipped, "o", color=RED, markersize=8, label="fused, at the shipped threshold")
    ax.set(
        xlabel="share of clean tracks flagged", ylabel="share of abnormal tracks found", xlim=(-0.01, 1), ylim=(0, 1.01)
    )
    ax.set_title("Every abnormal track against every clean track", loc="left", fontsize=11)
    ax.legend(loc="lower right", fontsize=8, frameon=False)
    _plain(ax)
    return png(figure)


def recall_bars(fused: dict[str, Any]) -> bytes:
    """Recall of each kind at 1 %, 5 % of clean tracks flagged and at the shipped threshold; ``fused`` from ``report.json``."""
    kinds = sorted(fused["per_kind"], key=lambda k: fused["per_kind"][k]["recall_at_5pct"])
    figure, ax = new_figure(8, 0.9 + 0.62 * max(len(kinds), 1))
    at = np.arange(len(kinds))
    bars = (("recall_at_1pct", "1 % of clean tracks flagged", SKY), ("recall_at_5pct", "5 % of clean tracks flagged", BLUE), ("recall", "shipped threshold", ORANGE))  # fmt: skip
    for j, (name, label, colour) in enumerate(bars):
        values = np.array([fused["per_kind"][k][name] for k in kinds], float)
        drawn = ax.barh(at + 0.27 * (1 - j), np.nan_to_num(values), 0.25, color=colour, label=label)
        ax.bar_label(drawn, [f"{v:.2f}" for v in values], fontsize=7, padding=2)
    ax.set_yticks(at, kinds)
    ax.set(xlim=(0, 1.08), xlabel="share of the tracks of this kind that were found")
    ax.legend(loc="lower right", fontsize=8)
    ax.set_title("What is found, by kind", loc="left", fontsize=11)
    _plain(ax)
    return png(figure)


def false_alarm_map(result: Outcome, region: Region) -> bytes:
    """All clean tracks, and where alerts were raised on them."""
    tracks, trace = result.labelled.tracks, result.trace
    kind = tracks["kind"][np.searchsorted(tracks["key"], trace["mmsi"])]
    mine = trace[kind == CLEAN]
    width = 10.0
    ratio = (region.lat_max - region.lat_min) / (region.lon_max - region.lon_min) / np.cos(np.radians(0.5 * (region.lat_min + region.lat_max)))  # fmt: skip
    figure, ax = new_figure(width, min(max(width * ratio, 4.0), 11.0))
    draw_land(ax, region)
    degree_labels(ax)
    for key in np.unique(mine["mmsi"]):
        t = mine[mine["mmsi"] == key]
        ax.plot(t["lon"], t["lat"], "-", color=BLUE, alpha=0.35, linewidth=0.6, zorder=2)
    causes: dict[str, list[tuple[float, float]]] = {}
    seen: set[str] = set()
    for alert in result.alerts:
        i = int(np.searchsorted(tracks["key"], alert.mmsi))
        if tracks["kind"][i] == CLEAN and alert.alert_id not in seen:
            seen.add(alert.alert_id)
            causes.setdefault(str(alert.cause), []).append((alert.segment_end.lon, alert.segment_end.lat))
    for j, (cause, places) in enumerate(sorted(causes.items())):
        x, y = np.array(places).T
        ax.plot(x, y, "o", color=(RED, ORANGE, GREEN, PINK, "#000000", SKY, "#F0E442", GREY)[j % 8], markeredgecolor="white", markersize=7, label=f"{cause} ({len(x)})", zorder=4)  # fmt: skip
    n = int((kind == CLEAN).any() and (tracks["kind"] == CLEAN).sum())
    ax.set_title(f"False alarms: {len(seen)} alerts on {n} clean tracks", loc="left", fontsize=11)
    if causes:
        ax.legend(loc="best", fontsize=8)
    return png(figure)


def strangest_clean(result: Outcome, region: Region) -> bytes:
    """The clean tracks with the highest fused scores, to look at: colour is the score of each sample."""
    from matplotlib.collections import LineCollection
    from matplotlib.colors import LinearSegmentedColormap

    tracks = result.labelled.tracks
    rows = np.flatnonzero((tracks["kind"] == CLEAN) & np.isfinite(result.fused.score))
    rows = rows[np.argsort(-result.fused.score[rows], kind="stable")][:STRANGEST]
    columns = 4
    lines = max(1, -(-len(rows) // columns))
    figure, axes = new_figure(15, 3.9 * lines, lines, columns)
    flat = np.atleast_1d(axes).ravel()
    colours = LinearSegmentedColormap.from_list("score", [BLUE, "#b7c9d6", ORANGE, RED])
    drawn: Any = None
    for ax, i in zip(flat, rows, strict=False):
        samples = result.trace[result.trace["mmsi"] == tracks["key"][i]]
        lat, lon = samples["lat"], samples["lon"]
        if len(lat) == 0:
            r = result.labelled.reports[result.labelled.reports["mmsi"] == tracks["key"][i]]
            lat, lon = r["lat"], r["lon"]
            ax.plot(lon, lat, ".", color=BLUE, markersize=2)
        squeeze = float(np.cos(np.radians(np.mean(lat))))
        half = 0.55 * max(float(np.ptp(lat)), float(np.ptp(lon)) * squeeze, 0.03)
        y, x = 0.5 * (lat.max() + lat.min()), 0.5 * (lon.max() + lon.min())
        draw_land(ax, region, (x - half / squeeze, x + half / squeeze, y - half, y + half))
        if len(samples) > 1:
            points = np.stack([lon, lat], axis=1)
            score = np.where(samples["judged"], samples["score"], np.nan)
            drawn = LineCollection(
                list(np.stack([points[:-1], points[1:]], axis=1)), cmap=colours, linewidths=2, zorder=3,
            )  # fmt: skip
            drawn.set_array(np.ma.masked_invalid(score[1:]))
            drawn.set_clim(0.0, 1.5)
            ax.plot(lon, lat, "-", color=GREY, linewidth=0.8, zorder=2)
            ax.add_collection(drawn)
            ax.plot(lon[0], lat[0], "o", color=GREEN, markersize=5, zorder=4)
        _scale_bar(ax, half)
        ax.set_xticks([])
        ax.set_yticks([])
        cause = f", {result.cause[i]}" if result.cause[i] else ""
        hours = (tracks["t_last"][i] - tracks["t_first"][i]) / 3600.0
        ax.set_title(
            f"{result.fused.score[i]:.2f}{cause}\n{vessel_class(int(tracks['ship_type'][i]))}, {hours:.0f} h, near {result.near[i]:.0f} others",
            fontsize=8.5, loc="left",
        )  # fmt: skip
    for ax in flat[len(rows) :]:
        ax.set_axis_off()
    if drawn is not None:
        bar = figure.colorbar(drawn, ax=list(flat), shrink=0.5, pad=0.01)
        bar.set_label("score / threshold (1 raises an alert); green dot: start; grey: not judged", fontsize=9)
    return png(figure, 80)


def _scale_bar(ax: Axes, half_deg: float) -> None:
    """A bar of a round length in the lower left corner."""
    km_high = 2 * half_deg * M_PER_DEG / 1000.0
    km = max(k for k in (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if k <= max(0.3 * km_high, 0.5))
    ax.plot(
        [0.05, 0.05 + km / km_high], [0.05, 0.05], "-", color="black", linewidth=2, transform=ax.transAxes, zorder=5
    )
    ax.text(0.05, 0.07, f"{km:g} km", fontsize=7, transform=ax.transAxes, zorder=5)


def _plain(ax: Axes) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(color="#dddddd", linewidth=0.5)
    ax.set_axisbelow(True)


def all_plots(result: Outcome, fused: dict[str, Any], region: Region) -> dict[str, bytes]:
    """File name -> PNG."""
    return {
        "roc.png": roc_curves(result),
        "recall_per_kind.png": recall_bars(fused),
        "false_alarms.png": false_alarm_map(result, region),
        "strangest_clean.png": strangest_clean(result, region),
    }


def track_lines(
    lon: NDArray[np.float64], lat: NDArray[np.float64], t: NDArray[np.float64], gap_s: float
) -> list[NDArray[np.float64]]:
    """Cut a track where it was silent for longer than ``gap_s``: [(k, 2) lon, lat]."""
    cuts = np.flatnonzero(np.diff(t) > gap_s) + 1
    return [part for part in np.split(np.stack([lon, lat], axis=1), cuts) if len(part) > 1]
