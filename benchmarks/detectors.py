"""Claim: the panel finds more anomalies in real tracks than any detector of it alone, and than isolation forest, autoencoder and the published chain.

``python -m benchmarks detectors`` measures on test vessels of the NOAA day in ../shared (``--quick``: on development vessels, which set
the thresholds: optimistic). ``python -m benchmarks.detectors --split dev --seed 3`` prints the table in Markdown. All sides see the same
injected tracks; a track's score is the greatest over its samples.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multitaskais.config import REGIONS, TrackRules
from multitaskais.detection import offline
from multitaskais.evaluation import metrics
from multitaskais.evaluation.altered import CLEAN, clean_tracks, labelled, write_labelled
from multitaskais.evaluation.evaluate import Outcome
from multitaskais.evaluation.labelled import read_labelled
from multitaskais.evaluation.run import judge
from multitaskais.model import folder as modelfolder
from multitaskais.model.folder import Model
from multitaskais.model.samples import Split, load_reports, samples_of, split_of
from multitaskais.records import SAMPLE_DTYPE
from multitaskais.types import Samples

from .harness import Result, require
from .reference import published_chain
from .workload import shared_day

MODEL = "gulf"
SEED, PER_KIND, QUICK_PER_KIND = 21, 40, 10
WINDOW = 12  # samples in a window of the baselines, two hours as of the panel
NET = (64, 8, 64)  # of the autoencoder
FIGURES = ("auroc", "average_precision", "recall_at_1pct", "recall_at_5pct")
LIMITS = {"detectors": "one day of data: ships off the lanes have no neighbours to be compared with."}

Rows = dict[str, dict[str, float]]


def windows(samples: Samples) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(m,) samples sorted by line -> (k, 4 * WINDOW) features of each full window, km and knots, and the number of its last sample.

    Position and velocity of each sample: what the panel's detectors look at.
    """
    angle = np.radians(np.nan_to_num(samples["cog"]))
    sog = np.nan_to_num(samples["sog"])
    x = np.stack(
        [samples["lon"] * 96.8, samples["lat"] * 111.2, sog * np.sin(angle), sog * np.cos(angle)], axis=1
    )  # km to a degree at 29.5 N
    _, line = offline.lines_of(samples)
    last = np.flatnonzero(
        np.concatenate([np.zeros(WINDOW - 1, bool), line[WINDOW - 1 :] == line[: len(line) - WINDOW + 1]])
    )
    return x[last[:, None] + np.arange(1 - WINDOW, 1)].reshape(len(last), -1), last


def greatest(
    value: NDArray[np.float64], at: NDArray[np.int64], row: NDArray[np.int64], tracks: int
) -> NDArray[np.float64]:
    """(tracks,) greatest value of each track; -inf without one."""
    out = np.full(tracks, metrics.NOT_JUDGED)
    np.maximum.at(out, row[at], value)
    return out


def baselines(
    train: Samples, judged: Samples, row: NDArray[np.int64], tracks: int, seed: int
) -> dict[str, NDArray[np.float64]]:
    """Track scores of detectors that know nothing of ships; the autoencoder's over its mean + 5 sigma (1 flags)."""
    from sklearn.ensemble import IsolationForest
    from sklearn.neural_network import MLPRegressor

    x, _ = windows(train)
    mean, sd = x.mean(0), x.std(0)
    x = (x - mean) / sd
    q, at = windows(judged)
    q = (q - mean) / sd
    forest = IsolationForest(n_estimators=200, random_state=seed).fit(x)
    net = MLPRegressor(hidden_layer_sizes=NET, random_state=seed, max_iter=60, early_stopping=True).fit(x, x)

    def error(values: NDArray[np.float64]) -> NDArray[np.float64]:
        errors: NDArray[np.float64] = np.square(net.predict(values) - values).mean(1)
        return errors

    usual = error(x)
    return {
        "isolation forest, windows of 2 h": greatest(-forest.score_samples(q), at, row, tracks),
        "autoencoder, windows of 2 h, mean + 5 sigma": greatest(
            error(q) / (usual.mean() + 5 * usual.std()), at, row, tracks
        ),
    }


def published(
    model: Model, dev: Samples, judged: Samples, row: NDArray[np.int64], tracks: int
) -> dict[str, NDArray[np.float64]]:
    """Track scores of docs/method.md#the-network to #a-contrario-decision with the model's own network: -log10 of the least NFA, over 10 (1 flags at eps 1e-10)."""
    vrnn: Any = model.panel.detectors[model.panel.names.index("vrnn")]
    before = getattr(vrnn, "score", None)
    try:
        if before is not None:
            vrnn.score = "all"  # l_t itself, docs/method.md#the-network
        normal, likelihood = (-offline.run_detector(vrnn, s)[0] for s in (dev, judged))
    finally:
        if before is not None:
            vrnn.score = before
    use = np.isfinite(normal) & (dev["n"] >= published_chain.WARMUP)
    limit = published_chain.quantiles(normal[use], published_chain.cell_of(dev["lat"], dev["lon"])[use])
    cell = published_chain.cell_of(judged["lat"], judged["lon"])
    out = {}
    for name, low in (("abnormal", True), ("not judged", False)):
        best = np.full(tracks, metrics.NOT_JUDGED)
        for k in np.unique(row):
            mine = row == k
            best[k] = published_chain.score(likelihood[mine], cell[mine], judged["n"][mine], limit, empty_is_low=low)
        out[f"VRNN as published, empty cells {name}"] = best / -np.log10(published_chain.EPS)
    return out


