"""``python -m model_trainer.work FOLDER``: the steps of one job, in a process of its own that ends with its trainer.

Reads FOLDER/conf.json; writes FOLDER/model, FOLDER/result.json, and FOLDER/progress.json as it goes on. It knows neither the database nor
where models are published: the trainer does that, when the job is still its own. Steps are commands of ``multitaskais``.
"""

from __future__ import annotations

import json
import math
import os
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from multitaskais.ais.archives import read_reports
from multitaskais.config import Region
from multitaskais.errors import ConfigError, InputError
from multitaskais.records import REPORT_DTYPE
from multitaskais.simulate.archive import write_parquet

from .child import StepFailed, multitaskais
from .comparison import Answered, Judged, compare, doubts
from .conf import Compare

DAY_S = 86400.0
BETTER_AUROC = 0.01  # less is noise between seeds of the injected anomalies
COMPARE: dict[str, Any] = msgspec.to_builtins(Compare())  # where a conf has no [compare]
BY_CHANCE = 0.01  # a nightly comparison is wrong once in some months
SHARES = {
    "read": 0.05,
    "train": 0.6,
    "calibrate": 0.8,
    "inject": 0.85,
    "evaluate": 0.95,
    "compare": 1.0,
}  # of the way, at the end of each step


def main(folder: Path) -> int:
    conf = json.loads((folder / "conf.json").read_text())
    try:
        result = run(conf, folder)
    except (ConfigError, InputError, StepFailed) as e:
        print(e, file=sys.stderr)
        return 2
    write(folder / "result.json", result)
    return 0


def run(conf: dict[str, Any], folder: Path) -> dict[str, Any]:
    region = Region.load(conf["region"])
    # Before the long work: a file that is not there is said at once. A job that an older program queued has no [compare].
    answered = Answered.read(conf.get("compare") or {})
    (folder / "region.json").write_text(json.dumps(region.to_dict()))
    model, held_out, tracks = folder / "model", folder / "held_out.parquet", folder / "reports.parquet"
    box = ["--region", str(folder / "region.json")]
    report_progress(folder, 0.0, "reading the archive")
    if not tracks.is_file():
        read(conf, region, tracks)
    train, calibrate = conf["train"], conf["calibrate"]
    if train["steps"] and "vrnn" in (calibrate["detectors"] or ["vrnn"]):
        report_progress(folder, SHARES["read"], "train")
        more = [x for k in ("steps", "seed", "latent", "hidden", "val_every") if train[k] is not None for x in (f"--{k.replace('_', '-')}", str(train[k]))]  # fmt: skip
        multitaskais("train", str(tracks), *box, "--out", str(model), "--resume", *more)
    report_progress(folder, SHARES["train"], "calibrate")
    more = [] if calibrate["budget"] is None else ["--budget", str(calibrate["budget"])]
    more += ["--detectors", ",".join(calibrate["detectors"])] if calibrate["detectors"] else []
    multitaskais("calibrate", str(tracks), *box, "--model", str(model), "--name", conf["publish"]["name"], *more)
    report_progress(folder, SHARES["calibrate"], "inject")
    test = conf["evaluate"]
    multitaskais("inject", str(tracks), *box, "--seed", str(test["seed"]), "--per-kind", str(test["per_kind"]), "--split", "test", "--out", str(held_out))  # fmt: skip
    report_progress(folder, SHARES["inject"], "evaluate")
    figures = evaluate(model, held_out, folder / "evaluation", "--card")
    latest = folder / "latest"  # the version that answers now, put there by the trainer where there is one
    if not latest.is_dir():
        return verdict(conf, figures, None)
    former = evaluate(latest, held_out, folder / "evaluation-latest")
    report_progress(folder, SHARES["evaluate"], "compare")
    before, now = (judge(m, tracks, folder / f"days-{m.name}") for m in (latest, model))
    return verdict(conf, figures, former, compare(before, now, answered))


