"""``experiments``: sets of detectors x seeds x days -> one table and one page. Each cell is a step of its own, so only what is new is computed.

``table.json`` has what follows from the inputs, the same bytes on every machine. What a sample costs is measured, once for each cell, and stands
beside it in ``table.csv``, ``report.html`` and ``_cost.json``: a measurement is in no key, and another one makes no step new.
"""

from __future__ import annotations

import csv
import importlib.util
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape
from pathlib import Path
from statistics import fmean, pstdev
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta

from multitaskais.errors import ConfigError

from ..step import Conf, Files, Given, Input, Measured, Settings, Step, Work
from .baseline import COST_FILE, Baseline
from .calibrate import Calibrate
from .cost import Cost
from .detector_code import installed_detectors
from .evaluate import Evaluate
from .inject import Inject
from .published_vrnn import METHOD as PUBLISHED
from .published_vrnn import PublishedVrnn
from .samples import Samples
from .tracks import Tracks
from .train import Train

FIGURES = {"auroc": "AUROC", "average_precision": "AP", "recall_at_1pct": "R1", "recall_at_5pct": "R5", "recall": "recall",
           "clean_flagged": "clean flagged", "alerts_per_vessel_day": "alerts per vessel-day"}  # fmt: skip
COST = "cost_us_per_sample"
COST_LABEL = "µs a sample"  # of one core
Name = Annotated[str, Meta(pattern="^[a-z0-9][a-z0-9_]{0,20}$")]
STYLE = "body{font:14px sans-serif;margin:24px;color:#1c1c1c}table{border-collapse:collapse;margin:0 0 24px}td,th{border-bottom:1px solid #ddd;padding:4px 12px 4px 0;text-align:right}td:first-child,th:first-child{text-align:left}.s{color:#777}"


class ExperimentsSettings(Settings, frozen=True, kw_only=True):
    """``sets``: name -> detectors, an empty list is all that need no training or were trained. ``days``: only the newest of the archive;
    0 is all of it. Seeds and copies are those of ``[evaluate]``, the budget that of ``[calibrate]``."""

    sets: Annotated[dict[Name, tuple[str, ...]], Meta(min_length=1, max_length=100)] = msgspec.field(
        default_factory=lambda: {"panel": ()}
    )
    days: Annotated[tuple[Annotated[float, Meta(ge=0, le=100_000)], ...], Meta(min_length=1)] = (0.0,)
    baselines: tuple[
        Literal[
            "isolation_forest", "local_outlier_factor", "one_class_svm", "autoencoder", "hdbscan", "published_vrnn"
        ],
        ...,
    ] = ()

    def __post_init__(self) -> None:
        for name in [d for detectors in self.sets.values() for d in detectors]:
            if name not in installed_detectors():
                raise ConfigError(
                    f"experiments.sets: no detector {name!r} (there are: {', '.join(installed_detectors())})"
                )
        if both := sorted(set(self.sets) & set(self.baselines)):
            raise ConfigError(f"experiments.sets: {both[0]!r} is the name of a baseline: give the set another one")


class Variant(Step):
    """A step under another name, after steps of other names, with other settings."""

    kind = ""

    def __init__(self, name: str, step: Step, names: Mapping[str, str], **changes: Any) -> None:
        super().__init__(name)
        self._step, self._names, self._changes = step, dict(names), changes
        self.kind, self.libraries, self.resumes = step.kind, step.libraries, step.resumes
        self.after = tuple(self._names.get(a, a) for a in step.after)

    def _conf(self, conf: Conf) -> Conf:
        changes = dict(self._changes)
        tables = dict(conf.tables)
        for table, values in changes.pop("tables", {}).items():
            tables[table] = msgspec.structs.replace(tables[table], **values)
        return replace(conf, tables=tables, **changes)

    def code(self, conf: Conf) -> tuple[str, ...]:
        return self._step.code(self._conf(conf))

    def provide(self, conf: Conf, results: Mapping[str, Path]) -> Given:
        known = {a: results[n] for a in self._step.after if (n := self._names.get(a, a)) in results}
        return self._step.provide(self._conf(conf), known)

    def run(self, work: Work) -> None:
        self._step.run(work)


class Cell(NamedTuple):
    """What one step gives to the table."""

    step: str
    name: str  # of the set, or of the baseline
    days: float
    seed: int
    cost: str  # the step that has measured what a sample costs; itself, for a baseline