def samples_from(result: Outcome) -> tuple[Samples, NDArray[np.int64]]:
    """The samples that the panel judged, sorted by track, none of them moored, and each one's row of ``tracks``."""
    trace = result.trace[np.lexsort((result.trace["t"], result.trace["mmsi"]))]
    samples = np.zeros(len(trace), SAMPLE_DTYPE)
    for name in ("mmsi", "t", "n", "lat", "lon", "sog", "cog"):
        samples[name] = trace[name]
    samples["ship_type"] = samples["nav_status"] = -1
    return samples, np.searchsorted(result.labelled.tracks["key"], trace["mmsi"])


def compare(day: Path, split: Split, seed: int, per_kind: int, model_name: str, folder: Path) -> Rows:
    """AUROC, average precision, recall at 1 % and 5 %, and share of clean tracks flagged, of everything on the same tracks."""
    region = REGIONS[MODEL]
    reports, _ = load_reports([day], region)
    of = split_of(reports["mmsi"])
    rows, _ = labelled(clean_tracks(reports[of == split], TrackRules(), region), per_kind, seed, region)
    write_labelled(rows, folder / "labelled.parquet")
    model = modelfolder.load(model_name)
    result = judge(model, read_labelled(folder / "labelled.parquet"))
    tracks = result.labelled.tracks
    kind = tracks["kind"]
    found: Rows = {}
    for view in (result.fused, *result.detectors):
        found[view.name] = metrics.ranking_by_kind(view.score, kind)[0] | {
            "clean_flagged": float(view.flagged[kind == CLEAN].mean())
        }

    judged, row = samples_from(result)
    learn, _, _ = samples_of(reports[of == Split.TRAIN], region)
    dev, _, _ = samples_of(reports[of == Split.DEV], region)
    dev["moored"] = learn["moored"] = False  # nobody told them of moored ships
    others = baselines(learn, judged, row, len(tracks), seed)
    if "vrnn" in model.panel.names:
        others |= published(model, dev, judged, row, len(tracks))
    for name, score in others.items():
        flagged = {} if "forest" in name else {"clean_flagged": float((score[kind == CLEAN] >= 1.0).mean())}
        found[name] = metrics.ranking_by_kind(score, kind)[0] | flagged
    return found


def markdown(rows: Rows) -> str:
    head = ["| detector | AUROC | AP | R1 | R5 | clean flagged |", "|---|---|---|---|---|---|"]
    return "\n".join(
        head
        + [
            f"| {name} | "
            + " | ".join(f"{r[k]:.2f}" for k in FIGURES)
            + f" | {f'{c:.1%}' if (c := r.get('clean_flagged')) is not None else '-'} |"
            for name, r in rows.items()
        ]
    )


def run(quick: bool = False) -> list[Result]:
    import tempfile

    day = shared_day()
    if day is None:
        return []
    split, per_kind = (Split.DEV, QUICK_PER_KIND) if quick else (Split.TEST, PER_KIND)
    with tempfile.TemporaryDirectory() as folder:
        rows = compare(day, split, SEED, per_kind, os.environ.get("BENCH_DETECTORS_MODEL", MODEL), Path(folder))
    require(all(np.isfinite(r["auroc"]) for r in rows.values()), "every detector has a score for these tracks")
    fused = rows["fused"]
    out = []
    for name, r in rows.items():
        if name == "fused":
            continue
        ratio = fused["auroc"] / r["auroc"]
        out.append(
            Result(
                "detectors",
                f"the panel on {split.name.lower()} vessels",
                name,
                "AUROC",
                fused["auroc"],
                r["auroc"],
                ratio,
                ratio,
                ratio,
                1,
                None if name in ("jump", "identity_conflict") else 1.0,
                figures=dict(r),
            )
        )
    lines = (
        f"{name}: AP {r['average_precision']:.2f}, R1 {r['recall_at_1pct']:.2f}, R5 {r['recall_at_5pct']:.2f}"
        for name, r in rows.items()
    )
    out[0] = Result.from_dict(out[0].to_dict() | {"notes": tuple(lines)})
    return out


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.detectors", description=__doc__)
    parser.add_argument("--split", choices=("dev", "test"), default="dev", help="of the vessels (default dev)")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--per-kind", type=int, default=PER_KIND, metavar="N")
    parser.add_argument("--model", default=MODEL)
    args = parser.parse_args()
    day = shared_day()
    if day is None:
        raise SystemExit("real data are absent: no ../shared beside the checkout and MULTITASKAIS_SHARED is not set")
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        print(markdown(compare(day, Split[args.split.upper()], args.seed, args.per_kind, args.model, Path(folder))))


if __name__ == "__main__":
    main()