def read(conf: dict[str, Any], region: Region, into: Path) -> None:
    """The reports of the archive in the box, of the newest days where the conf says so."""
    inside = []
    for part in read_reports(conf["archive"], conf.get("format"), columns=conf.get("columns")):
        lat, lon = part.reports["lat"], part.reports["lon"]
        inside.append(part.reports[(lat >= region.lat_min) & (lat < region.lat_max) & (lon >= region.lon_min) & (lon < region.lon_max)])  # fmt: skip
    reports = np.concatenate(inside) if inside else np.zeros(0, REPORT_DTYPE)
    if not len(reports):
        raise InputError(f"no report of the archive lies in region {region.name}")
    if conf["last_days"] is not None:
        # By the archive's own newest day, not by the time of day: an archive that ends earlier is no error.
        reports = reports[reports["t"] >= reports["t"].max() - conf["last_days"] * DAY_S]
    part_file = into.with_suffix(".part")
    write_parquet(reports, part_file)
    part_file.rename(into)


def evaluate(model: Path, labelled: Path, out: Path, *more: str) -> dict[str, float]:
    multitaskais("evaluate", str(labelled), "--model", str(model), "--out", str(out), "--no-plots", *more)
    report = json.loads((out / "report.json").read_text())
    fused = report["fused"] | {"clean_tracks": report["clean_tracks"], "budget": report["budget"]["track_share"]}
    names = (
        "auroc",
        "average_precision",
        "recall_at_5pct",
        "clean_flagged",
        "alerts_per_vessel_day",
        "clean_tracks",
        "budget",
    )
    return {k: fused[k] for k in names if isinstance(fused.get(k), int | float) and math.isfinite(fused[k])}


def judge(model: Path, reports: Path, out: Path) -> Judged:
    """What ``detect`` says of the days."""
    multitaskais("detect", str(reports), "--model", str(model), "--out", str(out), "--json")
    return Judged.read(out)


def verdict(
    conf: dict[str, Any],
    figures: dict[str, float],
    former: dict[str, float] | None,
    comparison: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """What follows from the figures: docs/train-models.md#accepted-better-published.

    A model is accepted when it keeps the limits of ``[accept]``. An accepted one is better than the latest version when, on the same tracks
    with the same anomalies, its AUROC is higher by ``BETTER_AUROC``, or not lower by that and it flags no more clean tracks; and, with
    ``when = "needed"`` of ``[publish]``, only if the latest version breaks its budget on these tracks (``breaks_budget``). A better one
    takes over, unless ``comparison`` (of ``comparison.compare``) leaves doubts: then it is proposed.
    """
    limits, why = conf["accept"], []
    auroc, flagged = figures.get("auroc", math.nan), figures.get("clean_flagged", math.nan)
    if not auroc >= limits["auroc_min"]:
        why.append(f"auroc {auroc:.3f} < {limits['auroc_min']:g}")
    if not flagged <= limits["clean_flagged_max"]:
        why.append(f"clean_flagged {flagged:.3f} > {limits['clean_flagged_max']:g}")
    better = True
    if former is not None and not why:
        gain = auroc - former.get("auroc", -math.inf)
        better = gain > BETTER_AUROC or (gain >= -BETTER_AUROC and flagged <= former.get("clean_flagged", math.inf))
    if former is not None and conf.get("publish", {}).get("when") == "needed":
        better = better and breaks_budget(former)
    return {
        "accepted": not why,
        "why_not": why,
        "figures": figures,
        "figures_of_latest": former,
        "better_than_latest": better,
        "comparison": comparison,
        "doubts": [] if comparison is None else doubts(comparison, {**COMPARE, **(conf.get("compare") or {})}),
    }


def breaks_budget(figures: dict[str, float]) -> bool:
    """Whether a model flags more of the clean tracks than its budget allows, by more than chance: with the share that it promised, so
    many or more would be flagged in less than one of ``1 / BY_CHANCE`` such archives (binomial)."""
    n, share = round(figures.get("clean_tracks", 0)), figures.get("budget", 1.0)
    flagged = round(figures.get("clean_flagged", 0.0) * n)
    tail = math.fsum(math.comb(n, k) * share**k * (1.0 - share) ** (n - k) for k in range(flagged, n + 1))
    return tail < BY_CHANCE


def report_progress(folder: Path, progress: float, note: str) -> None:
    write(folder / "progress.json", {"progress": progress, "note": note})


def write(file: Path, value: Any) -> None:
    part = file.with_name(f".{file.name}.{os.getpid()}")
    part.write_text(json.dumps(value))
    part.rename(file)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
