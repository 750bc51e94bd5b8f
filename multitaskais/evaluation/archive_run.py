"""Detection over an archive of any size on one machine: in parts, by several processes, and on from where it was stopped.

    archive --shuffle--> bins of vessels, by day --each part of the bins--> PART.jsonl, PART.parquet, PART.features --merge--> files

A part is judged by the fold of live (``engine.batch.VesselFold``); what needs all ships together is a part of its own. A part's
``PART.json`` is written last: parts that have it are done. What a process holds is bounded by a day of its part's reports, the vessels
under way, and the part's alerts.
"""

from __future__ import annotations

import heapq
import itertools
import json
import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..engine import batch
from ..engine.line_arrays import SPAN_DTYPE, Observed
from ..engine.track_tally import TrackVerdict
from ..errors import InputError
from ..export import feature
from ..model import folder as modelfolder
from ..model.folder import Model
from ..records import REPORT_DTYPE, Alert, Counts, Reason, Status, VerdictKind
from ..stamps import day
from ..tracks.shuffle import Shuffle, in_time, turn_of
from ..tracks.station_clock import StationClock
from ..zones.zone import Zone, read_zones_file
from . import alert_files
from .months import Months

# reports of a part where there are enough bins, and of the vessels of a part that are held at a time
PART_ROWS = 2_000_000
TABLE_ROWS = 500_000  # tracks that are put in order together
POLL_S = 0.5
TOGETHER, SPECIAL = "together", "special"
SPECIAL_BINS = 1  # of the reports that a part leaves: few

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What the processes need to know."""

    folder: str  # of the shuffle; the parts' files are beside it
    model: str  # a name or a folder
    scorer: str
    zones: str | None

    @property
    def results(self) -> Path:
        return Path(self.folder) / "parts"


@dataclass(frozen=True, slots=True)
class PartCounts:
    """Of one part, or of all."""

    accepted: int = 0
    rejected: dict[str, int] | None = None
    tracks: int = 0
    normal: int = 0
    abnormal: int = 0
    not_judged: int = 0
    alerts: int = 0
    revisions: int = 0
    station_outages: int = 0
    clocks: list[str] = field(default_factory=list)  # what is told of stations whose clocks are wrong


def parts_of(shuffle: Shuffle, jobs: int) -> dict[str, list[int]]:
    """Name -> bins. Enough parts for the processes to end at about the same time, and none much greater than ``PART_ROWS``."""
    full = [b for b in range(shuffle.bins) if shuffle.in_bins([b])]
    wanted = max(-(-len(shuffle) // PART_ROWS), 2 * jobs if jobs > 1 else 1)
    n = max(1, min(len(full), wanted))
    return {f"part-{i:03d}": full[i::n] for i in range(n)}


# ---------------------------------------------------------------- one part


def judge_part(
    model: Model, shuffle: Shuffle, name: str, bins: Sequence[int], results: Path, progress: Progress
) -> None:
    """The vessels of some bins: their files."""
    others = Shuffle.create(results / f"{name}.special", SPECIAL_BINS)
    fold = batch.VesselFold(model, others.add)
    turns = -(-shuffle.in_bins(bins) // PART_ROWS)
    for turn in range(turns):
        mine = [run[turn_of(run["mmsi"], turns) == turn] for run in shuffle.runs(bins)]
        reports = np.concatenate([np.zeros(0, REPORT_DTYPE), *mine])
        fold.add(reports[np.argsort(reports["mmsi"], kind="stable")])
        progress(len(reports))
    verdicts = fold.close()
    others.finish()
    np.save(results / f"{name}.spans.npy", np.concatenate([np.zeros(0, SPAN_DTYPE), *fold.observed.spans]))
    _write(fold.alerts, verdicts, fold.counts, [], shuffle, bins, results, name)


def judge_special(model: Model, shuffle: Shuffle, parts: Sequence[str], results: Path) -> None:
    """The vessels that the parts have left: what is said of them depends on all of them together."""
    observed = Observed()
    observed.spans = [np.load(results / f"{name}.spans.npy") for name in parts]
    shuffles = [s for name in parts if (s := Shuffle.open(results / f"{name}.special")) is not None]
    judged = batch.fold_special(model, in_time(shuffles), observed)
    _write(
        judged.alerts, judged.verdicts, judged.counts, judged.station_clocks, shuffle, None, results, SPECIAL
    )  # fmt: skip


def _write(
    found: list[Alert],
    verdicts: list[TrackVerdict],
    counts: Counts,
    clocks: Sequence[StationClock],
    shuffle: Shuffle,
    bins: Sequence[int] | None,
    results: Path,
    name: str,
) -> None:
    alerts = [a.as_dict() for a in found]
    pq.write_table(alert_files.verdict_table(verdicts), results / f"{name}.parquet")
    n_alerts = _write_alerts(alerts, shuffle, bins, results, name)
    by_verdict = {str(k): sum(v.verdict == k for v in verdicts) for k in VerdictKind}
    rejected = {str(reason): n for reason, n in counts.rejected.items()}
    told = [f"{day(c.t)} UTC: {c.message}; no ship is blamed" for c in clocks]
    done = PartCounts(
        counts.accepted, rejected, len(verdicts), alerts=n_alerts, revisions=len(alerts), clocks=told, **by_verdict
    )
    _done(results, name, done)


def judge_together(model: Model, shuffle: Shuffle, zones: Sequence[Zone], results: Path) -> None:
    """What needs all ships together: meetings, silences, zones."""
    found = batch.fold_fleet(model, shuffle.runs(), zones)
    alerts = [a.as_dict() for a in found.alerts]
    n_alerts = _write_alerts(alerts, shuffle, None, results, TOGETHER)
    done = PartCounts(rejected={}, alerts=n_alerts, revisions=len(alerts), station_outages=len(found.outages))
    _done(results, TOGETHER, done)


def _done(results: Path, name: str, counts: PartCounts) -> None:
    unfinished = results / f".{name}.json"
    unfinished.write_text(json.dumps(asdict(counts)))
    unfinished.replace(results / f"{name}.json")


def _write_alerts(
    alerts: list[dict[str, Any]], shuffle: Shuffle, bins: Sequence[int] | None, results: Path, name: str
) -> int:
    """All revisions in order, and the last of each with the way sailed; returns the number of alerts."""
    with (results / f"{name}.jsonl").open("w") as f:
        f.writelines(json.dumps(a) + "\n" for a in sorted(alerts, key=alert_files.order_of))
    last = alert_files.last_of_each(alerts)
    ways = _ways(last, shuffle, bins)
    with (results / f"{name}.features").open("w") as f:
        f.writelines(json.dumps(feature({**a, "kind": None}, way)) + "\n" for a, way in zip(last, ways, strict=True))
    return len(last)


def _ways(
    alerts: Sequence[Mapping[str, Any]], shuffle: Shuffle, bins: Sequence[int] | None
) -> list[list[tuple[float, float]]]:
    """(lon, lat) of each alert's ship in its segment, from the shuffle."""
    if not alerts:
        return []
    mmsi = np.array([int(a["mmsi"]) for a in alerts])
    begin = np.array([a["segment_start"]["t"] for a in alerts])
    end = np.array([a["segment_end"]["t"] for a in alerts])
    ways: list[list[tuple[float, float]]] = [[] for _ in alerts]
    ships = np.unique(mmsi)
    for reports in shuffle.runs(bins, (float(begin.min()), float(end.max()))):
        mine = reports[np.isin(reports["mmsi"], ships)]
        if not len(mine):
            continue
        mine = mine[np.argsort(mine["mmsi"], kind="stable")]
        t = mine["t"]
        there = np.flatnonzero((begin <= t.max()) & (end >= t.min()))
        first = np.searchsorted(mine["mmsi"], mmsi[there], side="left").tolist()
        beyond = np.searchsorted(mine["mmsi"], mmsi[there], side="right").tolist()
        for k, a, b in zip(there.tolist(), first, beyond, strict=True):
            part = mine[a:b][(t[a:b] >= begin[k]) & (t[a:b] <= end[k])]
            ways[k].extend(zip(part["lon"].tolist(), part["lat"].tolist(), strict=True))
    return ways


