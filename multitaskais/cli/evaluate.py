"""``multitaskais evaluate``: what a model finds among labelled tracks."""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

from ..command import CommandParser


def add_parser(subparsers: argparse._SubParsersAction[CommandParser]) -> None:
    p = subparsers.add_parser(
        "evaluate",
        help="measure a model on labelled tracks",
        description="Fold a labelled table through a model and write report.json, report.html and pictures.",
        epilog="example: multitaskais evaluate labelled.parquet --model gulf --out out/evaluation",
    )
    p.add_argument(
        "labelled", type=Path, metavar="LABELLED", help="Parquet: track_id, mmsi, t, lat, lon, sog, cog, kind, abnormal"
    )
    p.add_argument("--model", help="name of a shipped model, a model folder, or store:NAME[@VERSION]")
    p.add_argument(
        "--real",
        type=Path,
        metavar="ALERTS",
        help="instead of a model: alerts as `detect` wrote them (alerts.jsonl); LABELLED is then a table of events (mmsi, from, to, kind) or officers' answers, one a line",
    )
    p.add_argument("--out", type=Path, required=True, metavar="DIR")
    p.add_argument("--seed", type=int, default=0, help="of the bootstrap (default 0)")
    p.add_argument("--draws", type=int, default=200, help="of the bootstrap (default 200)")
    p.add_argument(
        "--split",
        choices=("vessels", "days"),
        default="vessels",
        help="what took no part in making the model: these vessels (default), or these days; stated in the report and on the card",
    )
    p.add_argument("--no-plots", action="store_true", help="figures only (matplotlib is not needed)")
    p.add_argument(
        "--card",
        action="store_true",
        help="write card/card.md of these figures into the model folder; what it says of the other --split stays",
    )
    p.add_argument("--notes", default="", help="a paragraph at the head of that card")
    p.add_argument("--json", action="store_true", help="print report.json")
    p.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    import numpy as np

    from ..errors import ConfigError
    from ..evaluation import report as files
    from ..evaluation import together
    from ..evaluation.evaluate import budget_kept, report
    from ..evaluation.labelled import read_labelled
    from ..evaluation.run import judge
    from ..model import folder as modelfolder
    from ..model.reference import is_reference
    from ..model.store import local_folder

    began = time.perf_counter()
    if args.real is not None:
        return _real(args)
    if args.model is None:
        raise ConfigError(
            "give --model: what is to be measured; or --real ALERTS, to hold alerts against events of yours"
        )
    if together.is_scenes(args.labelled):
        return _scenes(args)
    data = read_labelled(args.labelled, seed=args.seed)
    if args.card and is_reference(args.model):
        raise ConfigError(
            "--card writes into a model folder: pull the model first (`multitaskais store pull`), then push it"
        )
    model = modelfolder.load(local_folder(args.model, os.environ))
    result = judge(model, data)
    figures = report(result, np.random.default_rng(args.seed), args.draws)
    figures = {"model": model.version, "region": model.region.name, "labelled": args.labelled.name, **figures}
    figures |= {"split": args.split, "budget": model.budget.to_dict()}
    if data.whole is not None:
        figures["table"] = data.whole._asdict()
    figures["budget_kept"] = budget_kept(result, model.budget)
    plots = {}
    if not args.no_plots:
        from ..evaluation.plots import all_plots

        plots = all_plots(result, figures["fused"], model.region)
    written = files.write(figures, plots, args.out)
    if args.card:
        from ..evaluation.card import card

        folder = modelfolder.find(args.model) / "card"
        folder.mkdir(exist_ok=True)
        file = folder / "card.md"
        before = file.read_text() if file.is_file() else ""
        file.write_text(card(model, files.plain(figures), args.notes, before))
    if args.json:
        print(json.dumps(files.plain(figures)))
        return 0
    fused = figures["fused"]
    print(
        f"{figures['clean_tracks']} clean, {figures['abnormal_tracks']} abnormal tracks; not judged: {figures['not_judged'] or 'none'}"
    )
    if data.whole is not None:
        print(
            f"drawn from {data.whole.clean_tracks:,} clean tracks of {data.whole.vessels:,} vessels: more than are judged together"
        )
    for name, label in files.HEADINGS:
        print(f"{label:>20}  {files.number(fused[name])}")
    print(f"{'budget':>20}  {files.kept(figures['budget_kept'])}")
    at_5pct = fused["at_development_5pct"]
    print(
        f"{'clean, at dev. 5 %':>20}  {files.number(at_5pct['clean_flagged'])} flagged at the threshold of 5 % of the development tracks, recall {files.number(at_5pct['recall'])}"
    )
    for kind, block in sorted(fused["per_kind"].items()):
        print(
            f"{kind:>20}  found {block['found']} of {block['tracks']}, recall at 5 % {files.number(block['recall_at_5pct'])}"
        )
    print(f"{written[1]} ({time.perf_counter() - began:.1f} s)")
    return 0


def _real(args: argparse.Namespace) -> int:
    """What really happened, against alerts that were raised."""
    from ..detection.answers import read_records
    from ..errors import ConfigError, InputError
    from ..evaluation import real
    from ..evaluation import report as files

    if args.model is not None or args.card:
        raise ConfigError("--real looks at alerts that were raised: it takes no --model and no --card")
    labels, alerts = real.read_labels(args.labelled), read_records(args.real)
    try:
        figures = real.compare(labels, alerts)
    except (KeyError, TypeError, ValueError) as e:
        raise InputError(f"{args.real}: not alerts as `detect` writes them ({type(e).__name__}: {e})") from None
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "report.json").write_text(json.dumps(files.plain(figures), indent=1) + "\n")
    print(json.dumps(files.plain(figures)) if args.json else real.table(figures))
    return 0


def _scenes(args: argparse.Namespace) -> int:
    """Ships together: a folder of ``inject --together`` or ``simulate --together --parquet``."""
    from ..engine.batch import run_fleet
    from ..evaluation import report as files
    from ..evaluation import together
    from ..model import folder as modelfolder
    from ..model.store import local_folder

    scenes = together.read(args.labelled)
    model = modelfolder.load(local_folder(args.model, os.environ))
    found = run_fleet(model, scenes.reports, scenes.zones)
    limit = None if model.patterns is None else model.patterns.coverage.limit_s
    figures = {"model": model.version, "labelled": args.labelled.name, "station_outages": len(found.outages)}
    figures |= together.figures(scenes, found.alerts, limit)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "report.json").write_text(json.dumps(files.plain(figures), indent=1) + "\n")
    print(json.dumps(files.plain(figures)) if args.json else together.table(figures))
    return 0
