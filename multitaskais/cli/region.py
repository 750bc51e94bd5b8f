"""``multitaskais region``: the regions there are, and a new one from an archive to a model with its card, in one resumable command."""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

from ..command import CommandParser

SEED = 1  # of the injected anomalies on the model card


def add_parser(subparsers: argparse._SubParsersAction[CommandParser]) -> None:
    p = subparsers.add_parser(
        "region", help="list regions; make a detector for a new one", epilog="example: multitaskais region list"
    )
    actions = p.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser(
        "list", help="the presets and the shipped models", epilog="example: multitaskais region list"
    )
    listing.set_defaults(run=list_)
    new = actions.add_parser(
        "new",
        help="train, calibrate and evaluate a model for a box of your own",
        description="Box and tracks -> OUT/region.json, OUT/model (with its card) and OUT/evaluation. Steps that are done are not done"
        " again: after an interruption give the same command.",
        epilog="example: multitaskais region new chesapeake --box 36.5 39.5 -77 -75 --tracks day.parquet --out out/chesapeake",
    )
    new.add_argument("name")
    new.add_argument("--box", nargs=4, type=float, required=True, metavar=("S", "N", "W", "E"), help="degrees")
    new.add_argument("--bins", nargs=2, type=float, default=(0.02, 0.02), metavar=("LAT", "LON"), help="degrees (0.02)")
    new.add_argument("--tracks", nargs="+", required=True, help="tracks or archives; a day is little, a month is good")
    new.add_argument("--out", type=Path, required=True, metavar="DIR")
    new.add_argument("--format", metavar="F", help="of an archive; recognised by itself")
    new.add_argument(
        "--columns", metavar="F=COLUMN,...", help="of a table: which column is what, such as sog=Speed,t=When"
    )
    new.add_argument("--steps", type=int, help="of training (default: that of `train`)")
    new.add_argument("--per-kind", type=int, default=40, help="injected anomalies of each kind (default 40)")
    new.set_defaults(run=new_)


def list_(_: argparse.Namespace) -> int:
    from ..config import REGIONS
    from ..model import folder as modelfolder

    shipped = set(modelfolder.shipped())
    for name, r in REGIONS.items():
        box = f"{r.lat_min:g}..{r.lat_max:g} N, {r.lon_min:g}..{r.lon_max:g} E"
        print(f"{name:>10}  {box:<32} {'model shipped' if name in shipped else 'no model'}")
    return 0


def new_(args: argparse.Namespace) -> int:
    from ..config import Region
    from . import main

    south, north, west, east = args.box
    region = Region(args.name, south, north, west, east, lat_bin_deg=args.bins[0], lon_bin_deg=args.bins[1])
    args.out.mkdir(parents=True, exist_ok=True)
    file, model, held_out = args.out / "region.json", args.out / "model", args.out / "held_out.parquet"
    text = json.dumps(region.to_dict(), indent=1) + "\n"
    if not file.is_file() or file.read_text() != text:
        # Another box is another model: nothing of what was made for the old one may be taken for done.
        for made in (model, args.out / "evaluation"):
            shutil.rmtree(made, ignore_errors=True)
        held_out.unlink(missing_ok=True)
        file.write_text(text)
    steps = [] if args.steps is None else ["--steps", str(args.steps)]
    given = [*args.tracks, *(["--format", args.format] if args.format else [])]
    given += ["--columns", args.columns] if args.columns else []
    plan = [
        (model / "detectors" / "vrnn" / "weights.npz", ["train", *given, "--region", str(file), "--out", str(model), "--resume", *steps]),
        (model / "manifest.json", ["calibrate", *given, "--region", str(file), "--model", str(model), "--name", args.name]),
        (held_out, ["inject", *given, "--region", str(file), "--seed", str(SEED), "--per-kind", str(args.per_kind), "--split", "test", "--out", str(held_out)]),
        (model / "card" / "card.md", ["evaluate", str(held_out), "--model", str(model), "--out", str(args.out / "evaluation"), "--card"]),
    ]  # fmt: skip
    for number, (result, command) in enumerate(plan, 1):
        print(f"[{number}/{len(plan)}] multitaskais {' '.join(command)}", flush=True)
        if result.is_file():
            print("      done before")
        elif code := main(command):
            return code
    print(f"{model}: use it with --model {model}; its card is {model / 'card' / 'card.md'}")
    return 0
