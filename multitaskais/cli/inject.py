"""``multitaskais inject``: put anomalies of eleven kinds into clean tracks, for ``evaluate``."""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ..command import CommandParser

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..config import Region
    from ..types import Reports


def add_parser(subparsers: argparse._SubParsersAction[CommandParser]) -> None:
    p = subparsers.add_parser(
        "inject",
        help="put labelled anomalies into real tracks",
        description="Write a labelled table: every clean track of the archives, and copies with one anomaly each.",
        epilog="example: multitaskais inject day.parquet --region gulf --seed 1 --out labelled.parquet",
    )
    p.add_argument(
        "tracks", nargs="+", metavar="TRACKS", help="archives in any format that decode reads, or tracks as Parquet"
    )
    p.add_argument("--seed", type=int, required=True, help="same seed and tracks, same anomalies")
    p.add_argument("--per-kind", type=int, default=40, metavar="N", help="copies of each kind (default 40)")
    p.add_argument("--out", type=Path, required=True, metavar="LABELLED", help="the table to write (Parquet)")
    p.add_argument(
        "--together",
        type=int,
        metavar="N",
        help="instead: N meetings, N silences and N zone entries in the archive itself; --out is then a folder for `evaluate`",
    )
    p.add_argument("--region", help="region preset or file: reports outside are left out, and no copy leaves it")
    p.add_argument("--kinds", nargs="+", metavar="KIND", help="kinds to make (default: all)")
    p.add_argument(
        "--most-tracks", dest="most", type=int, metavar="N", help="use at most N clean tracks, drawn by the seed"
    )
    p.add_argument(
        "--split",
        choices=("train", "dev", "test"),
        help="only vessels of this part of the split of `train` and `calibrate`",
    )
    p.add_argument(
        "--from",
        dest="since",
        metavar="TIME",
        help="only reports of this time (UTC) and later: days that a model has not seen",
    )
    p.add_argument("--split-seed", type=int, default=0, help="of that split (default 0)")
    p.add_argument("--format", help="format of the archives (default: recognised)")
    p.add_argument(
        "--columns", metavar="F=COLUMN,...", help="of a table: which column is what, such as sog=Speed,t=When"
    )
    p.add_argument(
        "--temp",
        type=Path,
        metavar="DIR",
        help="folder of temporary files, about 20 bytes a report and 100 a report of a clean track (default: beside LABELLED)",
    )
    p.add_argument("--json", action="store_true", help="print the summary as JSON")
    p.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    import numpy as np

    from ..ais.tables.layout import parse_columns
    from ..config import Region, TrackRules
    from ..errors import ConfigError, InputError
    from ..evaluation.altered import CleanTracks, clean_tracks, write_altered
    from ..evaluation.inject import KINDS
    from ..model.dealt import deal
    from ..model.samples import Split, split_of, temporary_folder
    from ..times import read_time

    began = time.perf_counter()
    if args.per_kind < 1:
        raise ConfigError(f"--per-kind {args.per_kind}: give at least 1")
    kinds = tuple(args.kinds or KINDS)
    if unknown := [k for k in kinds if k not in KINDS]:
        raise ConfigError(f"no kind {unknown[0]!r}: give some of {', '.join(KINDS)}")
    since = read_time(args.since) if args.since else -math.inf
    if math.isnan(since):
        raise ConfigError(f"--from {args.since}: give a time such as 2026-01-03 or 2026-01-03T12:00")
    region = Region.load(args.region) if args.region else None
    columns = parse_columns(args.columns)

    def of_split(reports: Reports) -> NDArray[np.bool_]:
        if args.split is None:
            return np.ones(len(reports), bool)
        mine: NDArray[np.bool_] = split_of(reports["mmsi"], args.split_seed) == Split[args.split.upper()]
        return mine

    if args.together is not None:
        return _together(args, region, of_split, began)
    with temporary_folder(args.temp or args.out.parent) as folder:
        archive = deal(
            args.tracks,
            region,
            folder / "reports",
            args.format,
            columns,
            wanted=lambda reports: of_split(reports) & (reports["t"] >= since),
            late_copies_too=True,
        )
        if not archive.counts.received:
            raise InputError(f"{args.tracks[0]}: no report in it")
        tracks = CleanTracks(folder / "tracks")
        for reports in archive.whole_vessels():
            tracks.add(clean_tracks(reports, TrackRules(), region))
        archive.shuffle.remove()
        tracks.finish()
        if args.most is not None and args.most < len(tracks):
            drawn = np.random.default_rng([args.seed, len(KINDS)]).permutation(len(tracks))[: max(args.most, 0)]
            tracks.keep(np.sort(drawn))
        n_tracks = len(tracks)
        n_rows, made = write_altered(tracks, args.per_kind, args.seed, region, kinds, args.out)
    summary = {
        "clean_tracks": n_tracks,
        "reports": n_rows,
        "per_kind": made,
        "seconds": round(time.perf_counter() - began, 1),
    }
    if args.json:
        print(json.dumps(summary))
        return 0
    print(f"{n_tracks} clean tracks; copies: {', '.join(f'{k} {n}' for k, n in made.items())}")
    print(f"{args.out} ({n_rows:,} reports, {summary['seconds']} s)")
    return 0


def _together(
    args: argparse.Namespace, region: Region | None, of_split: Callable[[Reports], NDArray[np.bool_]], began: float
) -> int:
    """Scenes among ships in the archive itself, which is held whole."""
    import numpy as np

    from ..ais.archives import read_reports
    from ..ais.tables.layout import parse_columns
    from ..config import TrackRules
    from ..errors import InputError
    from ..evaluation import together
    from ..simulate.archive import write_parquet
    from ..tracks.quality import screen

    parts = [batch.reports for batch in read_reports(args.tracks, args.format, columns=parse_columns(args.columns))]
    if not parts:
        raise InputError(f"{args.tracks[0]}: no report in it")
    reports = np.concatenate(parts)
    reports = reports[of_split(reports)]
    fine = reports[screen(reports, region, TrackRules()) == 0]
    scenes = together.inject(fine, args.together, np.random.default_rng(args.seed))
    together.write(scenes, args.out, write_parquet)
    made = {kind: sum(x.kind == kind for x in scenes.labels) for kind in together.KINDS}
    told = {"reports": len(scenes.reports), "per_kind": made, "seconds": round(time.perf_counter() - began, 1)}
    print(
        json.dumps(told)
        if args.json
        else f"{args.out}: {', '.join(f'{k} {n}' for k, n in made.items())} ({told['reports']:,} reports, {told['seconds']} s)"
    )
    return 0
