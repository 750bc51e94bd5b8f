"""Built tracks -> samples each 10 minutes, what every detector learns from, by Spark.

    spark-submit tracks_builder/samples.py /srv/tracks brittany --output /srv/samples

OUTPUT/set=chosen/year=Y/  of the tracks that the whole-track rules choose (docs/method.md#tracks)
OUTPUT/set=all/year=Y/     of all tracks

A row is a sample (``multitaskais.records.SAMPLE_DTYPE``) with its line: (``mmsi``, ``line``, ``n``) is its place. A year is that of the sample,
so a line may go on in the next. Missing floats are null. ``train`` and ``calibrate`` read the folder in the place of tracks.

Exit codes: 0 done, 2 wrong use or wrong input (one line says what to do), 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
if __name__ == "__main__" and not __package__:
    sys.path[:] = [p for p in sys.path if p and Path(p).resolve() != HERE]
    if (HERE.parent / "multitaskais").is_dir():
        sys.path.insert(0, str(HERE.parent))

# The path has to be right before the packages are imported.
import numpy as np  # noqa: E402
import pyarrow as pa  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from pyspark.sql import SparkSession  # noqa: E402
from pyspark.sql.pandas.types import from_arrow_schema  # noqa: E402

from multitaskais.command import CommandParser  # noqa: E402
from multitaskais.config import DetectionRules, Region, TrackRules  # noqa: E402
from multitaskais.errors import ConfigError, InputError  # noqa: E402
from multitaskais.model.samples import samples_of  # noqa: E402
from multitaskais.model.samples_table import SAMPLES_ARROW, sample_columns  # noqa: E402
from multitaskais.records import REPORT_DTYPE, Counts  # noqa: E402
from multitaskais.stamps import day  # noqa: E402
from multitaskais.types import Reports  # noqa: E402
from tracks_builder.built import VESSEL_ORDER, period_of, reports_of, require_apart, tasks_for, tracks_of  # noqa: E402
from tracks_builder.decode import task_number  # noqa: E402
from tracks_builder.files import require_writable, write_text  # noqa: E402
from tracks_builder.job import DAY_S, set_defaults  # noqa: E402
from tracks_builder.session import exit_code, leave, start  # noqa: E402
from tracks_builder.spark_errors import telling  # noqa: E402
from tracks_builder.tally import ByTask, Tallies, Tally, total  # noqa: E402

ROWS_AT_ONCE = 65_536  # reports of whole vessels that are resampled together, at least
PENDING_MAX = 1_000_000  # reports of one vessel: of more, what comes before its last gap is resampled first
WRITTEN_SCHEMA: pa.Schema = pa.schema([("set", pa.string()), ("year", pa.int32()), *SAMPLES_ARROW])
EXAMPLE = """example:
  spark-submit tracks_builder/samples.py /tmp/trajectories brittany --output /tmp/samples
"""


class SampleTask:
    """One task's state: the reports of its last vessel, and the number of that vessel's next line."""

    def __init__(self, region: Region | None, track_rules: TrackRules, rules: DetectionRules) -> None:
        self._region, self._track_rules, self._rules = region, track_rules, rules
        self._pending = np.zeros(0, REPORT_DTYPE)
        self._begun = (-1, 0, 0)  # MMSI, and the lines that its earlier pieces gave: of chosen tracks, of all
        self.tally = Tally()

    def rows(self, reports: Reports) -> Iterator[pa.RecordBatch]:
        """Take reports by vessel and time; what is certain after them."""
        pending = self._pending = np.concatenate([self._pending, reports])
        if len(pending) < ROWS_AT_ONCE:
            return
        end = int(np.searchsorted(pending["mmsi"], pending["mmsi"][-1]))
        if not end and len(pending) > PENDING_MAX:
            # Nothing goes on over a gap: a line ends there.
            gaps = np.flatnonzero(np.diff(pending["t"]) > self._track_rules.gap_max_s)
            end = int(gaps[-1]) + 1 if len(gaps) else 0
        if end:
            self._pending = pending[end:]
            yield from self._out(pending[:end])

    def close(self) -> Iterator[pa.RecordBatch]:
        """No more reports."""
        if len(self._pending):
            yield from self._out(self._pending)
        self._pending = self._pending[:0]

    def _out(self, reports: Reports) -> Iterator[pa.RecordBatch]:
        last = int(reports["mmsi"][-1])
        begun = self._begun if self._begun[0] == int(reports["mmsi"][0]) else (-1, 0, 0)
        lines = []
        for k, name in enumerate(("chosen", "all")):
            samples, line, by_choice = samples_of(
                reports, self._region, self._track_rules, self._rules, all_tracks=name == "all"
            )
            number = _in_vessel(samples["mmsi"], line)
            if begun[0] >= 0:
                number[samples["mmsi"] == begun[0]] += begun[1 + k]
            mine = number[samples["mmsi"] == last]
            lines.append(int(mine.max()) + 1 if len(mine) else begun[1 + k] if begun[0] == last else 0)
            self.tally.counts["samples", name] += len(samples)
            self.tally.counts["vessels", name] += len(np.setdiff1d(samples["mmsi"], [begun[0]] if begun[1 + k] else []))
            for choice, n in by_choice.items():
                self.tally.counts["tracks", choice] += n if name == "all" else 0
            year = np.floor(samples["t"]).astype("datetime64[s]").astype("datetime64[Y]").astype(np.int32) + 1970
            if len(samples):
                columns = [pa.array([name] * len(samples)), pa.array(year), *sample_columns(samples, number)]
                yield pa.RecordBatch.from_arrays(columns, schema=WRITTEN_SCHEMA)
        self._begun = (last, lines[0], lines[1])


def _in_vessel(mmsi: NDArray[np.int64], line: NDArray[np.int64]) -> NDArray[np.int32]:
    """(m,) number of each sample's line in its vessel, from 0, of samples by vessel."""
    if not len(mmsi):
        return np.zeros(0, np.int32)
    first = np.concatenate([[True], mmsi[1:] != mmsi[:-1]])
    of_vessel = line[np.flatnonzero(first)][np.cumsum(first) - 1]
    number: NDArray[np.int32] = (line - of_vessel).astype(np.int32)
    return number


