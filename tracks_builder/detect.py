"""Built tracks -> alerts and verdicts, by Spark: what ``multitaskais detect`` finds in them, on many nodes.

    spark-submit tracks_builder/detect.py /srv/tracks --model gulf --output /srv/found

OUTPUT/verdicts/year=Y/    one row a track, by the year of its first sample
OUTPUT/judged/             every revision and verdict as the tasks gave them; what --resume goes on from, where model, tracks and zones
                           are the same

Ordinary vessels are judged by the task to which they are dealt. Those with jumps, floods or doubtful duplicates wait for one task after the
others, since a fault of a station shows in many of them together; ships together are looked at by a task of their own.
OUTPUT/alerts.jsonl, alerts.parquet (GeoParquet), alerts.geojson, summary.json, summary.png    as ``multitaskais detect`` writes them

Exit codes: 0 done, 2 wrong use or wrong input (one line says what to do), 130 interrupted.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import importlib.util
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
if __name__ == "__main__" and not __package__:
    sys.path[:] = [p for p in sys.path if p and Path(p).resolve() != HERE]
    if (HERE.parent / "multitaskais").is_dir():
        sys.path.insert(0, str(HERE.parent))

# The path has to be right before the packages are imported.
from pyspark.sql import DataFrame, SparkSession  # noqa: E402
from pyspark.sql import functions as F  # noqa: E402

from multitaskais import __version__  # noqa: E402
from multitaskais.command import CommandParser  # noqa: E402
from multitaskais.errors import ConfigError  # noqa: E402
from multitaskais.evaluation import alert_files  # noqa: E402
from multitaskais.evaluation.months import Months  # noqa: E402
from multitaskais.export import feature  # noqa: E402
from multitaskais.model import folder as modelfolder  # noqa: E402
from multitaskais.model.store import local_folder  # noqa: E402
from multitaskais.records import Status, VerdictKind  # noqa: E402
from multitaskais.stamps import day  # noqa: E402
from multitaskais.zones.zone import read_zones_file  # noqa: E402
from tracks_builder import judge  # noqa: E402
from tracks_builder.built import VESSEL_ORDER, period_of, require_apart, tasks_for, tracks_of  # noqa: E402
from tracks_builder.files import copy_from_here, exists, fingerprint, read_text, remove, require_writable, write_text  # noqa: E402
from tracks_builder.job import set_defaults  # noqa: E402
from tracks_builder.session import exit_code, leave, start  # noqa: E402
from tracks_builder.spark_errors import telling  # noqa: E402
from tracks_builder.tally import ByTask, total  # noqa: E402

EXAMPLE = """examples:
  spark-submit tracks_builder/detect.py /tmp/trajectories --model brittany --output /tmp/found
  spark-submit --master spark://MASTER:7077 tracks_builder/detect.py s3a://tracks --model gulf --output s3a://found
