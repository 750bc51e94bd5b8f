"""``multitaskais simulate``: a seeded archive of traffic, and the labels of its abnormal ships apart from it."""

from __future__ import annotations

import argparse
import json
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from ..command import CommandParser
from ..errors import ConfigError


def add_parser(subparsers: argparse._SubParsersAction[CommandParser]) -> None:
    p = subparsers.add_parser(
        "simulate",
        help="make an archive of simulated traffic with labelled abnormal ships",
        description="Make days of seeded traffic: DIR/archive/YYYY/MM/*.cdv and DIR/labels.json.",
        epilog="example: multitaskais simulate --region brittany --seed 7 --days 1 --out out/sim",
    )
    p.add_argument("--region", default="brittany", help="region preset (only brittany has lanes)")
    p.add_argument("--seed", type=int, default=0, help="same seed, same traffic (default 0)")
    p.add_argument("--days", type=int, default=1)
    p.add_argument("--vessels", type=int, default=300, help="ships a day, abnormal ones included (default 300)")
    p.add_argument("--abnormal", type=int, default=24, help="abnormal ships a day (default 24)")
    p.add_argument("--kinds", nargs="+", metavar="KIND", help="kinds of abnormal ships (default: all)")
    p.add_argument(
        "--together",
        type=int,
        default=0,
        metavar="N",
        help="also N meetings, N silences, N ships in a forbidden zone a day, and look-alikes of each; writes DIR/zones.geojson and DIR/lookalikes.json",
    )
    p.add_argument(
        "--station-outage",
        action="store_true",
        help="a shore station hears nothing for 75 min each evening; ships that were under way there are look-alikes of a silence",
    )
    p.add_argument("--lane-shift", type=float, default=0.0, metavar="M", help="shift every lane by so many metres")
    p.add_argument("--start", default="2026-01-01", help="first day, UTC (default 2026-01-01)")
    p.add_argument("--out", type=Path, required=True, metavar="DIR")
    p.add_argument("--parquet", action="store_true", help="also write DIR/reports.parquet, for training")
    p.add_argument("--no-archive", action="store_true", help="do not write the .cdv archive")
    p.add_argument("--json", action="store_true", help="print the summary as JSON")
    p.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from ..config import Region
    from ..simulate import SimulationSettings, simulate
    from ..simulate.archive import write_archive, write_labels, write_parquet, write_together

    began = time.perf_counter()
    try:
        start = datetime.fromisoformat(args.start).replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise ConfigError(f"--start {args.start!r}: give a date such as 2026-01-01") from None
    chosen = {"kinds": tuple(args.kinds)} if args.kinds else {}
    settings = SimulationSettings(
        start, args.days, args.vessels, args.abnormal, args.lane_shift, together=args.together,
        station_outage=args.station_outage, **chosen,
    )  # fmt: skip
    traffic = simulate(Region.load(args.region), settings, np.random.default_rng(args.seed))

    args.out.mkdir(parents=True, exist_ok=True)
    summary = {
        "reports": len(traffic.reports),
        "vessels": len(np.unique(traffic.reports["mmsi"])),
        "abnormal": len(traffic.labels),
        "labels": str(write_labels(traffic, args.out / "labels.json")),
    }
    if args.together or args.station_outage:
        zones, lookalikes = write_together(traffic, args.out)
        summary |= {"zones": str(zones), "lookalikes": str(lookalikes)}
    if not args.no_archive:
        files = write_archive(traffic, args.out / "archive")
        summary["archive"] = [str(f) for f in files]
    if args.parquet:
        summary["parquet"] = str(write_parquet(traffic.reports, args.out / "reports.parquet"))
    summary["seconds"] = round(time.perf_counter() - began, 1)
    if args.json:
        print(json.dumps(summary))
    else:
        for name, value in summary.items():
            print(f"{name:>9}  {', '.join(value) if isinstance(value, list) else value}")
    return 0
