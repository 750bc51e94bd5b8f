"""``cost``: what judging a sample costs, the panel of a model and each of its detectors alone.

A measurement: it belongs to the machine that made it, differs each time, and is in no key (``step.Measured``).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ..step import Conf, Files, Given, ModelFolder, Step, Work
from .baseline import COST_FILE
from .detector_code import detector_modules

MOST_SAMPLES = 20_000  # some seconds of a core


class Cost(Step):
    """Writes ``COST_FILE``: detector (empty: the panel) -> seconds of a core, and how many samples they were for."""

    kind = "cost"
    after = ("samples", "calibrate")
    modules = ("multitaskais.detection.offline",)

    def code(self, conf: Conf) -> tuple[str, ...]:
        return (*super().code(conf), *detector_modules())

    def provide(self, conf: Conf, results: Mapping[str, Path]) -> Given:
        model = ModelFolder(results["calibrate"] / "model")
        return Given({"most": MOST_SAMPLES}, {"samples": Files(results["samples"]), "model": model})

    def run(self, work: Work) -> None:
        import pyarrow.parquet as pq

        from multitaskais.detection import offline
        from multitaskais.model import folder
        from multitaskais.model.samples_table import samples_of_table

        samples, _ = samples_of_table(pq.read_table(work.path("samples") / "samples.parquet"))
        start, _ = offline.lines_of(samples)
        whole = start[start <= work.parameters["most"]]  # whole lines; the last one is left out where there are more
        samples = samples[: whole[-1]] if len(start) > len(whole) > 1 else samples
        panel = folder.load(work.path("model")).panel

        def cost_of(judge: Callable[[], Any]) -> dict[str, float]:
            began = time.process_time()
            judge()
            return {"cpu_seconds": time.process_time() - began, "samples": len(samples)}

        offline.run_panel(panel, samples[:100])  # what is made at first use is no cost of a sample
        costs = {"": cost_of(partial(offline.run_panel, panel, samples))}
        for detector in panel.detectors:
            costs[detector.name] = cost_of(partial(offline.run_detector, detector, samples))
        (work.folder / COST_FILE).write_text(json.dumps(costs, indent=1) + "\n")
