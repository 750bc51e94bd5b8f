"""``multitaskais detect``: verdicts and alerts of an archive or of built tracks, by the same fold as live."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..command import CommandParser
from ..errors import ConfigError
from ..records import Reason, Status

if TYPE_CHECKING:
    from ..evaluation.months import Months


def add_parser(subparsers: argparse._SubParsersAction[CommandParser]) -> None:
    p = subparsers.add_parser(
        "detect",
        help="verdicts and alerts of tracks",
        description="Fold tracks (the Parquet of tracks_builder) or any archive through a model, as the live operator would. Writes"
        " verdicts.parquet (one row a track), alerts.jsonl (every revision), alerts.parquet (GeoParquet) and alerts.geojson (the last of each),"
        " summary.json and summary.png (by month and year), and prints the counts and a table of the alerts that were raised.",
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
    p.add_argument(
        "--jobs",
        type=int,
        default=1,
        metavar="N",
        help="processes (default %(default)s); any number gives the same files",
    )
    p.add_argument(
        "--temp",
        type=Path,
        metavar="DIR",
        help="folder of temporary files, about 20 bytes a report (default: OUT/.detect)",
    )
    p.add_argument(
        "--resume", action="store_true", help="go on with the parts that a run of the same input and model left undone"
    )
    p.add_argument("--top", type=int, default=20, metavar="N", help="print the N highest scores (default %(default)s)")
    p.add_argument("--json", action="store_true", help="print the counts as JSON, and no table")
    p.set_defaults(run=run)


def alert_table(revisions: Iterable[Mapping[str, Any]], top: int) -> str:
    """The raised alerts as text, the highest score first: when decided (UTC), type, score, sentence.

    ``revisions`` are alert records; updates and closings are left out, so each alert is one row. At most ``top`` rows; a
    last line counts what is left out. Characters that a terminal would obey are replaced: names come from the air.
    """
    raised = [a for a in revisions if a["status"] == Status.RAISED]
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
    from tqdm import tqdm

    from .. import __version__
    from ..ais.archives import list_files
    from ..ais.tables.layout import parse_columns
    from ..ais.zero import notes_of, nothing_read
    from ..evaluation import archive_input, archive_run
    from ..model import folder as modelfolder
    from ..model.store import local_folder
    from ..stamps import day
    from ..tracks.shuffle import BINS
    from ..zones.zone import read_zones_file

    if args.jobs < 1:
        raise ConfigError(f"--jobs {args.jobs}: it must be at least 1")
    if args.zones:
        read_zones_file(args.zones)
    source = str(local_folder(args.model, os.environ))
    model = modelfolder.load(source, scorer=args.scorer)
    named = parse_columns(args.columns)
    files = list_files(args.tracks)
    if told := files.told():
        print(told, file=sys.stderr)
    work = args.temp or args.out / ".detect"
    zones = str(args.zones) if args.zones else None
    about = archive_input.fingerprint(files.paths, args.format, named, model.version, args.scorer, zones, __version__)
    read = archive_input.finished(work, about) if args.resume else None
    if read is None:
        with tqdm(unit=" rows", desc="reading", disable=args.json) as bar:
            read = archive_input.read(
                files.paths, args.format, named, model, work, about, max(BINS, args.jobs), args.jobs, bar.update
            )
    if not read.reports:
        archive_input.clear(work)
        raise nothing_read(args.tracks, read.counts, args.format, named)
    plan = archive_run.Plan(str(work / archive_input.SHUFFLE), source, args.scorer, zones)
    with tqdm(total=sum(read.parts_rows.values()), unit=" reports", desc="judging", disable=args.json) as bar:
        before = archive_run.run_parts(plan, read.parts, args.jobs, model, bar.update)
    if before and not args.json:
        print(f"{before} of {len(read.parts) + 1} parts were done before", file=sys.stderr)
    done, raised, months = archive_run.merge(plan, list(read.parts), args.out)
    counts = read.counts
    counts.accepted = done.accepted
    for reason, n in (done.rejected or {}).items():
        counts.reject(Reason(reason), n)
    if not counts.accepted and not done.tracks:
        archive_input.clear(work)
        raise nothing_read(args.tracks, counts, args.format, named, what="no report of a track")
    said = {
        "model": model.version,
        "first": day(read.first),
        "last": day(read.last),
        "received": counts.received,
        "accepted": counts.accepted,
        "rejected": {str(k): n for k, n in sorted(counts.rejected.items())},
        "tracks": done.tracks,
        "normal": done.normal,
        "abnormal": done.abnormal,
        "not_judged": done.not_judged,
        "alerts": done.alerts,
        "revisions": done.revisions,
        "station_clocks": len(done.clocks),
        "station_outages": done.station_outages,
    }
    if read.fast_vessels:
        n = counts.rejected.get(Reason.TOO_FAST, 0)
        print(
            f"{n:,} reports of {read.fast_vessels:,} vessels are faster than {model.track_rules.speed_max_knots:g} kn: "
            "they make tracks of their own, judged by place and by what looks at reports alone (docs/limits.md)",
            file=sys.stderr,
        )
    for message in done.clocks:
        print(message, file=sys.stderr)
    summary = args.out / "summary.json"
    summary.write_text(json.dumps(said | months.as_dict(), indent=1) + "\n")
    figure = _figure(args.out / "summary.png", months, model.version)
    archive_input.clear(work)
    for note in notes_of(counts):
        print(note, file=sys.stderr)
    if args.json:
        print(json.dumps(said))
    else:
        for key, value in said.items():
            print(f"{key:>15}  {value}")
        print(f"\n{alert_table(raised, args.top)}\n")
        print(f"{args.out}/verdicts.parquet, alerts.jsonl, alerts.parquet, alerts.geojson, summary.json{figure}")
    return 0


def _figure(path: Path, months: Months, title: str) -> str:
    """Draws it where matplotlib is installed; returns what the list of files says of it."""
    if importlib.util.find_spec("matplotlib") is None:
        path.unlink(missing_ok=True)
        return " (summary.png needs matplotlib: pip install 'multitaskais[plot]')"
    path.write_bytes(months.picture(title))
    return ", summary.png"
