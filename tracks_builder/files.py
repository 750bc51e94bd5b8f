"""Small files on whatever file system the paths name, through Spark's own client."""

from __future__ import annotations

from typing import Any

from pyspark.sql import SparkSession


def _open(spark: SparkSession, path: str) -> tuple[Any, Any]:
    """(file system, path) of Hadoop."""
    jvm = spark.sparkContext._jvm
    assert jvm is not None
    where = jvm.org.apache.hadoop.fs.Path(path)
    return where.getFileSystem(spark.sparkContext._jsc.hadoopConfiguration()), where


def exists(spark: SparkSession, path: str) -> bool:
    system, where = _open(spark, path)
    return bool(system.exists(where))


def read_text(spark: SparkSession, path: str) -> str:
    """The whole of a small file. Not by ``spark.read``, which passes over names that begin with ``_``."""
    system, where = _open(spark, path)
    stream = system.open(where)
    try:
        return str(spark._jvm.org.apache.commons.io.IOUtils.toString(stream, "UTF-8"))
    finally:
        stream.close()


def write_text(spark: SparkSession, path: str, text: str) -> None:
    """Replaces the file. Readers of Parquet pass over names that begin with ``_``."""
    system, where = _open(spark, path)
    stream = system.create(where, True)
    try:
        stream.write(bytearray(text.encode()))
    finally:
        stream.close()
