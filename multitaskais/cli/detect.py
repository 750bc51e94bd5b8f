"""``multitaskais detect``: verdicts and alerts of an archive or of built tracks, by the same fold as live."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    p = subparsers.add_parser(
        "detect",
        help="verdicts and alerts of tracks",
        description="Fold tracks (the Parquet of tracks_builder) or any archive through a model, as the live operator would. Writes"
        " verdicts.parquet (one row a track), alerts.jsonl (every revision), alerts.parquet and alerts.geojson (the last of each),"
        " and prints the counts and a table of the alerts that were raised.",
        epilog="example: multitaskais detect /tmp/trajectories --model brittany --out out/detect",
    )
    p.add_argument("tracks", nargs="+", metavar="TRACKS", help="files, folders or globs; any format that decode reads")
    p.add_argument("--model", required=True, help="name of a shipped model, a model folder, or store:NAME[@VERSION]")
    p.add_argument("--out", type=Path, default=Path("out/detect"), metavar="DIR", help="default: %(default)s")
    p.add_argument("--format", help="of the archive (default: recognised)")
    p.add_argument(
        "--columns", metavar="F=COLUMN,...", help="of a table: which column is what, such as sog=Speed,t=When"
    )
    p.add_argument(
        "--scorer", choices=("numpy", "tensorflow"), default="numpy", help="who runs the VRNN (default numpy)"
    )
    p.add_argument(
        "--zones", type=Path, metavar="FILE", help="GeoJSON of areas with a rule: where ships may not enter, stop, ..."
    )
    p.add_argument("--top", type=int, default=20, metavar="N", help="print the N highest scores (default %(default)s)")
    p.add_argument("--json", action="store_true", help="print the counts as JSON, and no table")
    p.set_defaults(run=run)


def alert_table(revisions: Iterable[Mapping[str, Any]], top: int) -> str:
    """The raised alerts as text, the highest score first: when decided (UTC), type, score, sentence.

    ``revisions`` are alert records; updates and closings are left out, so each alert is one row. At most ``top`` rows; a
    last line counts what is left out. Characters that a terminal would obey are replaced: names come from the air.
    """
    raised = [a for a in revisions if a["status"] == "raised"]
    if not raised:
        return "no alert was raised"
    rows = [f"{'raised (UTC)':<16}  {'type':<17}  {'score':>5}  alert"]
    for a in sorted(raised, key=lambda a: (-a["score"], a["decided_at"], a["alert_id"]))[: max(top, 0)]:
        when = datetime.fromtimestamp(a["decided_at"], UTC).strftime("%Y-%m-%d %H:%M")
        sentence = "".join(c if c.isprintable() else "?" for c in a["message"])
        rows.append(f"{when}  {a['alert_type']:<17}  {a['score']:5.2f}  {sentence}")
    if (more := len(raised) - len(rows) + 1) > 0:
        rows.append(f"and {more} more with lower scores (--top N prints N)")
    return "\n".join(rows)


def run(args: argparse.Namespace) -> int:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq
    from tqdm import tqdm

    from ..ais.archives import list_files
    from ..ais.tables.layout import parse_columns
    from ..ais.zero import notes_of, nothing_read
    from ..engine import batch
    from ..export import latest_revisions, to_geojson
    from ..model import folder as modelfolder
    from ..model.samples import load_reports
    from ..model.store import local_folder
    from ..records import Reason
    from ..stamps import day
    from ..zones.zone import read_zones_file

    zones = read_zones_file(args.zones) if args.zones else []
    model = modelfolder.load(local_folder(args.model, os.environ), scorer=args.scorer)
    named = parse_columns(args.columns)
    if told := list_files(args.tracks).told():
        print(told, file=sys.stderr)
    reports, counts = load_reports(args.tracks, None, args.format, named)
    if not len(reports):
        raise nothing_read(args.tracks, counts, args.format, named)
    with tqdm(total=len(reports), unit=" reports", disable=args.json) as bar:
        result = batch.run(model, reports, trace=True, progress=lambda done, _: bar.update(done - bar.n))
    counts.accepted = result.counts.accepted
    for reason, n in result.counts.rejected.items():
        counts.reject(reason, n)
    if not counts.accepted:
        raise nothing_read(args.tracks, counts, args.format, named, what="no report of a track")
    verdicts = batch.track_verdicts(result)
    together = batch.run_fleet(model, reports, zones)
    revisions = [a.as_dict() for a in (*result.alerts, *together.alerts)]
    args.out.mkdir(parents=True, exist_ok=True)
    columns = [[getattr(v, name) for v in verdicts] for name in batch.TrackVerdict._fields]
    pq.write_table(pa.table(dict(zip(batch.TrackVerdict._fields, columns, strict=True))), args.out / "verdicts.parquet")
    with (args.out / "alerts.jsonl").open("w") as f:
        f.writelines(json.dumps(a) + "\n" for a in revisions)
    last = latest_revisions(revisions)
    pq.write_table(
        pa.Table.from_pylist([{"partner": None, "zone": None, **a} for a in last]), args.out / "alerts.parquet"
    )
    (args.out / "alerts.geojson").write_text(json.dumps(to_geojson(revisions, reports, {})))
    by_verdict = {k: sum(v.verdict == k for v in verdicts) for k in ("normal", "abnormal", "not_judged")}
    said = {
        "model": model.version,
        "first": day(float(reports["t"].min())),
        "last": day(float(reports["t"].max())),
        "received": counts.received,
        "accepted": counts.accepted,
        "rejected": {str(k): n for k, n in sorted(counts.rejected.items())},
        "tracks": len(verdicts),
        **by_verdict,
        "alerts": len(last),
        "revisions": len(revisions),
        "station_clocks": len(result.station_clocks),
        "station_outages": len(together.outages),
    }
    if fast := np.unique(reports["mmsi"][reports["sog"] > model.track_rules.speed_max_knots]).tolist():
        n = counts.rejected.get(Reason.TOO_FAST, 0)
        print(
            f"{n:,} reports of {len(fast):,} vessels are faster than {model.track_rules.speed_max_knots:g} kn: "
            "at that speed nobody is judged (docs/limits.md)",
            file=sys.stderr,
        )
    for fault in result.station_clocks:
        print(f"{day(fault.t)} UTC: {fault.message}; no ship is blamed", file=sys.stderr)
    for note in notes_of(counts):
        print(note, file=sys.stderr)
    if args.json:
        print(json.dumps(said))
    else:
        for key, value in said.items():
            print(f"{key:>15}  {value}")
        print(f"\n{alert_table(revisions, args.top)}\n")
        print(f"{args.out}/verdicts.parquet, alerts.jsonl, alerts.parquet, alerts.geojson")
    return 0
