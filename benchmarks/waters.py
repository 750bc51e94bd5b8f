"""Does the budget hold in waters that no shipped model was made from? Models of a part of an archive, judged on vessels, days or places that took no part.

``python -m benchmarks.waters NAME ... --out DIR`` makes a model of each water, judges the part that was kept back and prints rows of the
table in docs/studies/budget.md. With ``--development`` the models are made from the train vessels alone and judged on the development
vessels, so that a cause can be looked for without another look at the test vessels. The data are in ../shared.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from multitaskais.cli import main as command
from multitaskais.model.samples import Split, split_of
from multitaskais.times import read_time

from .workload import shared_day

SPLIT_SEED, INJECTION_SEED, PER_KIND, MOST_TRACKS = 0, 21, 15, 300
BINS_DEG = 0.02
COLUMNS = ("MMSI", "BaseDateTime", "LAT", "LON", "SOG", "COG", "Heading", "VesselType")


@dataclass(frozen=True, slots=True)
class Water:
    """One model and what it is judged on.

    Attributes:
        box: south, north, west, east, degrees.
        split: ``vessels``: made from train and development vessels, judged on the test vessels; ``days``: made from what was
            received before ``since``, judged on all vessels from then on.
        border: column, degrees and side: the model is made from what lies below (-1) or above (1) and judged on vessels of the other side,
            in the same box, where it has learnt nothing.
        share: of the archive's vessels that take part, drawn by ``split_of`` with ``DRAW_SEED``.
    """

    file: str
    box: tuple[float, float, float, float]
    split: str
    since: str | None = None
    border: tuple[str, float, int] | None = None
    share: float = 1.0


DRAW_SEED = 17
SBARC, SBARC_BOX = "multiday/sbarc_2018-06-01_05.parquet", (32.0, 36.0, -122.0, -117.0)
DAY = "noaa/ais_2020-01-01.parquet"
FJORD = (52.8, 53.55, -129.7, -128.7)
WATERS = {
    "gulf": Water(DAY, (28.0, 31.0, -95.0, -88.0), "vessels"),
    "losangeles": Water(DAY, (32.0, 35.0, -121.0, -117.0), "vessels"),
    "newyork": Water(DAY, (39.0, 42.0, -75.0, -71.0), "vessels"),
    "chesapeake": Water(DAY, (36.0, 39.5, -77.5, -75.0), "vessels"),
    "sanfrancisco": Water(DAY, (36.5, 39.0, -124.0, -121.5), "vessels"),
    "fjord": Water("multiday/hartley_2019.parquet", FJORD, "vessels"),
    "fjord-later": Water("multiday/hartley_2019.parquet", FJORD, "days", since="2019-10-01"),
    "fjord-beside": Water("multiday/hartley_2019.parquet", FJORD, "vessels", border=("LAT", 53.3, -1)),
    "sbarc": Water(SBARC, SBARC_BOX, "days", since="2018-06-04"),
}
# Borders for development alone: on them the rule of coverage was chosen. None lies on a border of cells.
BORDERS = {
    "gulf-west": ("gulf", ("LON", -91.53, -1)),
    "gulf-east": ("gulf", ("LON", -91.53, 1)),
    "gulf-north": ("gulf", ("LAT", 29.33, 1)),
    "newyork-south": ("newyork", ("LAT", 40.57, -1)),
    "newyork-east": ("newyork", ("LON", -73.53, 1)),
    "losangeles-east": ("losangeles", ("LON", -118.93, 1)),
    "chesapeake-south": ("chesapeake", ("LAT", 37.53, -1)),
    "sbarc-west": ("sbarc", ("LON", -119.57, -1)),
    "sbarc-east": ("sbarc", ("LON", -119.57, 1)),
}
WATERS |= {
    name: replace(WATERS[water], split="vessels", since=None, border=border)
    for name, (water, border) in BORDERS.items()
}


def parts(water: Water, table: pa.Table, development: bool) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(n,) rows that the model is made from, and rows that it is judged on."""
    mmsi = table["MMSI"].to_numpy()
    t = table["BaseDateTime"].cast(pa.timestamp("us")).to_numpy().astype("datetime64[us]").astype(np.int64) / 1e6
    drawn = split_of(mmsi, DRAW_SEED, (water.share, 0.0, 1.0 - water.share)) == Split.TRAIN
    of = split_of(mmsi, SPLIT_SEED)
    if development:
        made, judged = of == Split.TRAIN, of == Split.DEV
    elif water.split == "vessels":
        made, judged = of != Split.TEST, of == Split.TEST
    else:
        made = judged = np.ones(len(mmsi), bool)
    if water.since is not None:
        since = read_time(water.since)
        made, judged = made & (t < since), judged & (t >= since)
    if water.border is not None:
        column, degrees, side = water.border
        below = table[column].to_numpy() < degrees
        learnt = below if side < 0 else ~below
        made, judged = made & learnt, judged & ~learnt
    return made & drawn, judged & drawn


