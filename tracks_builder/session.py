"""The Spark session of a command: what spark-submit was told, and no more than what this job needs besides."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from pyspark.sql import SparkSession

from multitaskais.errors import MultitaskAISError

USAGE, INTERRUPTED = 2, 130

# They print the trace of a failure that ends the job; the job's own error reports it once more.
TWICE_TOLD = (
    "org.apache.spark.executor.Executor",
    "org.apache.spark.scheduler.TaskSetManager",
    "org.apache.spark.sql.execution.datasources.FileFormatWriter",
    "org.apache.spark.util.Utils",
)
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
        if "SPARK_LOG_LEVEL" not in os.environ:
            _silence(spark)
        yield spark
    finally:
        spark.stop()


def exit_code(prog: str, work: Callable[[], None]) -> int:
    """Do a command's work: 0, or 2 with one line on an error of ours, or 130 when interrupted."""
    try:
        work()
    except MultitaskAISError as e:
        print(f"{prog}: {e}", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def leave(code: int) -> NoReturn:
    """End a script. At once when it was interrupted: py4j would wait for a JVM that the same signal has ended."""
    sys.stdout.flush()
    if code == INTERRUPTED:
        os._exit(code)
    sys.exit(code)


def _silence(spark: SparkSession) -> None:
    """Of this JVM only: executors on other machines keep their logs."""
    log4j = spark._jvm.org.apache.logging.log4j
    for name in TWICE_TOLD:
        log4j.core.config.Configurator.setLevel(name, log4j.Level.OFF)
