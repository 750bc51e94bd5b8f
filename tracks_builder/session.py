"""The Spark session of a command: what spark-submit was told, and no more than what this job needs besides."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pyspark.sql import SparkSession

ROOT = Path(__file__).resolve().parent.parent


@contextmanager
def start(name: str) -> Iterator[SparkSession]:
    """A session that is stopped at the end. Master, memory and all else are spark-submit's own flags."""
    # Workers on this machine take the driver's Python; on a cluster PYSPARK_PYTHON or spark.pyspark.python says which.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.appName(name)
    if (ROOT / "multitaskais").is_dir():
        # Of a checkout: the tasks' Python finds the packages as this one does.
        known = os.environ.get("PYTHONPATH", "")
        builder = builder.config("spark.executorEnv.PYTHONPATH", os.pathsep.join(filter(None, [str(ROOT), known])))
    spark = builder.getOrCreate()
    try:
        spark.sparkContext.setLogLevel(os.environ.get("SPARK_LOG_LEVEL", "ERROR"))
        yield spark
    finally:
        spark.stop()
