"""Archives of AIS -> Parquet tracks, by Spark.

    spark-submit tracks_builder/main.py '/data/*/*/*.cdv' brittany --output /tmp/trajectories

Runs as a script of the installed package or of a checkout, from any folder, with spark-submit or with python.
Exit codes: 0 done, 2 wrong use or wrong input (one line says what to do), 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
if __name__ == "__main__" and not __package__:
    # As a script Python puts this folder first on the path: modules of this package would stand there as top-level names.
    sys.path[:] = [p for p in sys.path if p and Path(p).resolve() != HERE]
    if (HERE.parent / "multitaskais").is_dir():
        sys.path.insert(0, str(HERE.parent))

# The path has to be right before the packages are imported.
from multitaskais.ais.tables.layout import parse_columns  # noqa: E402
from multitaskais.ais.zero import nothing_read  # noqa: E402
from multitaskais.command import CommandParser  # noqa: E402
from multitaskais.config import REGIONS, Region  # noqa: E402
from multitaskais.records import Counts, Reason  # noqa: E402
from tracks_builder.job import DEFAULT_OUTPUT, Job, run  # noqa: E402
from tracks_builder.session import exit_code, leave, start  # noqa: E402

EXAMPLE = """examples:
  spark-submit tracks_builder/main.py '/data/*/*/*.cdv' brittany
  spark-submit --master 'local[4]' tracks_builder/main.py /data/2017/*/*.cdv brittany --output /srv/tracks
  spark-submit tracks_builder/main.py 's3a://archive/2017/' global --year 2017 --output s3a://tracks
"""


def parser() -> argparse.ArgumentParser:
    p = CommandParser(
        prog="tracks_builder/main.py",
        description="Build tracks from archives of AIS.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument(
        "globs", nargs="+", metavar="GLOB", help="files, folders or patterns; also several (an unquoted pattern)"
    )
    p.add_argument("profile", metavar="PROFILE", help=f"{', '.join(REGIONS)}, or a JSON file of a region")
    p.add_argument(
        "--output", default=DEFAULT_OUTPUT, metavar="DIR", help="folder of the tracks (default: %(default)s)"
    )
    p.add_argument("--format", metavar="F", help="of the archive, where it is not recognised by itself")
    p.add_argument(
        "--columns", metavar="F=COLUMN,...", help="of tables: which column is what, such as sog=Speed,t=When"
    )
    p.add_argument("--year", type=int, metavar="Y", help="write the tracks that begin in this year and touch no other")
    p.add_argument("--partitions", type=int, metavar="N", help="tasks of the second half (default: by size and cores)")
    p.add_argument("--json", action="store_true", help="print the summary as JSON")
    return p


def build(args: argparse.Namespace) -> None:
    """Raises what ``run`` does, and ``InputError`` where no report was in a track."""
    region = Region.load(args.profile)
    columns = parse_columns(args.columns)
    job = Job(tuple(args.globs), region, args.output, args.format, args.year, args.partitions, columns=columns)
    with start(f"tracks {region.name}") as spark:
        summary = run(spark, job)
    print(json.dumps(summary.as_dict()) if args.json else summary)
    if not summary.kept and args.year is None:
        rejected = {reason: summary.rejected[reason] for reason in Reason if reason in summary.rejected}
        raise nothing_read(args.globs, Counts(summary.lines_in, 0, rejected), args.format, columns, "no track")


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    return exit_code(parser().prog, lambda: build(args))


if __name__ == "__main__":
    leave(main())
