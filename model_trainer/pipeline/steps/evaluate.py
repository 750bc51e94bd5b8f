"""``evaluate``: what the model finds among the injected anomalies; a report a seed, the means, and the model with its card."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Annotated

from msgspec import Meta

from ..step import Conf, Contents, Given, Input, ModelFolder, Settings, Step, Work
from .detect import model_input
from .detector_code import detector_modules
from .inject import labelled

FIGURES = ("auroc", "average_precision", "recall_at_1pct", "recall_at_5pct", "clean_flagged", "alerts_per_vessel_day", "median_hours_to_alert")  # fmt: skip


class EvaluateSettings(Settings, frozen=True, kw_only=True):
    """``per_kind`` copies of each kind and seed; ``model``: in the place of the one of this pipeline (``pipeline = "test"``)."""

    per_kind: Annotated[int, Meta(ge=1, le=1000)] = 40
    seeds: Annotated[tuple[Annotated[int, Meta(ge=0, le=2**31 - 1)], ...], Meta(min_length=1, max_length=100)] = (1,)
    plots: bool = False
    model: str | None = None


class Evaluate(Step):
    kind = "evaluate"
    after = ("inject", "calibrate")
    settings = EvaluateSettings
    modules = ("multitaskais.cli.evaluate",)

    def code(self, conf: Conf) -> tuple[str, ...]:
        return (*super().code(conf), *detector_modules())

    def provide(self, conf: Conf, results: Mapping[str, Path]) -> Given:
        settings = conf.tables["evaluate"]
        model = model_input(settings.model) if settings.model else ModelFolder(results["calibrate"] / "model")
        inputs: dict[str, Input] = {"labelled": Contents(results["inject"]), "model": model}
        return Given({"seeds": sorted(set(settings.seeds)), "plots": settings.plots}, inputs)

    def run(self, work: Work) -> None:
        model, by_seed = work.folder / "model", {}
        shutil.copytree(work.path("model"), model)
        for number, seed in enumerate(work.parameters["seeds"]):
            out = work.folder / f"report-{seed}"
            more = ([] if work.parameters["plots"] else ["--no-plots"]) + ([] if number else ["--card"])
            work.multitaskais("evaluate", labelled(work.path("labelled"), seed), "--model", model, "--out", out, *more)
            fused = json.loads((out / "report.json").read_text())["fused"]
            by_seed[str(seed)] = {k: fused[k] for k in FIGURES if isinstance(fused.get(k), int | float) and math.isfinite(fused[k])}  # fmt: skip
        names = [k for k in FIGURES if all(k in f for f in by_seed.values())]
        figures = {k: fmean(f[k] for f in by_seed.values()) for k in names}
        (work.folder / "figures.json").write_text(json.dumps(figures | {"by_seed": by_seed}, indent=1) + "\n")
