"""``multitaskais calibrate TRACKS --region R --model MODEL``: what is normal here, and what makes an alert.

Takes the weights that ``multitaskais train`` wrote to MODEL/detectors, where there are any, fits all other detectors on the train
vessels, calibrates all on vessels that they have not seen, sets thresholds from the budget and writes the complete model folder.
Vessels are split by a hash of their MMSI: the same seed as in training keeps the same vessels unseen.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..ais.tables.layout import parse_columns
from ..ais.zero import nothing_read
from ..config import DetectionRules, Region, TrackRules
from ..detection.protocol import traits_of
from ..detection.threshold import Budget
from ..encounters import patterns
from ..encounters.patterns import Patterns
from ..errors import ConfigError
from ..model import folder as modelfolder
from ..model.dealt import Dealt, deal, events_of_dealt
from ..model.fit import MIN_DEV_VESSELS, fit_model, installed
from ..model.folder import Model
from ..model.samples import (
    Split,
    TrainingSamples,
    load_samples,
    sample_files,
    samples_of_dealt,
    split_of,
    temporary_folder,
)
from ..tracks.segmentation import RULE_EVENT_DTYPE


def add_parser(subparsers: Any) -> None:
    p = subparsers.add_parser(
        "calibrate", help="tracks and weights -> a complete model folder", description=__doc__,
        epilog="example: multitaskais calibrate tracks --region gulf --model out/mine",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    p.add_argument(
        "tracks", nargs="+", metavar="TRACKS", help="Parquet of tracks or samples, or an archive, a folder, a pattern"
    )
    p.add_argument("--region", required=True, help="a preset's name, or a JSON file")
    p.add_argument("--model", required=True, type=Path, help="model folder; written again")
    p.add_argument("--name", help="of the model (default: the folder's name)")
    p.add_argument("--format", metavar="F", help="of an archive; recognised by itself")
    p.add_argument(
        "--columns", metavar="F=COLUMN,...", help="of a table: which column is what, such as sog=Speed,t=When"
    )
    p.add_argument(
        "--budget",
        type=float,
        metavar="SHARE",
        help=f"share of normal tracks that may be flagged (default {Budget().track_share})",
    )
    p.add_argument("--alerts-per-vessel-day", type=float, metavar="N", help="instead of --budget, for instance 0.06")
    p.add_argument(
        "--confidence",
        type=float,
        metavar="P",
        help="keep the budget with this confidence (for instance 0.95), not only as what is to be expected",
    )
    p.add_argument(
        "--detectors", metavar="A,B,...", help=f"instead of the default panel; installed: {', '.join(installed())}"
    )
    p.add_argument("--decision", choices=("fused", "a_contrario"), default="fused", help="what decides `abnormal`")
    p.add_argument(
        "--credit", action="append", default=[], metavar="TEXT", help="a line that must be shown where the model is"
    )
    p.add_argument(
        "--encounters-only",
        action="store_true",
        help="learn encounters.npz alone (where ships stop, meet and are not heard) and leave the rest of MODEL as it is",
    )
    p.add_argument(
        "--together",
        nargs="+",
        metavar="TRACKS",
        help="learn how ships meet and fall silent from these reports (default: TRACKS, where they are no samples)",
    )
    p.add_argument(
        "--together-alerts-per-vessel-day",
        type=float,
        metavar="N",
        help=f"one budget for meetings and silences (default {patterns.TOGETHER_PER_VESSEL_DAY:g}); zones have rules of yours, and none",
    )
    p.add_argument("--split-seed", type=int, default=0, help="which vessels are for what, as in `train`")
    p.add_argument(
        "--temp",
        type=Path,
        metavar="DIR",
        help="folder of temporary files, about 20 bytes a report and 150 a sample (default: beside MODEL)",
    )
    p.set_defaults(run=run)


def learn_together(
    archive: Dealt, region: Region, rules: TrackRules, say: Callable[[str], None], budget: float | None = None
) -> Patterns:
    """What is usual among ships, from all reports of the tracks; ``budget``: of meetings and silences, alerts per vessel-day."""
    meetings, silences = patterns.shared() if budget is None else patterns.shared(budget)
    known = patterns.learn_runs(
        lambda: archive.runs(region, rules), meetings_per_vessel_day=meetings, silences_per_vessel_day=silences
    )
    say(
        f"ships together: {len(known.stops)} stopping places, {len(known.met_at)} meetings in {known.vessel_days:.0f} vessel-days"
    )
    return known


def run(args: argparse.Namespace) -> int:
    region, rules, track_rules = Region.load(args.region), DetectionRules(), TrackRules()
    started = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - started:7.1f} s  {text}", file=sys.stderr, flush=True)

    if args.together_alerts_per_vessel_day is not None and not args.together_alerts_per_vessel_day > 0:
        raise ConfigError("--together-alerts-per-vessel-day must be greater than 0, for instance 0.015")
    if args.encounters_only:
        model = modelfolder.load(args.model)
        with temporary_folder(args.temp or args.model.parent) as folder:
            archive = deal(args.tracks, region, folder, args.format, parse_columns(args.columns))
            known = learn_together(archive, region, track_rules, say, args.together_alerts_per_vessel_day)
        made_from = model.made_from | {"encounters_vessel_days": round(known.vessel_days, 1)}
        model = modelfolder.save(replace(model, patterns=known, made_from=made_from), args.model)
        print(
            f"{model.version} in {args.model}: {len(known.stops)} stopping places, {known.vessel_days:.0f} vessel-days"
        )
        return 0
    budget = Budget(args.budget or Budget().track_share, args.alerts_per_vessel_day, confidence=args.confidence)
    with temporary_folder(args.temp or args.model.parent) as folder:
        model = _fitted(args, region, track_rules, rules, budget, folder, say)
        model = modelfolder.save(model, args.model)
    limits = model.panel.thresholds
    assert limits is not None
    assert limits.promise is not None
    print(
        f"{model.version} in {args.model}: {', '.join(model.panel.names)}; {limits.flagged:.1%} of {limits.n_tracks} normal tracks flagged, {limits.alerts_per_vessel_day:.3f} alerts per vessel-day"
    )
    for line in limits.promise.lines(budget.allowed, alerts=budget.alerts_per_vessel_day is not None):
        print(line)
    return 0


def _fitted(
    args: argparse.Namespace,
    region: Region,
    track_rules: TrackRules,
    rules: DetectionRules,
    budget: Budget,
    folder: Path,
    say: Callable[[str], None],
) -> Model:
    """The model, complete; ``folder`` takes temporary files."""
    columns, seed = parse_columns(args.columns), args.split_seed
    archive: Dealt | None = None
    sets: Iterator[TrainingSamples]
    if sample_files(args.tracks):
        sets = (
            load_samples(args.tracks, region, track_rules, rules, all_tracks=every, seed=seed)
            for every in (False, True)
        )
    else:
        archive = deal(args.tracks, region, folder / "reports", args.format, columns)
        if not archive.counts.accepted:
            raise nothing_read(args.tracks, archive.counts, args.format, columns)
        say(f"{archive.inside:,} reports inside {region.name} of {archive.counts.received:,} rows")
        sets = samples_of_dealt(archive, region, folder, track_rules, rules, (False, True), seed=seed)
    # One of the two at a time, and none of the test vessels any longer than it takes to leave them out.
    found = next(sets)
    facts = {"split_seed": seed, "tracks_by_choice": dict(found.tracks), **found.extent()._asdict()}
    train, dev = (found.of(s, seed).samples for s in (Split.TRAIN, Split.DEV))
    found = next(sets)
    memory = found.samples[split_of(found.samples["mmsi"], seed) != Split.TEST]
    memory = memory[np.argsort(split_of(memory["mmsi"], seed), kind="stable")]
    del found
    vessels = {"train": len(np.unique(train["mmsi"])), "dev": len(np.unique(dev["mmsi"]))}
    say(f"{len(train)} samples of {vessels['train']} vessels to learn from, {len(dev)} of {vessels['dev']} to judge by")
    if vessels["dev"] < MIN_DEV_VESSELS:
        raise ConfigError(f"only {vessels['dev']} development vessels: give tracks of more vessels, or a longer period")
    if args.together:
        archive = deal(args.together, region, folder / "together", args.format, columns)
    events = np.zeros(0, RULE_EVENT_DTYPE)
    if archive is not None:
        events = events_of_dealt(archive, track_rules, region, lambda mmsi: split_of(mmsi, seed) != Split.TEST)
    names = args.detectors.split(",") if args.detectors else None
    trained = {}
    for name in names or installed():
        weights = args.model / "detectors" / name
        if weights.is_dir() and traits_of(modelfolder.detector_class(name)).training != "none":
            # The model folder is replaced as a whole: what was trained is kept aside meanwhile.
            trained[name] = Path(shutil.copytree(weights, folder / "trained" / name))
    model = fit_model(
        train,
        dev,
        region,
        memory=memory,
        name=args.name or args.model.resolve().name.lower(),
        track_rules=track_rules,
        rules=rules,
        detectors=names,
        trained=trained,
        budget=budget,
        decision=args.decision,
        made_from={**facts, "samples_learnt_from": len(train) + len(dev)},
        credits=args.credit,
        rule_events=events,
        say=say,
    )
    if archive is None:
        say("jumps and ships together are not learnt from samples; give --together TRACKS, some days of reports")
        return model
    return replace(
        model, patterns=learn_together(archive, region, track_rules, say, args.together_alerts_per_vessel_day)
    )
