"""One real Spark for all tests of this folder."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from multitaskais.ais.encode import cdv_lines, statics_of, write_cdv
from multitaskais.config import REGIONS

BRITTANY = REGIONS["brittany"]


def pytest_collection_modifyitems(items):
    here = str(Path(__file__).parent)
    for item in items:
        if str(item.path).startswith(here):
            item.add_marker(pytest.mark.spark)


@pytest.fixture(scope="session")
def spark():
    pytest.importorskip("pyspark", reason="PySpark is not installed: pip install '.[tracks]'")
    if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
        pytest.skip("no Java on the path and JAVA_HOME is not set")
    from pyspark.sql import SparkSession

    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    session = (
        SparkSession.builder.master("local[2]")
        .appName("tests")
        .config("spark.driver.memory", "1g")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", "3")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("ERROR")
    yield session
    session.stop()


@pytest.fixture
def build(spark, tmp_path):
    """build(*globs, **fields of Job) -> (summary, table of tracks)."""
    from tracks_builder.job import Job, run

    def build(*globs, output=None, **fields):
        job = Job(
            tuple(str(g) for g in globs), fields.pop("region", BRITTANY), str(output or tmp_path / "out"), **fields
        )
        return run(spark, job), tracks_in(job.output)

    return build


def tracks_in(folder):
    """All rows of a tracks folder, by vessel and time, as any reader of Parquet sees them."""
    import pyarrow.dataset as ds

    table = ds.dataset(str(folder), partitioning="hive").to_table()
    if not table.num_columns:  # no track, no file
        return table
    return table.sort_by([(c, "ascending") for c in ("mmsi", "t", "lat", "lon", "sog")])


def write_lines(path: Path, reports, extra=()) -> Path:
    """A .cdv file of reports, and of extra lines at its end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cdv_lines(reports).tobytes() + b"".join(line + b"\n" for line in extra))
    return path


def write_archive(folder: Path, reports) -> str:
    """``YYYY/MM/*.cdv`` with static data; the pattern that reads it."""
    write_cdv(folder, reports, statics_of(reports))
    return str(folder / "*" / "*" / "*.cdv")
