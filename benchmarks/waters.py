"""Does the budget hold in waters that no shipped model was made from? Models of a part of an archive, judged on vessels, days or places that took no part.

``python -m benchmarks.waters NAME ... --out DIR`` makes a model of each water, judges the part that was kept back and prints rows of the
table in docs/studies/budget.md. With ``--development`` the models are made from the train vessels alone and judged on the development
vessels, so that a cause can be looked for without another look at the test vessels. The data are in ../shared.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
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
        beside: latitude; the model is made from what lies south of it and judged on test vessels north of it, in the same box.
        share: of the archive's vessels that take part, drawn by ``split_of`` with ``DRAW_SEED``.
    """

    file: str
    box: tuple[float, float, float, float]
    split: str
    since: str | None = None
    beside: float | None = None
    share: float = 1.0


DRAW_SEED = 17
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
    "fjord-beside": Water("multiday/hartley_2019.parquet", FJORD, "vessels", beside=53.3),
    "sbarc": Water("multiday/sbarc_2018-06-01_05.parquet", (32.0, 36.0, -122.0, -117.0), "days", since="2018-06-04"),
}


def parts(water: Water, table: pa.Table, development: bool) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(n,) rows that the model is made from, and rows that it is judged on."""
    mmsi = table["MMSI"].to_numpy()
    lat = table["LAT"].to_numpy()
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
    if water.beside is not None:
        made, judged = made & (lat < water.beside), judged & (lat >= water.beside)
    return made & drawn, judged & drawn


def measure(name: str, data: Path, out: Path, *, development: bool, detectors: str | None) -> dict[str, object]:
    """Make, inject, evaluate; what is there already is not made again."""
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
    steps: Sequence[tuple[Path, list[str]]] = (
        (model / "manifest.json", ["calibrate", str(out / "made.parquet"), "--region", str(region), "--model", str(model), "--name", name,
                                   "--split-seed", str(seed), *(["--detectors", detectors] if detectors else [])]),
        (out / "labelled.parquet", ["inject", str(out / "judged.parquet"), "--region", str(region), "--seed", str(INJECTION_SEED),
                                    "--per-kind", str(PER_KIND), "--most-tracks", str(MOST_TRACKS), "--out", str(out / "labelled.parquet")]),
        (out / "evaluation" / "report.json", ["evaluate", str(out / "labelled.parquet"), "--model", str(model), "--split", water.split,
                                              "--no-plots", "--out", str(out / "evaluation")]),
    )  # fmt: skip
    for result, line in steps:
        print(f"multitaskais {' '.join(line)}", flush=True)
        if not result.is_file() and (code := command(line)):
            raise SystemExit(code)
    report: dict[str, object] = json.loads((out / "evaluation" / "report.json").read_text())
    return report | {"promise": json.loads((model / "thresholds.json").read_text())["promise"]}


def row(name: str, report: dict[str, object]) -> str:
    """Of the table in docs/studies/budget.md."""
    found: dict = report["fused"]  # type: ignore[assignment, type-arg]
    budget: dict = report["budget_kept"]  # type: ignore[assignment, type-arg]
    promise: dict = report["promise"]  # type: ignore[assignment, type-arg]
    low, high = budget["clean_flagged_interval_90"]
    figures = " | ".join(f"{found[k]:.2f}" for k in ("auroc", "average_precision", "recall_at_1pct", "recall_at_5pct"))
    return (
        f"| {name} | {promise['tracks']} tracks of {promise['vessels']} vessels, {promise['days']} days"
        f" | {report['clean_tracks']} of {budget['clean_vessels']} vessels | {budget['set']:.0%}"
        f" | {promise['flagged']:.1%}, {promise['flagged_at_most']:.1%} | {budget['seen']:.1%} | {budget['ratio']:.2f}"
        f" | {low:.1%} to {high:.1%} | {found['alerts_per_vessel_day']:.3f} | {figures} | {found['causes']['named_right'] or 0:.2f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.waters", description=__doc__)
    parser.add_argument("names", nargs="+", metavar="NAME", choices=tuple(WATERS), help=", ".join(WATERS))
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--development", action="store_true", help="judge development vessels, not the test vessels")
    parser.add_argument("--detectors", metavar="A,B,...", help="instead of all that need no training")
    args = parser.parse_args()
    day = shared_day()
    if day is None:
        raise SystemExit("the data are not there: set MULTITASKAIS_SHARED to the folder that holds data/noaa")
    for name in args.names:
        report = measure(name, day.parents[1], args.out / name, development=args.development, detectors=args.detectors)
        print(row(name, report), flush=True)


if __name__ == "__main__":
    main()