# ---------------------------------------------------------------- all parts


def run_parts(plan: Plan, parts: Mapping[str, Sequence[int]], jobs: int, model: Model, progress: Progress) -> int:
    """Judge all parts that are not done yet; returns how many were done before.

    Raises ``InputError`` where a process was ended from outside.
    """
    plan.results.mkdir(exist_ok=True)
    names = [TOGETHER, *parts]
    left = [name for name in names if not (plan.results / f"{name}.json").is_file()]
    shuffle = _shuffle_of(plan)
    progress(sum(shuffle.in_bins(bins) for name, bins in parts.items() if name not in left))
    if jobs <= 1 or len(left) <= 1:
        zones = read_zones_file(Path(plan.zones)) if plan.zones else []
        for name in left:
            if name == TOGETHER:
                judge_together(model, shuffle, zones, plan.results)
            else:
                judge_part(model, shuffle, name, parts[name], plan.results, progress)
        _last(plan, model, shuffle, parts)
        return len(names) - len(left)
    context = multiprocessing.get_context("spawn")
    done = context.Value("q", 0)
    told = 0
    with ProcessPoolExecutor(min(jobs, len(left)), context, initializer=_begin, initargs=(plan, done)) as pool:
        waiting = {pool.submit(_one, name, list(parts.get(name, ()))) for name in left}
        try:
            while waiting:
                finished, waiting = wait(waiting, POLL_S, FIRST_COMPLETED)
                now = done.value
                progress(now - told)
                told = now
                for future in finished:
                    future.result()
        except BrokenProcessPool:
            raise InputError(
                "a process of --jobs was ended from outside (out of memory?): give fewer --jobs, and --resume to go on"
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)
    _last(plan, model, shuffle, parts)
    return len(names) - len(left)


