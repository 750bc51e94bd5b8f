"""``multitaskais train TRACKS --region R --out MODEL``: the VRNN learns what ships do here, or the residual detector how ships move.

TRACKS is the Parquet of ``tracks_builder``, or any archive that ``multitaskais decode`` and its siblings read. Vessels are
split by a hash of their MMSI: 60 % to learn from, 20 % (development) to decide when to stop, 20 % never looked at.
Weights go to MODEL/detectors/NAME, log, curves and checkpoint to MODEL/training; ``multitaskais calibrate`` completes the folder.
``--detector residual`` learns from all tracks, short ones too; ``--region global`` takes them from everywhere.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ais.archives import list_files
from ..ais.tables.layout import parse_columns
from ..ais.zero import notes_of
from ..config import STEP_S, DetectionRules, Region, TrackRules
from ..model.samples import (
    Split,
    TrainingSamples,
    load_reports,
    load_samples,
    sample_files,
    samples_of,
    split_of,
)
from ..networks.dataset import Dataset
from ..networks.settings import BOUNDS, TrainSettings
from ..tracks import fourhot
from ..types import Reports

PHASES = 4  # grids of different phase that training draws from (docs/method.md#dead-latent: random phase)


def add_parser(subparsers: Any) -> None:
    p = subparsers.add_parser(
        "train",
        help="tracks -> the weights of the VRNN",
        description=__doc__,
        epilog="example: multitaskais train tracks --region gulf --out out/mine",
    )
    p.add_argument(
        "tracks", nargs="+", metavar="TRACKS", help="Parquet of tracks or samples, or an archive, a folder, a pattern"
    )
    p.add_argument("--region", required=True, help="a preset's name, or a JSON file")
    p.add_argument("--out", required=True, type=Path, metavar="MODEL", help="model folder")
    p.add_argument("--detector", choices=("vrnn", "residual"), default="vrnn", help="which network (default vrnn)")
    p.add_argument("--format", metavar="F", help="of an archive; recognised by itself")
    p.add_argument(
        "--columns", metavar="F=COLUMN,...", help="of a table: which column is what, such as sog=Speed,t=When"
    )
    p.add_argument("--resume", action="store_true", help="go on from MODEL/training/checkpoint.npz where there is one")
    p.add_argument("--steps", type=int)
    p.add_argument("--batch", type=int, help="tracks a step")
    p.add_argument("--learning-rate", type=float)
    p.add_argument("--samples", type=int, metavar="S", help="latent samples of the bound")
    p.add_argument("--bound", choices=BOUNDS)
    p.add_argument("--score-samples", type=int, default=1, metavar="S", help="latent samples of a score; 0 = the mean")
    p.add_argument("--latent", type=int)
    p.add_argument("--hidden", type=int)
    p.add_argument("--patience", type=int, help="looks at unseen vessels without a better one")
    p.add_argument("--val-every", type=int, help="steps between these looks")
    p.add_argument("--free-bits", type=float, help="nats a step of KL that cost nothing")
    p.add_argument("--kl-anneal-steps", type=int)
    p.add_argument("--decoder-dropout", type=float)
    p.add_argument("--input-dropout", type=float, help="share of the blocks that the recurrence does not see")
    p.add_argument("--dropout", type=float, help="share of the recurrence's units that the emission does not see")
    p.add_argument("--weight-decay", type=float)
    p.add_argument("--phases", type=int, default=PHASES, help="10-minute grids of different phase for each track")
    p.add_argument("--seed", type=int)
    p.add_argument("--split-seed", type=int, default=0, help="which vessels are for what")
    p.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    region, rules = Region.load(args.region), DetectionRules()
    args.columns = parse_columns(args.columns)
    if told := list_files(args.tracks).told():
        print(told, file=sys.stderr)
    given = {k: v for k, v in vars(args).items() if v is not None}
    if args.detector == "residual":
        return _residual(args, given, region, rules)
    names = {f.name for f in dataclasses.fields(TrainSettings)}
    settings = TrainSettings(**{k: v for k, v in given.items() if k in names})
    if sample_files(args.tracks):
        found = load_samples(args.tracks, region, rules=rules, seed=args.split_seed)
        dataset = _dataset_of_samples(found, region, args.split_seed)
    else:
        dataset = _dataset_of_reports(args, region, rules)

    from ..detectors.vrnn import VrnnDetector

    detector, trained = VrnnDetector.trained(
        dataset, region, rules, settings, args.out / "training", args.resume, args.score_samples
    )
    detector.save(args.out / "detectors" / "vrnn")
    print(
        f"{trained.steps} steps in {trained.seconds:.0f} s; best at step {trained.best_step}: "
        f"{trained.best_val_bound:.3f} nats a sample on unseen vessels, KL {trained.val_kl:.4f}"
        + (" (the latent is dead: the model works as an LSTM)" if trained.latent_is_dead else "")
    )
    print(f"weights in {args.out / 'detectors' / 'vrnn'}, log and curves in {args.out / 'training'}")
    return 0


def _dataset_of_reports(args: argparse.Namespace, region: Region, rules: DetectionRules) -> Dataset:
    reports, counts = load_reports(args.tracks, region, args.format, args.columns)
    rejected = "".join(f", {reason} {n}" for reason, n in sorted(counts.rejected.items()))
    print(f"{counts.received} rows in, {len(reports)} inside {region.name}{rejected}")
    for note in notes_of(counts):
        print(note, file=sys.stderr)
    return dataset_of(reports, region, TrackRules(), rules, max(1, args.phases), args.split_seed)


def _dataset_of_samples(found: TrainingSamples, region: Region, split_seed: int) -> Dataset:
    """Lines of a folder of samples as bins, each on the one grid that it has; vessels split by ``split_of``."""
    days, vessels, samples = found.extent()
    print(f"{samples} samples of {vessels} vessels on {days} days, {len(found.samples)} of them to learn from")
    split = {
        s: [[fourhot.bins(line, region)] for line in found.of(s, split_seed).lines()] for s in (Split.TRAIN, Split.DEV)
    }
    print(", ".join(f"{s.name.lower()} {len(t)} lines" for s, t in split.items()))
    return Dataset.of(split[Split.TRAIN], split[Split.DEV])


def _residual(args: argparse.Namespace, given: dict[str, Any], region: Region, rules: DetectionRules) -> int:
    from ..detectors.residual import ResidualDetector

    found = load_samples(
        args.tracks, region, rules=rules, archive_format=args.format, all_tracks=True, columns=args.columns
    )
    for note in notes_of(found.counts):
        print(note, file=sys.stderr)
    lines = {s: found.of(s, args.split_seed).lines() for s in (Split.TRAIN, Split.DEV)}
    print(", ".join(f"{s.name.lower()} {len(t)} lines" for s, t in lines.items()))
    names = {"steps", "batch", "learning_rate", "hidden", "patience", "val_every", "seed"}
    detector, trained = ResidualDetector.trained(
        lines[Split.TRAIN],
        lines[Split.DEV],
        {k: v for k, v in given.items() if k in names},
        args.out / "training" / "residual",
    )
    detector.save(args.out / "detectors" / "residual")
    print(
        f"{trained.steps} steps in {trained.seconds:.0f} s; best at step {trained.best_step}: "
        f"{trained.val_nll:.3f} nats a sample on unseen vessels, {trained.train_nll:.3f} on those of training"
    )
    print(f"weights in {args.out / 'detectors' / 'residual'}, log in {args.out / 'training' / 'residual'}")
    return 0


def dataset_of(
    reports: Reports,
    region: Region,
    track_rules: TrackRules,
    rules: DetectionRules,
    phases: int,
    split_seed: int,
) -> Dataset:
    """Chosen tracks as bins, each on ``phases`` grids; vessels split by ``split_of``."""
    grids: list[dict[tuple[int, int], NDArray[np.int16]]] = []
    for phase in range(phases):
        samples, line, tracks = samples_of(reports, region, track_rules, rules, phase * STEP_S / phases)
        if phase == 0:
            print("tracks: " + ", ".join(f"{name} {n}" for name, n in tracks.items()))
        bins = fourhot.bins(samples, region)
        first = np.flatnonzero(np.concatenate([[True], np.diff(line) != 0])) if len(line) else np.zeros(0, np.int64)
        seen: dict[int, int] = {}
        grid = {}
        for part in np.split(np.arange(len(line)), first[1:]) if len(line) else []:
            mmsi = int(samples["mmsi"][part[0]])
            # The k-th line of a vessel is the same line on every grid: phases drop reports, never whole lines of 4 h.
            grid[mmsi, seen.setdefault(mmsi, 0)] = bins[part]
            seen[mmsi] += 1
        grids.append(grid)
    split: dict[Split, list[list[NDArray[np.int16]]]] = {Split.TRAIN: [], Split.DEV: [], Split.TEST: []}
    for key in grids[0]:
        of = Split(int(split_of(key[0], split_seed)[0]))
        split[of].append([g[key] for g in grids if key in g])
    print(", ".join(f"{s.name.lower()} {len(t)} lines" for s, t in split.items()))
    return Dataset.of(split[Split.TRAIN], split[Split.DEV])