def sample_task(
    region: Region | None, track_rules: TrackRules, rules: DetectionRules, report: Callable[[Tallies], None]
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """What ``mapInArrow`` runs: reports by vessel and time in, samples out."""

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        task = SampleTask(region, track_rules, rules)
        counts = Counts()
        days: set[int] = set()
        for reports in reports_of(batches, counts):
            days.update(np.unique(np.floor(reports["t"] / DAY_S)).astype(np.int64).tolist())
            yield from task.rows(reports)
        yield from task.close()
        task.tally.counts["reports", "received"] = counts.received
        for number in days:
            task.tally.counts["days", str(number)] = 1
        report({("samples", task_number()): task.tally})

    return run


@telling()
def run(spark: SparkSession, folder: str, region: Region, output: str, partitions: int | None = None) -> dict[str, Any]:
    """The whole job; returns its summary. Raises ``InputError`` where there are no tracks or the output cannot be written."""
    set_defaults(spark)
    require_apart(folder, output)
    reports = tracks_of(spark, folder)
    require_writable(spark, output)
    tallies = spark.sparkContext.accumulator({}, ByTask())
    tasks = partitions or tasks_for(spark, reports)
    box = None if region.name == "global" else region
    by_vessel = reports.repartition(tasks, "mmsi").sortWithinPartitions(*VESSEL_ORDER)
    samples = by_vessel.mapInArrow(
        sample_task(box, TrackRules(), DetectionRules(), tallies.add), from_arrow_schema(WRITTEN_SCHEMA)
    )
    frame = samples.write.mode("overwrite").option("partitionOverwriteMode", "dynamic")
    frame.partitionBy("set", "year").parquet(output)
    tally = total(tallies.value)
    first, last = period_of(reports)
    summary: dict[str, Any] = {
        "received": tally.of("reports").get("received", 0),
        **({"first": day(first), "last": day(last)} if first <= last else {}),
        "days": len(tally.of("days")),
        "samples": tally.of("samples"),
        "vessels": tally.of("vessels"),
        "tracks": tally.of("tracks"),
        "profile": region.name,
    }
    if not summary["samples"].get("all"):
        raise InputError(f"{folder}: no sample inside {region.name}: give the tracks of these waters")
    write_text(spark, f"{output}/_summary.json", json.dumps(summary, indent=2) + "\n")
    return summary


def parser() -> argparse.ArgumentParser:
    p = CommandParser(
        prog="tracks_builder/samples.py",
        description="Samples each 10 minutes of built tracks, which every detector learns from.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("tracks", metavar="TRACKS", help="folder of tracks that main.py or years.py has written")
    p.add_argument(
        "profile", metavar="PROFILE", nargs="?", default="global", help="a region's name or JSON file (default: global)"
    )
    p.add_argument("--output", required=True, metavar="DIR", help="folder of the samples")
    p.add_argument("--partitions", type=int, metavar="N", help="tasks (default: by reports and cores)")
    p.add_argument("--json", action="store_true", help="print the summary as JSON")
    return p


def thin(args: argparse.Namespace) -> None:
    """Raises what ``run`` does, and ``ConfigError``."""
    if args.partitions is not None and args.partitions < 1:
        raise ConfigError(f"--partitions {args.partitions}: it must be at least 1")
    region = Region.load(args.profile)
    with start(f"samples {region.name}") as spark:
        summary = run(spark, args.tracks, region, args.output.rstrip("/"), args.partitions)
    if args.json:
        print(json.dumps(summary))
    else:
        for key, value in summary.items():
            print(f"{key:>10}  {value}")


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    return exit_code(parser().prog, lambda: thin(args))


if __name__ == "__main__":
    leave(main())