def steps(conf: Conf) -> list[Step]:
    """All steps of the experiments of this configuration, the table last. Raises ``ConfigError`` where a baseline lacks what it needs."""
    settings, evaluate = conf.tables["experiments"], conf.tables["evaluate"]
    if PUBLISHED in settings.baselines and not conf.tables["train"].steps:
        raise ConfigError(
            f"experiments.baselines: {PUBLISHED!r} has a network to train: give train.steps, for instance 2000"
        )
    if set(settings.baselines) - {PUBLISHED} and importlib.util.find_spec("sklearn") is None:
        raise ConfigError("experiments.baselines need scikit-learn: pip install 'multitaskais[experiments]'")
    seeds = sorted(set(evaluate.seeds))
    found: list[Step] = [Tracks()]
    found += [Variant(f"inject-{seed}", Inject(seeds=(seed,)), {}) for seed in seeds]
    cells = []
    for days in dict.fromkeys(settings.days):
        suffix = f"-{days:g}d" if days else ""
        names = {"tracks": f"tracks{suffix}", "samples": f"samples{suffix}"}
        if days:
            found.append(Variant(names["tracks"], Tracks(), {}, last_days=days))
        found.append(Variant(names["samples"], Samples(), names))
        for name, detectors in settings.sets.items():
            tables = {"calibrate": {"detectors": detectors, "name": name}}
            train, model = f"train-{name}{suffix}", f"calibrate-{name}{suffix}"
            found.append(Variant(train, Train(), names, tables=tables))
            found.append(Variant(model, Calibrate(), names | {"train": train}, tables=tables))
            cost = f"cost-{name}{suffix}"
            found.append(Variant(cost, Cost(), names | {"calibrate": model}))
            for seed in seeds:
                step = f"evaluate-{name}{suffix}-{seed}"
                found.append(Variant(step, Evaluate(), {"inject": f"inject-{seed}", "calibrate": model}, tables={"evaluate": {"seeds": (seed,)}}))  # fmt: skip
                cells.append(Cell(step, name, days, seed, cost))
        for method in dict.fromkeys(settings.baselines):
            train = f"train-{method}{suffix}"
            if method == PUBLISHED:
                alone: dict[str, Any] = {"calibrate": {"detectors": ("vrnn",)}, "train": {"detectors": ("vrnn",)}}
                found.append(Variant(train, Train(), names, tables=alone))
            for seed in seeds:
                step = f"baseline-{method}{suffix}-{seed}"
                baseline = PublishedVrnn(seed) if method == PUBLISHED else Baseline(method, seed)
                found.append(Variant(step, baseline, names | {"inject": f"inject-{seed}", "train": train}))
                cells.append(Cell(step, method, days, seed, step))
    return [*found, Experiments(cells)]


class Experiments(Step):
    """The table: a row a set and number of days, each of the panel's detectors alone below it; means over the seeds."""

    kind = "experiments"
    settings = ExperimentsSettings

    def __init__(self, cells: Sequence[Cell] = ()) -> None:
        super().__init__()
        self._cells = cells
        self.after = tuple(dict.fromkeys(name for c in cells for name in (c.step, c.cost)))

    def provide(self, conf: Conf, results: Mapping[str, Path]) -> Given:
        cells = [c._asdict() for c in self._cells]
        inputs: dict[str, Input] = {c.step: Files(_figures_file(results[c.step], c)) for c in self._cells}
        inputs |= {_cost_of(c): Measured(results[c.cost] / COST_FILE) for c in self._cells}
        return Given({"cells": cells, "region": conf.region.name}, inputs)

    def run(self, work: Work) -> None:
        rows: dict[tuple[float, str, str], list[dict[str, Any]]] = {}
        costs: dict[tuple[float, str, str], list[float]] = {}
        for values in work.parameters["cells"]:
            cell = Cell(**values)
            for detector, cost in json.loads(work.path(_cost_of(cell)).read_text()).items():
                if cost["samples"]:
                    costs.setdefault((cell.days, cell.name, detector), []).append(1e6 * cost["cpu_seconds"] / cost["samples"])  # fmt: skip
            said = json.loads(work.path(cell.step).read_text())
            if "fused" not in said:
                rows.setdefault((cell.days, cell.name, ""), []).append(said)
                continue
            rows.setdefault((cell.days, cell.name, ""), []).append(said["fused"])
            if len(said["detectors"]) > 1:
                for detector, figures in said["detectors"].items():
                    rows.setdefault((cell.days, cell.name, detector), []).append(figures)
        table = [_row(days, name, detector, found) for (days, name, detector), found in rows.items()]
        (work.folder / "table.json").write_text(json.dumps(table, indent=1) + "\n")
        measured = {key: fmean(of) for key, of in costs.items()}
        for row in table:  # from here on beside what was measured
            row["cost"] = measured.get((row["days"], row["set"], row["detector"]))
        with (work.folder / "table.csv").open("w", newline="") as f:
            out = csv.writer(f)
            out.writerow(["days", "set", "detector", "seeds", *FIGURES, COST])
            out.writerows(
                [
                    r["days"],
                    r["set"],
                    r["detector"],
                    r["seeds"],
                    *(r["mean"].get(k, "") for k in FIGURES),
                    _cost(r["cost"], ""),
                ]
                for r in table
            )
        said_costs = [{"days": r["days"], "set": r["set"], "detector": r["detector"], COST: r["cost"]} for r in table]
        (work.folder / COST_FILE).write_text(json.dumps(said_costs, indent=1) + "\n")
        (work.folder / "report.html").write_text(page(work.parameters["region"], table))
        for r in table:
            if not r["detector"]:
                figures = "  ".join(f"{short} {_number(r['mean'].get(k))}" for k, short in FIGURES.items())
                days = f" {r['days']:g} d" if r["days"] else ""
                work.say(f"{r['set']}{days}: {figures}  {_cost(r['cost'])} {COST_LABEL}")


