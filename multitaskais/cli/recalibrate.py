"""``multitaskais recalibrate TRACKS --model M --out NEW``: does a model still fit, and new thresholds from the last days.

The detectors and what they learnt stay; the thresholds are set again from the tracks of the last days, under the model's budget or another.
The result is a new version, which takes over by ``python -m stream_operator model``. With ``--check`` nothing is written: exit code 1 says that
the model no longer fits.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any


def add_parser(subparsers: Any) -> None:
    p = subparsers.add_parser(
        "recalibrate", help="does a model still fit? new thresholds from later days", description=__doc__,
        epilog="example: multitaskais recalibrate archive/2026/06 --model out/mine --days 14 --out out/june",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    p.add_argument("tracks", nargs="+", metavar="TRACKS", help="archives of the last days")
    p.add_argument("--model", required=True, help="name of a shipped model, or a model folder")
    p.add_argument("--out", type=Path, metavar="NEW", help="model folder to write")
    p.add_argument("--check", action="store_true", help="only say whether the model still fits; instead of --out")
    p.add_argument("--days", type=float, metavar="N", help="only the last N days of the archives")
    p.add_argument("--budget", type=float, metavar="SHARE", help="instead of the model's")
    p.add_argument("--confidence", type=float, metavar="P", help="keep the budget with this confidence")
    p.add_argument("--alerts", type=Path, metavar="FILE", help="alerts that were answered, one JSON object a line")
    p.add_argument(
        "--answers",
        type=Path,
        metavar="FILE",
        help="officers' answers to them, records of ais.feedback, one a line: what is normal at a place uses up no budget there, tracks called real are not normal",
    )
    p.add_argument("--format", metavar="F", help="of an archive; recognised by itself")
    p.add_argument(
        "--temp",
        type=Path,
        metavar="DIR",
        help="folder of temporary files, about 20 bytes a report (default: the system's)",
    )
    p.add_argument("--json", action="store_true", help="print what was found as JSON")
    p.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from dataclasses import asdict, replace

    import numpy as np

    from ..detection.answers import read_records
    from ..errors import ConfigError
    from ..model import folder as modelfolder
    from ..model.dealt import DAY_S, deal, events_of_dealt
    from ..model.drift import Answered, answered, check, found_again, recalibrated
    from ..model.samples import samples_of_dealt, temporary_folder
    from ..tracks.segmentation import RULE_EVENT_DTYPE

    if args.check == (args.out is not None):
        raise ConfigError("give --out NEW for new thresholds, or --check to be told whether the model still fits")
    if args.days is not None and not args.days > 0:
        raise ConfigError(f"--days {args.days:g}: give a number of days greater than 0")
    if (args.alerts is None) != (args.answers is None):
        raise ConfigError("--answers needs the alerts that were answered, and --alerts the answers: give both")
    if args.check and args.answers is not None:
        raise ConfigError("--check asks whether a model fits; answers change thresholds: give --out")
    said = Answered()
    aside: dict[str, int] = {}
    if args.alerts is not None:
        said, aside = answered(read_records(args.alerts), read_records(args.answers))
    model = modelfolder.load(args.model)
    if args.out is not None and args.out.resolve() == modelfolder.find(args.model).resolve():
        raise ConfigError("--out is the model itself: a recalibrated model is a new version, give another folder")
    with temporary_folder(args.temp) as folder:
        archive = deal(args.tracks, model.region, folder / "reports", args.format)
        if args.days is not None:
            archive = archive._replace(after=archive.last_t() - DAY_S * args.days)
        sets = samples_of_dealt(archive, model.region, folder, model.track_rules, model.panel.rules, purpose="judge by")
        samples = next(sets).samples
        events = np.zeros(0, RULE_EVENT_DTYPE)
        if args.out is not None:
            events = events_of_dealt(archive, model.track_rules, model.region, lambda mmsi: np.ones(len(mmsi), bool))
    drift = check(model, samples)
    if args.check:
        print(json.dumps({**asdict(drift), "fits": drift.fits}) if args.json else drift.line())
        return 0 if drift.fits else 1
    budget = replace(
        model.budget,
        **({} if args.budget is None else {"track_share": args.budget, "alerts_per_vessel_day": None}),
        **({} if args.confidence is None else {"confidence": args.confidence}),
    )
    new = recalibrated(model, samples, budget, events, said)
    new = modelfolder.save(new, args.out)
    limits = new.panel.thresholds
    assert limits is not None
    assert limits.promise is not None
    again = found_again(new, samples, said.real)
    if args.json:
        heard = {
            "suppressions": len(said.suppressions),
            "real": len(said.real),
            "found_again": again,
            "left_aside": aside,
        }
        figures = {"fits": drift.fits, "version": new.version, "promise": limits.promise.to_dict(), "answers": heard}
        print(json.dumps({**asdict(drift), **figures}))
        return 0
    print(drift.line())
    if args.answers is not None:
        print(
            f"answers: {len(said.suppressions)} kinds of alert are normal at a place and use up no budget there; {len(said.real)} called real,"
            f" of which {again} exceed the new thresholds"
            + "".join(f"; {n} left aside ({why})" for why, n in aside.items())
        )
    print(f"{new.version} in {args.out}: thresholds of {drift.tracks} tracks, {drift.days} days; was {model.version}")
    for line in limits.promise.lines(budget.allowed, alerts=budget.alerts_per_vessel_day is not None):
        print(line)
    return 0