def _last(plan: Plan, model: Model, shuffle: Shuffle, parts: Mapping[str, Sequence[int]]) -> None:
    if not (plan.results / f"{SPECIAL}.json").is_file():
        judge_special(model, shuffle, list(parts), plan.results)


_worker: tuple[Plan, Model, Shuffle, Any]  # of a process of the pool: the model is read once


def _begin(plan: Plan, done: Any) -> None:
    global _worker
    _worker = plan, modelfolder.load(plan.model, scorer=plan.scorer), _shuffle_of(plan), done


def _one(name: str, bins: list[int]) -> None:
    plan, model, shuffle, done = _worker
    if name == TOGETHER:
        judge_together(model, shuffle, read_zones_file(Path(plan.zones)) if plan.zones else [], plan.results)
        return

    def progress(n: int) -> None:
        with done.get_lock():
            done.value += n

    judge_part(model, shuffle, name, bins, plan.results, progress)


def _shuffle_of(plan: Plan) -> Shuffle:
    shuffle = Shuffle.open(Path(plan.folder))
    if shuffle is None:
        raise InputError(f"{plan.folder}: the temporary files are not complete; run it again without --resume")
    return shuffle


def merge(plan: Plan, parts: Sequence[str], out: Path) -> tuple[PartCounts, list[dict[str, Any]], Months]:
    """The files of all parts as one each in ``out``; returns the counts, the raised alerts in their order, and all by month."""
    out.mkdir(parents=True, exist_ok=True)
    parts = [*parts, SPECIAL]
    names = [*parts, TOGETHER]
    raised = []
    clocks: list[str] = []
    months = Months()
    with (out / "alerts.jsonl").open("w") as f:
        lines = [_lines(plan.results / f"{name}.jsonl") for name in names]
        for _, line in heapq.merge(*lines):
            f.write(line)
            if (alert := json.loads(line))["status"] == Status.RAISED:
                raised.append(alert)
                months.add_alert(alert)
    with alert_files.AlertFiles(out) as files:
        features = [_features(plan.results / f"{name}.features") for name in names]
        for _, line in heapq.merge(*features):
            files.add(json.loads(line))
    with pq.ParquetWriter(out / "verdicts.parquet", alert_files.VERDICT_SCHEMA, compression="zstd") as writer:
        for table in _by_track([plan.results / f"{name}.parquet" for name in parts]):
            writer.write_table(table)
            months.add_tracks(table)
    total = Counts()
    sums = dict.fromkeys(("tracks", *map(str, VerdictKind), "alerts", "revisions", "station_outages"), 0)
    for name in names:
        counts = json.loads((plan.results / f"{name}.json").read_text())
        total.accepted += counts["accepted"]
        for reason, n in counts["rejected"].items():
            total.reject(Reason(reason), n)
        for key in sums:
            sums[key] += counts[key]
        clocks += counts["clocks"]
    rejected = {str(r): n for r, n in total.rejected.items()}
    return PartCounts(total.accepted, rejected, clocks=clocks, **sums), raised, months


def _lines(path: Path) -> Iterator[tuple[tuple[float, str, int], str]]:
    with path.open() as f:
        for line in f:
            yield alert_files.order_of(json.loads(line)), line


def _features(path: Path) -> Iterator[tuple[tuple[float, str, int], str]]:
    with path.open() as f:
        for line in f:
            yield alert_files.order_of(json.loads(line)["properties"]), line


def _by_track(files: Sequence[Path]) -> Iterator[pa.Table]:
    """The rows of all files by track id: the vessels of one range of MMSIs after the other, some ``TABLE_ROWS`` at a time."""
    mmsi = [pq.read_table(file, columns=["mmsi"])["mmsi"].to_numpy() for file in files]
    ordered = np.sort(np.concatenate([np.zeros(0, np.int64), *mmsi]))
    if not len(ordered):
        return
    bounds = [*np.unique(ordered[::TABLE_ROWS]).tolist(), int(ordered[-1]) + 1]
    for low, high in itertools.pairwise(bounds):
        within = (pc.field("mmsi") >= low) & (pc.field("mmsi") < high)
        yield pa.concat_tables([pq.read_table(file, filters=within) for file in files]).sort_by("track_id")
