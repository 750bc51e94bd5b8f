"""``multitaskais train TRACKS --region R --out MODEL``: the VRNN learns what ships do here, or the residual detector how ships move.

TRACKS is the Parquet of ``tracks_builder``, or any archive that ``multitaskais decode`` and its siblings read. Vessels are
split by a hash of their MMSI: 60 % to learn from, 20 % (development) to decide when to stop, 20 % never looked at.
Weights go to MODEL/detectors/NAME, log, curves and checkpoint to MODEL/training; ``multitaskais calibrate`` completes the folder.
``--detector residual`` learns from all tracks, short ones too; ``--region global`` takes them from everywhere.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..ais.archives import list_files
from ..ais.tables.layout import parse_columns
from ..ais.zero import notes_of
from ..config import DetectionRules, Region, TrackRules
from ..model.dealt import deal
from ..model.samples import (
    Extent,
    Split,
    TrainingSamples,
    load_samples,
    sample_files,
    temporary_folder,
)
from ..model.training_tracks import training_tracks
from ..networks.dataset import Dataset
from ..networks.settings import BOUNDS, TrainSettings
from ..tracks import fourhot

if TYPE_CHECKING:
    from ..detectors.vrnn import VrnnDetector
    from ..networks.train import Trained

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
    p.add_argument(
        "--temp",
        type=Path,
        metavar="DIR",
        help="folder of temporary files, about 20 bytes a report and 40 a sample (default: beside MODEL)",
    )
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
    with temporary_folder(args.temp or args.out.parent) as folder:
        dataset, extent = _dataset(args, region, rules, folder)
        detector, trained = _trained(args, dataset, region, rules, settings)
    detector.save(args.out / "detectors" / "vrnn")
    _note_extent(args.out / "training" / "training.json", extent)
    print(
        f"{trained.steps} steps in {trained.seconds:.0f} s; best at step {trained.best_step}: "
        f"{trained.best_val_bound:.3f} nats a sample on unseen vessels, KL {trained.val_kl:.4f}"
        + (" (the latent is dead: the model works as an LSTM)" if trained.latent_is_dead else "")
    )
    print(f"weights in {args.out / 'detectors' / 'vrnn'}, log and curves in {args.out / 'training'}")
    return 0


def _trained(
    args: argparse.Namespace, dataset: Dataset, region: Region, rules: DetectionRules, settings: TrainSettings
) -> tuple[VrnnDetector, Trained]:
    from ..detectors.vrnn import VrnnDetector

    return VrnnDetector.trained(
        dataset, region, rules, settings, args.out / "training", args.resume, args.score_samples
    )


def _note_extent(file: Path, extent: Extent) -> None:
    """How much there was to learn from, beside what the training wrote."""
    said = json.loads(file.read_text())
    file.write_text(json.dumps(said | {"archive": extent._asdict()}, indent=1) + "\n")


def _dataset(args: argparse.Namespace, region: Region, rules: DetectionRules, folder: Path) -> tuple[Dataset, Extent]:
    if sample_files(args.tracks):
        found = load_samples(args.tracks, region, rules=rules, seed=args.split_seed)
        return _dataset_of_samples(found, region, args.split_seed), found.extent()
    archive = deal(args.tracks, region, folder / "reports", args.format, args.columns)
    counts = archive.counts
    rejected = "".join(f", {reason} {n}" for reason, n in sorted(counts.rejected.items()))
    print(f"{counts.received} rows in, {archive.inside} inside {region.name}{rejected}")
    for note in notes_of(counts):
        print(note, file=sys.stderr)
    phases = max(1, args.phases)
    found_tracks = training_tracks(archive, region, folder / "bins", TrackRules(), rules, phases, args.split_seed)
    archive.shuffle.remove()
    dataset, extent, by_choice = found_tracks
    print("tracks: " + ", ".join(f"{name} {n}" for name, n in by_choice.items()))
    print(f"{extent.samples} samples of {extent.vessels} vessels on {extent.days} days")
    print(f"train {len(dataset.train)} lines, dev {len(dataset.validation)} lines")
    return dataset, extent


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
        args.tracks,
        region,
        rules=rules,
        archive_format=args.format,
        all_tracks=True,
        columns=args.columns,
        temp=args.temp or args.out.parent,
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