def _cost_of(cell: Cell) -> str:
    return f"cost of {cell.step}"


def _figures_file(folder: Path, cell: Cell) -> Path:
    report = folder / f"report-{cell.seed}" / "report.json"
    return report if report.is_file() else folder / "figures.json"


def _row(days: float, name: str, detector: str, found: list[dict[str, Any]]) -> dict[str, Any]:
    def over_seeds(of: list[dict[str, Any]], key: str) -> list[float]:
        return [f[key] for f in of if isinstance(f.get(key), int | float) and math.isfinite(f[key])]

    kinds = sorted({k for f in found for k in f["per_kind"]})
    per_kind = {
        k: {
            "tracks": sum(f["per_kind"].get(k, {}).get("tracks", 0) for f in found),
            "found": sum(f["per_kind"].get(k, {}).get("found", 0) for f in found),
        }
        for k in kinds
    }
    values = {k: over_seeds(found, k) for k in FIGURES}
    return {
        "days": days, "set": name, "detector": detector, "seeds": len(found),
        "mean": {k: fmean(v) for k, v in values.items() if v},
        "spread": {k: pstdev(v) for k, v in values.items() if len(v) > 1},
        "per_kind": per_kind,
    }  # fmt: skip


def page(region: str, table: Sequence[Mapping[str, Any]]) -> str:
    """The report, which needs nothing from elsewhere; ``table``: rows of ``_row`` with their ``cost`` (µs of a core a sample, None: not measured)."""
    kinds = sorted({k for r in table for k in r["per_kind"]})

    def label(r: Mapping[str, Any]) -> str:
        days = f", {r['days']:g} days" if r["days"] else ""
        return f"{'&nbsp;&nbsp;' if r['detector'] else ''}{escape(r['detector'] or r['set'])}{'' if r['detector'] else days}"

    def figure(r: Mapping[str, Any], key: str) -> str:
        spread = f" <span class=s>± {r['spread'][key]:.3f}</span>" if key in r["spread"] else ""
        return f"<td>{_number(r['mean'].get(key))}{spread}</td>"

    head = "".join(f"<th>{h}</th>" for h in ("", "seeds", *FIGURES.values(), COST_LABEL))
    body = "".join(
        f"<tr><td>{label(r)}</td><td>{r['seeds']}</td>{''.join(figure(r, k) for k in FIGURES)}<td>{_cost(r['cost'])}</td></tr>"
        for r in table
    )
    kinds_head = "".join(f"<th>{escape(k)}</th>" for k in kinds)
    kinds_body = "".join(
        f"<tr><td>{label(r)}</td>" + "".join(f"<td>{_found(r['per_kind'].get(k))}</td>" for k in kinds) + "</tr>"
        for r in table
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Experiments in {escape(region)}</title><style>{STYLE}</style></head><body>'
        f"<h1>Experiments in {escape(region)}</h1><p>Means over the seeds, ± their standard deviation. Indented: one detector of the panel above, by itself."
        " What a sample costs is the time of one core for judging alone, on the machine that made the cell.</p>"
        f"<table><tr>{head}</tr>{body}</table><h2>Tracks that were flagged, by kind of anomaly</h2>"
        f"<table><tr><th></th>{kinds_head}</tr>{kinds_body}</table></body></html>\n"
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _cost(value: float | None, missing: str = "-") -> str:
    """Three digits: more are not to be measured."""
    return missing if value is None else f"{value:.3g}"


def _found(of: Mapping[str, int] | None) -> str:
    return "-" if not of else f"{of['found']} of {of['tracks']}"