def measure(
    name: str, data: Path, out: Path, *, development: bool, detectors: str | None, seeds: Sequence[int]
) -> list[dict[str, object]]:
    """Make, inject and evaluate with each seed of injections; what is there already is not made again."""
    water = WATERS[name]
    out.mkdir(parents=True, exist_ok=True)
    south, north, west, east = water.box
    region = out / "region.json"
    box = {"lat_min": south, "lat_max": north, "lon_min": west, "lon_max": east}
    region.write_text(json.dumps({"name": name, **box, "lat_bin_deg": BINS_DEG, "lon_bin_deg": BINS_DEG}))
    table = pq.read_table(data / water.file, columns=list(COLUMNS))
    inside = (table["LAT"].to_numpy() >= south) & (table["LAT"].to_numpy() < north)
    inside &= (table["LON"].to_numpy() >= west) & (table["LON"].to_numpy() < east)
    table = table.filter(pa.array(inside))
    for part, rows in zip(("made", "judged"), parts(water, table, development), strict=True):
        pq.write_table(table.filter(pa.array(rows)), out / f"{part}.parquet")
    # Of train vessels alone a fifth is taken out again by another seed, which nothing else has.
    seed = SPLIT_SEED if not development else SPLIT_SEED + 1
    model = out / "model"
    steps: list[tuple[Path, list[str]]] = [
        (model / "manifest.json", ["calibrate", str(out / "made.parquet"), "--region", str(region), "--model", str(model), "--name", name,
                                   "--split-seed", str(seed), *(["--detectors", detectors] if detectors else [])]),
    ]  # fmt: skip
    reports = []
    for k in seeds:
        labelled, evaluation = out / f"labelled-{k}.parquet", out / f"evaluation-{k}"
        steps += [
            (labelled, ["inject", str(out / "judged.parquet"), "--region", str(region), "--seed", str(k),
                        "--per-kind", str(PER_KIND), "--most-tracks", str(MOST_TRACKS), "--out", str(labelled)]),
            (evaluation / "report.json", ["evaluate", str(labelled), "--model", str(model), "--split", water.split, "--no-plots", "--out", str(evaluation)]),
        ]  # fmt: skip
        reports.append(evaluation / "report.json")
    for result, line in steps:
        print(f"multitaskais {' '.join(line)}", flush=True)
        if not result.is_file() and (code := command(line)):
            raise SystemExit(code)
    promise = json.loads((model / "thresholds.json").read_text())["promise"]
    return [json.loads(file.read_text()) | {"promise": promise} for file in reports]


def row(name: str, reports: Sequence[dict[str, object]]) -> str:
    """Of the table in docs/studies/budget.md: figures of one seed of injections, or their mean; the clean tracks are those of the first."""
    report = reports[0]
    fused: list[dict] = [r["fused"] for r in reports]  # type: ignore[misc, type-arg]
    budget: dict = report["budget_kept"]  # type: ignore[assignment, type-arg]
    promise: dict = report["promise"]  # type: ignore[assignment, type-arg]
    low, high = budget["clean_flagged_interval_90"]
    figures = " | ".join(
        f"{np.mean([f[k] for f in fused]):.2f}"
        for k in ("auroc", "average_precision", "recall_at_1pct", "recall_at_5pct")
    )
    alerts = np.mean([f["alerts_per_vessel_day"] for f in fused])
    named = np.mean([f["causes"]["named_right"] or 0 for f in fused])
    return (
        f"| {name} | {promise['tracks']} tracks of {promise['vessels']} vessels, {promise['days']} days"
        f" | {report['clean_tracks']} of {budget['clean_vessels']} vessels | {budget['set']:.0%}"
        f" | {promise['flagged']:.1%}, {promise['flagged_at_most']:.1%} | {budget['seen']:.1%} | {budget['ratio']:.2f}"
        f" | {low:.1%} to {high:.1%} | {alerts:.3f} | {figures} | {named:.2f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.waters", description=__doc__)
    parser.add_argument("names", nargs="+", metavar="NAME", choices=tuple(WATERS), help=", ".join(WATERS))
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--development", action="store_true", help="judge development vessels, not the test vessels")
    parser.add_argument("--detectors", metavar="A,B,...", help="instead of all that need no training")
    parser.add_argument(
        "--seeds",
        type=int,
        nargs="+",
        default=[INJECTION_SEED],
        metavar="N",
        help="of the injections (default: %(default)s)",
    )
    args = parser.parse_args()
    day = shared_day()
    if day is None:
        raise SystemExit("the data are not there: set MULTITASKAIS_SHARED to the folder that holds data/noaa")
    for name in args.names:
        reports = measure(
            name,
            day.parents[1],
            args.out / name,
            development=args.development,
            detectors=args.detectors,
            seeds=args.seeds,
        )
        print(row(name, reports), flush=True)


if __name__ == "__main__":
    main()
