"""Rows of tracks -> alerts and verdicts: what a task does with the vessels dealt to it, and with all of them.

The fold is the core's (``multitaskais.engine``); the model is read once by each Python worker. What a task holds is bounded by the
vessels under way and by the alerts of its vessels, not by their reports.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from pyspark import SparkFiles
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import BinaryType, DoubleType, IntegerType, LongType, StringType, StructField, StructType

from multitaskais.engine import batch
from multitaskais.engine.line_arrays import SPAN_DTYPE, Observed
from multitaskais.engine.track_tally import TrackVerdict
from multitaskais.errors import ModelError
from multitaskais.evaluation.alert_files import last_of_each
from multitaskais.model import folder as modelfolder
from multitaskais.model.folder import Model
from multitaskais.records import REPORT_DTYPE, Alert, Counts
from multitaskais.stamps import day
from multitaskais.types import Reports, Spans
from multitaskais.zones.zone import read_zones

from .built import VESSEL_ORDER, reports_of
from .decode import task_number
from .job import DAY_S
from .tally import Tallies, Tally

TIME_ORDER = ("t", *(name for name in VESSEL_ORDER if name != "t"))
ALERT, VERDICT, SPECIAL, SPANS, CLOCK = "alert", "verdict", "special", "spans", "clock"
ROWS_OUT = 1024
SPANS_OUT = 10_000  # of a row

# One table for all that a task gives: what is read later by its columns stands in them, the rest as it is.
JUDGED_SCHEMA = StructType(
    [
        StructField(
            "what", StringType(), False
        ),  # alert (one revision) | verdict (one track) | special, spans (for special_task) | clock
        StructField("year", IntegerType(), False),  # of the raising or other decision; of the track's first sample
        StructField("t", DoubleType(), False),  # decided_at; of the track's first sample
        StructField("id", StringType(), False),  # alert_id; track_id
        StructField("number", LongType(), False),  # revision; MMSI
        StructField("last", IntegerType(), False),  # 1: the last revision of its alert
        StructField(
            "text", StringType(), False
        ),  # JSON of the alert; JSON list of a TrackVerdict; a line about a station's clock
        StructField("data", BinaryType(), False),  # of special and spans: rows of REPORT_DTYPE and SPAN_DTYPE
    ]
)
JUDGED_ARROW: pa.Schema = to_arrow_schema(JUDGED_SCHEMA)

Batches = Iterator[pa.RecordBatch]
Task = Callable[[Batches], Batches]
_Row = tuple[str, int, float, str, int, int, str, bytes]


class ModelFile(NamedTuple):
    """Where a task finds the model."""

    name: str  # a shipped model's, or of a folder that Spark has brought to the node
    is_brought: bool
    version: str


@lru_cache(maxsize=1)
def model_of(file: ModelFile) -> Model:
    """The model of this Python worker. Raises ``ModelError`` where the node has another version than the driver."""
    model = modelfolder.load(SparkFiles.get(file.name) if file.is_brought else file.name)
    if model.version != file.version:
        raise ModelError(f"a node has model {model.version}, the driver {file.version}: install one version everywhere")
    return model


def vessel_task(file: ModelFile, report: Callable[[Tallies], None]) -> Task:
    """The vessels of a task, one panel: rows of ``JUDGED_SCHEMA``. Those that only ``special_task`` can judge are handed on."""

    def run(batches: Batches) -> Batches:
        counts = Counts()
        waiting: list[Reports] = []
        fold = batch.VesselFold(model_of(file), waiting.append)
        number = itertools.count()
        for reports in reports_of(batches, counts):
            fold.add(reports)
            yield from _handed_on(waiting, fold.observed.spans, number)
        verdicts = fold.close()
        yield from _handed_on(waiting, fold.observed.spans, number)
        yield from _rows(fold.alerts, verdicts)
        report({("judge", task_number()): _tally(fold.counts, counts)})

    return run


def _handed_on(special: list[Reports], spans: list[Spans], number: Iterator[int]) -> Batches:
    """Empties both: reports of special vessels, a row a day, and when the other vessels were under observation."""
    rows: list[_Row] = []
    for part in spans:
        rows += [
            (SPANS, 0, -math.inf, "", next(number), 0, "", part[start : start + SPANS_OUT].tobytes())
            for start in range(0, len(part), SPANS_OUT)
        ]
    for reports in special:
        days = np.floor(reports["t"] / DAY_S)
        first = np.flatnonzero(np.concatenate([[True], np.diff(days) != 0])).tolist() if len(days) else []
        for a, b in zip(first, [*first[1:], len(days)], strict=True):
            rows.append((SPECIAL, 0, float(days[a]) * DAY_S, "", next(number), 0, "", reports[a:b].tobytes()))
    spans.clear()
    special.clear()
    yield from _batches(rows)


def special_task(file: ModelFile, report: Callable[[Tallies], None]) -> Task:
    """The vessels that the tasks have handed on, in one task, since what is said of them depends on all of them together.

    Takes ``SPANS`` and then ``SPECIAL`` rows by ``t`` and ``number``.
    """

    def run(batches: Batches) -> Batches:
        rows = ((row["what"], row["t"], row["data"]) for rows in batches for row in rows.to_pylist())
        observed, days = Observed(), itertools.groupby(rows, lambda row: row[1])
        first = next(days, None)
        if first is not None and first[0] == -math.inf:
            observed.spans = [np.frombuffer(data, SPAN_DTYPE) for _, _, data in first[1]]
            first = next(days, None)
        # The generator holds one day at a time.
        runs = (_day(group) for _, group in (days if first is None else itertools.chain([first], days)))
        found = batch.fold_special(model_of(file), runs, observed)
        yield from _rows(found.alerts, found.verdicts)
        clocks = [f"{day(c.t)} UTC: {c.message}; no ship is blamed" for c in found.station_clocks]
        yield from _batches([(CLOCK, 0, float(i), "", i, 0, text, b"") for i, text in enumerate(clocks)])
        report({("special", task_number()): _tally(found.counts)})

    return run


def _day(group: Iterable[tuple[str, float, bytes]]) -> Reports:
    reports = np.concatenate([np.frombuffer(data, REPORT_DTYPE) for _, _, data in group])
    return reports[np.lexsort((reports["mmsi"], reports["t"]))]


def _tally(judged: Counts, read: Counts | None = None) -> Tally:
    tally = Tally()
    tally.counts["reports", "accepted"] = judged.accepted
    tally.counts["reports", "received"] = read.received if read else 0
    for counts in (judged, read or Counts()):
        for reason, n in counts.rejected.items():
            tally.counts["rejected", str(reason)] += n
    return tally


def together_task(file: ModelFile, zones: bytes, report: Callable[[Tallies], None]) -> Task:
    """All vessels in one task: meetings, silences, zones."""

    def run(batches: Batches) -> Batches:
        areas = read_zones(zones, "--zones") if zones else []
        found = batch.fold_fleet(model_of(file), reports_of(batches, Counts()), areas)
        yield from _rows(found.alerts, [])
        tally = Tally()
        tally.counts["reports", "station_outages"] = len(found.outages)
        report({("together", task_number()): tally})

    return run


def _rows(alerts: list[Alert], verdicts: list[TrackVerdict]) -> Batches:
    revisions = [a.as_dict() for a in alerts]
    last = {(a["alert_id"], a["revision"]) for a in last_of_each(revisions)}
    rows: list[_Row] = [
        (
            ALERT,
            _year(a["decided_at"]),
            a["decided_at"],
            a["alert_id"],
            a["revision"],
            int((a["alert_id"], a["revision"]) in last),
            json.dumps(a),
            b"",
        )
        for a in revisions
    ]
    rows += [(VERDICT, _year(v.t_start), v.t_start, v.track_id, v.mmsi, 0, json.dumps(v), b"") for v in verdicts]
    yield from _batches(rows)


def _batches(rows: list[_Row]) -> Batches:
    for start in range(0, len(rows), ROWS_OUT):
        part = rows[start : start + ROWS_OUT]
        columns = [pa.array([r[i] for r in part], f.type) for i, f in enumerate(JUDGED_ARROW)]
        yield pa.RecordBatch.from_arrays(columns, schema=JUDGED_ARROW)


def _year(t: float) -> int:
    return int(np.floor(t).astype("datetime64[s]").astype("datetime64[Y]").astype(np.int64)) + 1970
