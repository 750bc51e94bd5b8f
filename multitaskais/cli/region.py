"""``multitaskais region``: the regions there are, and a new one from an archive to a model with its card, in one resumable command."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

from ..command import CommandParser
from ..errors import ConfigError

PIPELINE = "model_trainer.pipeline.region"  # stands on the core and comes with it: looked up when it is asked for


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
        description="Box and tracks -> OUT/region.json, OUT/model (with its card) and OUT/evaluation, by the steps of `multitaskais pipeline`"
        " (in OUT/pipeline). Steps that are done are not done again: after an interruption give the same command; with another value only"
        " what it changes is done.",
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
    try:
        pipeline = importlib.import_module(PIPELINE)
    except ModuleNotFoundError as e:
        raise ConfigError(
            f"region new runs the pipeline and needs {e.name}: pip install 'multitaskais[train,jobs]'"
        ) from None
    code: int = pipeline.new(args)
    return code
