"""An evaluation as files: ``report.json``, the pictures, and one self-contained ``report.html``."""

from __future__ import annotations

import base64
import html
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HEADINGS = (
    ("auroc", "AUROC"),
    ("average_precision", "AP"),
    ("recall_at_1pct", "recall at 1 %"),
    ("recall_at_5pct", "recall at 5 %"),
    ("recall", "recall as shipped"),
    ("clean_flagged", "clean flagged"),
    ("alerts_per_vessel_day", "alerts / vessel-day"),
    ("median_hours_to_alert", "hours to alert"),
)
GROUP_HEADINGS = (
    ("clean_tracks", "clean tracks"),
    ("abnormal_tracks", "abnormal tracks"),
    ("auroc", "AUROC"),
    ("recall_at_5pct", "recall at 5 %"),
    ("recall", "recall as shipped"),
    ("clean_flagged", "clean flagged"),
)
CAPTIONS = {
    "roc.png": "Every abnormal track against every clean one. Tracks that were not judged count on both axes and are never flagged.",
    "recall_per_kind.png": "Share of each kind's tracks that was found.",
    "false_alarms.png": "Clean tracks, and the places where alerts were raised on them.",
    "strangest_clean.png": "The clean tracks with the highest scores. Some of them may be strange indeed: look at them.",
}
STYLE = """
:root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;margin:.5rem 0 1.5rem;font-variant-numeric:tabular-nums;display:block;overflow-x:auto}
th,td{padding:.25rem .7rem;text-align:right;border-bottom:1px solid #8884;white-space:nowrap}th:first-child,td:first-child{text-align:left}
thead th{border-bottom:2px solid #888}img{max-width:100%;background:#fff}figure{margin:1.5rem 0}figcaption,small{color:#777}
tr.all td{font-weight:600}
"""


def plain(value: Any) -> Any:
    """JSON values: NaN and infinities become null, floats keep 6 significant digits."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value


def write(report: dict[str, Any], plots: dict[str, bytes], folder: Path) -> list[Path]:
    """Write all files into ``folder`` (made when absent) and return their paths, ``report.json`` first."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / "report.json", folder / "report.html"]
    files[0].write_text(json.dumps(plain(report), indent=1, allow_nan=False) + "\n")
    files[1].write_text(page(report, plots), encoding="utf-8")
    for name, data in plots.items():
        files.append(folder / name)
        files[-1].write_bytes(data)
    return files


def number(value: Any) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def kept(block: Mapping[str, Any]) -> str:
    """``evaluate.budget_kept`` as a clause."""
    ratio = block["ratio"]
    if ratio is None or not math.isfinite(ratio):
        return f"{block['set']:g} set; no clean track to compare with"
    low, high = block["clean_flagged_interval_90"]
    text = f"{block['seen']:.3f} seen, {block['set']:g} set: {ratio:.2f} times"
    if block["within"] is None:
        return text
    covers = "covers" if block["within"] else "does not cover"
    return f"{text}; the 90 % interval by vessel, {low:.3f} to {high:.3f}, {covers} it"


def table(
    rows: dict[str, dict[str, Any]], headings: tuple[tuple[str, str], ...], first: str, top: str | None = None
) -> str:
    head = "".join(f"<th>{html.escape(h)}</th>" for h in (first, *(h for _, h in headings)))
    body = "".join(
        f"<tr{' class=all' if name == top else ''}><td>{html.escape(name)}</td>"
        + "".join(f"<td>{number(row.get(key))}</td>" for key, _ in headings)
        + "</tr>"
        for name, row in rows.items()
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def page(report: dict[str, Any], plots: dict[str, bytes]) -> str:
    """One HTML file that needs nothing else."""
    fused = report["fused"]
    intervals = {
        name: f"{number(fused.get(name))} ({number(low)} to {number(high)})"
        for name, (low, high) in fused.get("intervals_95", {}).items()
    }
    labels = dict(HEADINGS)
    summary = "".join(f"<tr><td>{html.escape(labels.get(k, k))}</td><td>{v}</td></tr>" for k, v in intervals.items())
    rejected = ", ".join(f"{html.escape(k)} {n}" for k, n in report["reports_rejected"].items()) or "none"
    not_judged = ", ".join(f"{html.escape(k)} {n}" for k, n in report["not_judged"].items()) or "none"
    causes = fused["causes"]
    at_5pct = fused.get("at_development_5pct", {})
    called = "".join(
        f"<tr><td>{html.escape(kind)}</td><td>{', '.join(f'{html.escape(c)} {n}' for c, n in sorted(said.items(), key=lambda x: -x[1])) or '–'}</td></tr>"
        for kind, said in causes["per_kind"].items()
    )
    pictures = "".join(
        f'<figure><img alt="{html.escape(CAPTIONS.get(name, name))}" src="data:image/png;base64,{base64.b64encode(data).decode()}">'
        f"<figcaption>{html.escape(CAPTIONS.get(name, name))}</figcaption></figure>"
        for name, data in plots.items()
    )
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Evaluation of {html.escape(str(report.get("model", "")))}</title><style>{STYLE}</style>
<h1>Evaluation of {html.escape(str(report.get("model", "")))}</h1>
<p>{report["clean_tracks"]} clean and {report["abnormal_tracks"]} abnormal tracks, {report["reports"]} reports,
{report["clean_vessel_days"]:.1f} clean vessel-days. Not judged: {not_judged}; they count as not flagged and stay in every denominator.
Reports left out of their tracks: {rejected}.</p>
<p>Each kind is held against all clean tracks; the figures of the whole are unweighted means over the kinds.
Recall at 1 % and 5 %: at the threshold that no more than this share of the clean tracks exceeds.</p>
<h2>All detectors together</h2>
<table><thead><tr><th>figure</th><th>value (95 % interval over tracks)</th></tr></thead><tbody>{summary}</tbody></table>
<p>At the threshold that 5 % of the development tracks exceed: {number(at_5pct.get("clean_flagged"))} of these clean tracks flagged,
recall {number(at_5pct.get("recall"))} (mean over kinds).</p>
<p>Budget: {html.escape(kept(report["budget_kept"])) if "budget_kept" in report else "–"}.</p>
<p>Cause named right: {number(causes["named_right"])} of {causes["tracks"]} flagged abnormal tracks.</p>
<h2>By kind</h2>{table(fused["per_kind"], HEADINGS, "kind")}
<h2>By detector</h2>{table({"fused": fused, **report["detectors"]}, HEADINGS, "detector", "fused")}
<h2>By class of ship</h2>{table(fused["per_class"], GROUP_HEADINGS, "class")}
<h2>By number of other ships that pass within 2 km</h2>{table(fused["per_vessels_nearby"], GROUP_HEADINGS, "ships")}
<h2>What the alerts said</h2><table><thead><tr><th>kind</th><th>causes named</th></tr></thead><tbody>{called}</tbody></table>
{pictures}
</html>
"""
