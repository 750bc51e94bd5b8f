"""How the rate grows with partitions and with workers: the same reports sent at once to workers that stand ready, until all are folded.

All workers, the broker and the sender share this machine's cores: on two cores a second worker cannot double the rate.
"""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from multitaskais.types import Reports
from stream_operator import devbroker

from .harness import Result, require
from .live import fleet_reports, reports_folded, send, settings_for, until_ready, worker
from .workload import model

REPORTS, QUICK_REPORTS = 60_000, 4_000
SETTLE_S = 4.0  # partitions move from the first worker to the second
LIMIT_S = 300.0
PARTITIONS = (1, 4, 16)


def rate(broker: devbroker.DevBroker, folder: Path, workers: int, partitions: int, reports: Reports) -> float:
    """Reports per second."""
    settings = settings_for(broker, f"workers-{workers}-{partitions}", partitions)
    with ExitStack() as stack:
        ours = [
            stack.enter_context(worker(settings, folder / f"{workers}-{partitions}-{i}.log"))[0] for i in range(workers)
        ]
        for at in ours:
            until_ready(at)
        time.sleep(SETTLE_S)
        began = time.monotonic()
        send(settings, reports)
        while (done := sum(map(reports_folded, ours))) < len(reports):
            require(
                time.monotonic() - began < LIMIT_S, f"{done:,.0f} of {len(reports):,} reports folded in {LIMIT_S:.0f} s"
            )
            time.sleep(0.02)
        return len(reports) / (time.monotonic() - began)


def run(quick: bool = False) -> list[Result]:
    if reason := devbroker.missing():
        raise RuntimeError(reason)
    reports = fleet_reports(QUICK_REPORTS if quick else REPORTS)
    with tempfile.TemporaryDirectory() as name, devbroker.DevBroker(Path(name) / "kafka") as broker:
        folder = Path(name)
        partitions = (4,) if quick else PARTITIONS
        one = {p: rate(broker, folder, 1, p, reports) for p in partitions}
        two = rate(broker, folder, 2, 4, reports)
    nan = float("nan")

    def told(name: str, work: str, reference: str, ratio: float, note: str, figures: dict[str, Any]) -> Result:
        return Result(name, work, reference, "reports/s", nan, nan, ratio, ratio, ratio, 1, None, False, "", (note,), figures)  # fmt: skip

    what = f"{len(reports):,} reports, a report each minute, {model()[1]}"
    out = [
        told(
            "workers/two", "reports/s of two workers, 4 partitions", "one worker", two / one[4],
            f"{two:,.0f} and {one[4]:,.0f} reports/s; {what}",
            {"x": [1, 2], "y": [one[4], two], "x_label": "workers", "y_label": "reports/s"},
        )
    ]  # fmt: skip
    if not quick:
        out.append(
            told(
                "workers/partitions", f"reports/s of one worker with {PARTITIONS[-1]} partitions", "with one", one[PARTITIONS[-1]] / one[1],
                "; ".join(f"{p} partitions {r:,.0f} reports/s" for p, r in one.items()),
                {"x": list(one), "y": list(one.values()), "x_label": "partitions", "y_label": "reports/s"},
            )
        )  # fmt: skip
    return out
