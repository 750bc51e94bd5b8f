"""One year after the other, and a table of them: for archives of many years, and for adding a year to them.

    python -m tracks_builder.years /data brittany --years 2015-2019 --output /srv/tracks
    spark-submit --master spark://MASTER:7077 tracks_builder/years.py /data brittany --years 2017,2019 --resume

The archive is laid out as ``ROOT/YYYY/MM/...``. Of each year its own folder is read, with the last month of the year before and the
first of the year after where they are there (tracks lie across New Year).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
if __name__ == "__main__" and not __package__:
    sys.path[:] = [p for p in sys.path if p and Path(p).resolve() != HERE]
    if (HERE.parent / "multitaskais").is_dir():
        sys.path.insert(0, str(HERE.parent))

# The path has to be right before the packages are imported.
from pyspark.sql import SparkSession  # noqa: E402

from multitaskais.command import CommandParser  # noqa: E402
from multitaskais.config import Region  # noqa: E402
from multitaskais.errors import ConfigError, InputError  # noqa: E402
from tracks_builder.files import exists, read_text, write_text  # noqa: E402
from tracks_builder.job import DEFAULT_OUTPUT, Job, Summary, run  # noqa: E402
from tracks_builder.session import exit_code, leave, start  # noqa: E402
from tracks_builder.spark_errors import telling  # noqa: E402

COLUMNS = (
    ("year", 4),
    ("lines in", 16),
    ("kept", 14),
    ("rejected", 14),
    ("tracks", 10),
    ("seconds", 10),
    ("lines/s", 10),
)


def parse_years(text: str) -> list[int]:
    """``2015-2019``, ``2015,2017`` or both together, in order. Raises ConfigError."""
    years: set[int] = set()
    for part in text.split(","):
        found = re.fullmatch(r"(\d{4})(?:-(\d{4}))?", part.strip())
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if first > last:
            raise ConfigError(f"--years {text}: give years as 2015-2019 or 2015,2017")
        years.update(range(first, last + 1))
    return sorted(years)


@telling()
def globs_of(spark: SparkSession, root: str, year: int) -> tuple[str, ...]:
    """Folders of the archive to read for one year. Raises InputError where the year itself is not there."""
    base = root.rstrip("/")
    if not exists(spark, f"{base}/{year:04}"):
        raise InputError(f"{base}/{year:04}: no such folder; the archive has to be laid out as {base}/YYYY/MM/...")
    around = (f"{base}/{year - 1:04}/12", f"{base}/{year + 1:04}/01")
    return (f"{base}/{year:04}", *(folder for folder in around if exists(spark, folder)))


def build_years(spark: SparkSession, root: str, years: list[int], job: Job, resume: bool = False) -> Iterator[Summary]:
    """The summary of each year once it is written; ``job`` gives all but inputs and year."""
    for year in years:
        done = f"{job.output}/_summary-{year}.json"
        if resume and exists(spark, done):
            yield Summary.from_dict(json.loads(read_text(spark, done)))
            continue
        yield run(spark, dataclasses.replace(job, globs=globs_of(spark, root, year), year=year))


def row(values: list[str]) -> str:
    return "".join(f"{value:>{width}}" for value, (_, width) in zip(values, COLUMNS, strict=True))


def row_of(s: Summary) -> str:
    numbers = (s.lines_in, s.kept, sum(s.rejected.values()), s.tracks)
    return row([str(s.year), *(f"{n:,}" for n in numbers), f"{s.seconds:.2f}", f"{s.lines_per_s:,.0f}"])


def parser() -> argparse.ArgumentParser:
    p = CommandParser(
        prog="tracks_builder/years.py",
        description="Build the tracks of several years, one after the other.",
        epilog="example: python -m tracks_builder.years /data brittany --years 2015-2019 --output /srv/tracks",
    )
    p.add_argument("root", metavar="ROOT", help="folder of the archive, laid out as ROOT/YYYY/MM/...")
    p.add_argument("profile", metavar="PROFILE", help="a region's name or JSON file")
    p.add_argument("--years", required=True, metavar="Y-Y,Y", help="which: 2015-2019, 2015,2017")
    p.add_argument(
        "--output", default=DEFAULT_OUTPUT, metavar="DIR", help="folder of the tracks (default: %(default)s)"
    )
    p.add_argument("--format", metavar="F", help="of the archive, where it is not recognised by itself")
    p.add_argument("--resume", action="store_true", help="pass over years that have a summary")
    return p


def build(args: argparse.Namespace) -> None:
    """Raises what ``build_years`` does."""
    years = parse_years(args.years)
    job = Job((args.root,), Region.load(args.profile), args.output, args.format)
    with start(f"tracks {job.region.name} {args.years}") as spark:
        print(row([name for name, _ in COLUMNS]), flush=True)
        summaries = []
        for summary in build_years(spark, args.root, years, job, args.resume):
            print(row_of(summary), flush=True)
            summaries.append(summary.as_dict())
        write_text(spark, f"{args.output}/_years.json", json.dumps(summaries, indent=2) + "\n")


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    return exit_code(parser().prog, lambda: build(args))


if __name__ == "__main__":
    leave(main())
