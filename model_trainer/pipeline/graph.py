"""A run as a picture: its steps from left to right, each after those that it needs, with state and time; SVG, or a page with a table."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

WIDTH, HEIGHT, GAP_X, GAP_Y, MARGIN = 150, 62, 44, 18, 20  # px
COLOURS = {
    "done": ("#e3f3e6", "#2e7d32"),
    "skipped": ("#e8eef7", "#3b6ea8"),
    "running": ("#fff5da", "#b27a00"),
    "waiting": ("#f4f4f4", "#8a8a8a"),
    "refused": ("#fdeee2", "#c25a00"),
    "failed": ("#fde8e8", "#b3261e"),
}
STYLE = "body{font:14px sans-serif;margin:24px;color:#1c1c1c}table{border-collapse:collapse}td,th{border-bottom:1px solid #ddd;padding:4px 12px 4px 0;text-align:left;vertical-align:top}code{font-size:12px}"


def svg(run: Mapping[str, Any]) -> str:
    """``run`` is what ``Results.run`` gives."""
    steps = run["steps"]
    column: dict[str, int] = {}
    for s in steps:  # in an order in which each comes after those that it needs
        column[s["step"]] = 1 + max((column.get(a, -1) for a in s["after"]), default=-1)
    rows: dict[int, int] = {}
    at: dict[str, tuple[int, int]] = {}
    for s in steps:
        x = column[s["step"]]
        y = rows.get(x, 0)
        rows[x] = y + 1
        at[s["step"]] = (MARGIN + x * (WIDTH + GAP_X), MARGIN + y * (HEIGHT + GAP_Y))
    width = MARGIN * 2 + (max(column.values(), default=0) + 1) * (WIDTH + GAP_X) - GAP_X
    height = MARGIN * 2 + max(rows.values(), default=1) * (HEIGHT + GAP_Y) - GAP_Y
    # A way over more than one column goes below the boxes, each on a height of its own.
    far = [(a, s["step"]) for s in steps for a in s["after"] if a in at and column[s["step"]] - column[a] > 1]
    lanes = {way: height - MARGIN + 14 + 9 * n for n, way in enumerate(far)}
    height += 9 * len(far) + (14 if far else 0)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img" font-family="sans-serif">',
        f"<title>{escape(run['pipeline'])} {escape(run['run'])}: {escape(run['state'])}</title>",
        '<defs><marker id="to" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="#777"/></marker></defs>',
    ]
    for s in steps:
        x1, y1 = at[s["step"]]
        for a in s["after"]:
            if a not in at:
                continue
            x0, y0 = at[a]
            if (a, s["step"]) in lanes:
                low = lanes[a, s["step"]]
                way = f"M{x0 + WIDTH - 18} {y0 + HEIGHT}V{low}H{x1 + 18}V{y1 + HEIGHT + 2}"
            else:
                way = f"M{x0 + WIDTH} {y0 + HEIGHT / 2:g}L{x1 - 2} {y1 + HEIGHT / 2:g}"
            parts.append(f'<path d="{way}" fill="none" stroke="#777" marker-end="url(#to)"/>')
    for s in steps:
        x, y = at[s["step"]]
        fill, line = COLOURS.get(s["state"], COLOURS["waiting"])
        took = "" if s["seconds"] is None else _seconds(s["seconds"])
        parts += [
            f"<g><title>{escape(s['why'] or s['state'])}</title>",
            f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="6" fill="{fill}" stroke="{line}"/>',
            f'<text x="{x + 10}" y="{y + 23}" font-size="14" font-weight="bold" fill="#1c1c1c">{escape(_short(s["step"], 18))}</text>',
            f'<text x="{x + 10}" y="{y + 45}" font-size="12" fill="{line}">{escape(s["state"])}</text>',
            f'<text x="{x + WIDTH - 10}" y="{y + 45}" font-size="12" text-anchor="end" fill="#444">{took}</text></g>',
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"


def html(run: Mapping[str, Any]) -> str:
    """A page that needs nothing from elsewhere."""
    rows = "".join(
        f"<tr><td>{escape(s['step'])}</td><td>{escape(s['state'])}</td><td>{'' if s['seconds'] is None else _seconds(s['seconds'])}</td>"
        f"<td>{escape(s['why'] or '')}</td><td><code>{escape(s['output'] or '')}</code></td></tr>"
        for s in run["steps"]
    )
    title = f"{run['pipeline']} {run['run']}: {run['state']}"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}</style></head><body>'
        f"<h1>{escape(title)}</h1><p>Begun {escape(run['datetime_started'])}, ended {escape(run['datetime_finished'] or 'not yet')}, on {escape(run['host'])}."
        f" Times are those of the work, also where it was done by an earlier run.</p>{svg(run)}"
        f"<table><tr><th>step</th><th>state</th><th>time</th><th>why</th><th>output</th></tr>{rows}</table></body></html>\n"
    )


def _seconds(s: float) -> str:
    return f"{s:.1f} s" if s < 100 else f"{s / 60:.0f} min" if s < 7200 else f"{s / 3600:.1f} h"


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