"""


@dataclass(frozen=True, slots=True)
class Detection:
    """What is asked for."""

    tracks: str
    model: str
    output: str
    zones: Path | None = None
    partitions: int | None = None
    resume: bool = False

    def __post_init__(self) -> None:
        if self.partitions is not None and self.partitions < 1:
            raise ConfigError(f"--partitions {self.partitions}: it must be at least 1")


@telling()
def run(spark: SparkSession, job: Detection) -> dict[str, Any]:
    """The whole job; returns what ``summary.json`` says."""
    set_defaults(spark)
    require_apart(job.tracks, job.output)
    source = str(local_folder(job.model, os.environ))
    model = modelfolder.load(source)
    zones = job.zones.read_bytes() if job.zones and read_zones_file(job.zones) else b""
    is_folder = Path(source).is_dir()
    if is_folder:
        spark.sparkContext.addFile(str(Path(source).resolve()), recursive=True)
    model_file = judge.ModelFile(Path(source).resolve().name if is_folder else source, is_folder, model.version)
    reports = tracks_of(spark, job.tracks)
    require_writable(spark, job.output)
    judged = f"{job.output}/judged"
    mark = f"{judged}/_counts.json"
    about = {
        "version": __version__,
        "model": model.version,
        "tracks": fingerprint(spark, reports.inputFiles()),
        "zones": hashlib.sha256(zones).hexdigest(),
    }
    counts: dict[str, Any] = json.loads(read_text(spark, mark)) if job.resume and exists(spark, mark) else {}
    if counts:
        _require_same(counts.get("about"), about, judged)
    else:
        remove(spark, mark)  # what it stands for is written over
        tallies = spark.sparkContext.accumulator({}, ByTask())
        partitions = job.partitions or tasks_for(spark, reports)
        alone = reports.repartition(partitions, "mmsi").sortWithinPartitions(*VESSEL_ORDER)
        # One task for all ships together: what it does is a small share of the work of the panel.
        together = reports.repartition(1).sortWithinPartitions(*judge.TIME_ORDER)
        found = alone.mapInArrow(judge.vessel_task(model_file, tallies.add), judge.JUDGED_SCHEMA).unionAll(
            together.mapInArrow(judge.together_task(model_file, zones, tallies.add), judge.JUDGED_SCHEMA)
        )
        _write(found, f"{judged}/first")
        rest = spark.read.schema(judge.JUDGED_SCHEMA).parquet(f"{judged}/first")
        rest = rest.filter(F.col("what").isin(judge.SPANS, judge.SPECIAL))
        rest = rest.repartition(1).sortWithinPartitions("t", "number")
        _write(rest.mapInArrow(judge.special_task(model_file, tallies.add), judge.JUDGED_SCHEMA), f"{judged}/last")
        tally = total(tallies.value)
        first, last = period_of(reports)
        counted: dict[str, Any] = {"about": about, "first": first, "last": last, "rejected": tally.of("rejected")}
        counts = counted | tally.of("reports")
        write_text(spark, mark, json.dumps(counts))
    said = {
        "model": model.version,
        **({"first": day(counts["first"]), "last": day(counts["last"])} if counts["first"] <= counts["last"] else {}),
        "received": counts.get("received", 0),
        "accepted": counts.get("accepted", 0),
        "rejected": dict(sorted(counts["rejected"].items())),
    }
    months = Months()
    said |= _write_verdicts(spark, judged, job.output, months)
    with tempfile.TemporaryDirectory() as here:
        said |= _write_alerts(spark, judged, reports, Path(here), months)
        clocks = [row["text"] for row in _of(spark, judged, judge.CLOCK).orderBy("number").collect()]
        said["station_clocks"] = len(clocks)
        said["station_outages"] = counts.get("station_outages", 0)
        (Path(here) / "summary.json").write_text(json.dumps(said | months.as_dict(), indent=1) + "\n")
        if importlib.util.find_spec("matplotlib") is not None:
            (Path(here) / "summary.png").write_bytes(months.picture(model.version))
        for file in sorted(Path(here).iterdir()):
            copy_from_here(spark, file, f"{job.output}/{file.name}")
    for line in clocks:
        print(line, file=sys.stderr)
    return said


_SETTINGS = {
    "version": "version of multitaskais",
    "model": "model",
    "tracks": "state of the tracks (files, or their sizes or times)",
    "zones": "--zones",
}


def _require_same(before: object, now: dict[str, str], judged: str) -> None:
    """Raises ``ConfigError`` where what was judged before is not what is asked for now."""
    held = before if isinstance(before, dict) else {}
    if other := [text for name, text in _SETTINGS.items() if held.get(name) != now[name]]:
        raise ConfigError(
            f"--resume: {judged} is of another {' and another '.join(other)}: give what it was made with,"
            " or leave --resume out to judge all again"
        )


def _write(judged: DataFrame, folder: str) -> None:
    judged.write.mode("overwrite").partitionBy("what", "year").parquet(folder)


def _of(spark: SparkSession, judged: str, what: str) -> DataFrame:
    parts = (spark.read.schema(judge.JUDGED_SCHEMA).parquet(f"{judged}/{part}") for part in ("first", "last"))
    return functools.reduce(DataFrame.unionByName, parts).filter(F.col("what") == what)


def _write_verdicts(spark: SparkSession, judged: str, output: str, months: Months) -> dict[str, int]:
    """``verdicts/year=Y``, and what the summary says of tracks: summed by Spark, a row a month and reason."""
    kinds = {"double": "DOUBLE", "int64": "BIGINT", "string": "STRING"}
    fields = [(f.name, kinds[str(f.type)]) for f in alert_files.VERDICT_SCHEMA]
    value = F.from_json("text", "ARRAY<STRING>")
    rows = _of(spark, judged, judge.VERDICT).select("year", value.alias("v"))
    table = rows.select(*(F.col("v")[i].cast(kind).alias(name) for i, (name, kind) in enumerate(fields)), "year")
    frame = table.repartition("year").sortWithinPartitions("track_id").write.mode("overwrite")
    frame.option("partitionOverwriteMode", "dynamic").partitionBy("year").parquet(f"{output}/verdicts")
    when = F.timestamp_seconds(F.floor("t_start"))
    numbers = dict.fromkeys(("tracks", *map(str, VerdictKind)), 0)
    for periods, form in ((months.months, "yyyy-MM"), (months.years, "yyyy")):
        dated = table.withColumn("period", F.date_format(when, form))
        for r in dated.groupBy("period", "verdict", "reason").count().toLocalIterator():
            months.add_counts(periods, r["period"], r["verdict"], r["reason"], r["count"])
            if periods is months.years:
                numbers["tracks"] += r["count"]
                numbers[r["verdict"]] += r["count"]
        for r in dated.groupBy("period").agg(F.count_distinct("mmsi").alias("n")).toLocalIterator():
            periods[r["period"]].vessels = r["n"]
    return numbers


def _write_alerts(spark: SparkSession, judged: str, reports: DataFrame, here: Path, months: Months) -> dict[str, int]:
    """Files of alerts in ``here``, from rows that come in order, a partition of them at a time."""
    alerts = _of(spark, judged, judge.ALERT)
    revisions = 0
    with (here / "alerts.jsonl").open("w") as f:
        for row in alerts.orderBy("t", "id", "number").select("text").toLocalIterator():
            f.write(row["text"] + "\n")
            if (alert := json.loads(row["text"]))["status"] == Status.RAISED:
                months.add_alert(alert)
            revisions += 1
    with alert_files.AlertFiles(here) as files:
        for alert, way in _with_ways(alerts.filter("last = 1"), reports):
            files.add(feature({**alert, "kind": None}, way))
    return {"alerts": files.alerts, "revisions": revisions}


def _with_ways(last: DataFrame, reports: DataFrame) -> Iterator[tuple[dict[str, Any], list[tuple[float, float]]]]:
    """Each alert with (lon, lat) of its ship in its segment: a join by vessel."""
    segment = "STRUCT<mmsi: STRING, segment_start: STRUCT<t: DOUBLE>, segment_end: STRUCT<t: DOUBLE>>"
    a = last.withColumn("a", F.from_json("text", segment)).select(
        F.col("a.mmsi").cast("bigint").alias("ship"),
        F.col("a.segment_start.t").alias("begin"),
        F.col("a.segment_end.t").alias("end"),
        "t",
        "id",
        "number",
        "text",
    )
    r = reports.select("mmsi", F.struct("t", "lat", "lon").alias("p"))
    on = (F.col("ship") == F.col("mmsi")) & F.col("p.t").between(F.col("begin"), F.col("end"))
    grouped = (
        a.join(r, on, "left").groupBy("t", "id", "number", "text").agg(F.sort_array(F.collect_list("p")).alias("way"))
    )
    for row in grouped.orderBy("t", "id", "number").toLocalIterator():
        yield json.loads(row["text"]), [(p["lon"], p["lat"]) for p in row["way"]]


def parser() -> argparse.ArgumentParser:
    p = CommandParser(
        prog="tracks_builder/detect.py",
        description="Judge built tracks: the same alerts as multitaskais detect, on many nodes.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("tracks", metavar="TRACKS", help="folder of tracks that main.py or years.py has written")
    p.add_argument("--model", required=True, help="name of a shipped model, a model folder, or store:NAME[@VERSION]")
    p.add_argument("--output", required=True, metavar="DIR", help="folder of what is found")
    p.add_argument("--zones", type=Path, metavar="FILE", help="GeoJSON of areas with a rule")
    p.add_argument(
        "--partitions", type=int, metavar="N", help="tasks (default: by reports and cores); any number gives the same"
    )
    p.add_argument(
        "--resume",
        action="store_true",
        help="keep what OUTPUT/judged has; refused where it is of other tracks, another model or other zones",
    )
    p.add_argument("--json", action="store_true", help="print the summary as JSON")
    return p


def judge_all(args: argparse.Namespace) -> None:
    """Raises what ``run`` does."""
    job = Detection(args.tracks, args.model, args.output.rstrip("/"), args.zones, args.partitions, args.resume)
    with start(f"detect {args.model}") as spark:
        said = run(spark, job)
    if args.json:
        print(json.dumps(said))
    else:
        for key, value in said.items():
            print(f"{key:>15}  {value}")
        print(f"{job.output}/alerts.jsonl, alerts.parquet, alerts.geojson, verdicts/, summary.json")


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    return exit_code(parser().prog, lambda: judge_all(args))


if __name__ == "__main__":
    leave(main())
