"""Small files on whatever file system the paths name, through Spark's own client."""

from __future__ import annotations

import hashlib
import uuid
from pathlib import Path
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession

from multitaskais.errors import InputError


def _open(spark: SparkSession, path: str) -> tuple[Any, Any]:
    """(file system, path) of Hadoop."""
    jvm = spark.sparkContext._jvm
    assert jvm is not None
    where = jvm.org.apache.hadoop.fs.Path(path)
    return where.getFileSystem(spark.sparkContext._jsc.hadoopConfiguration()), where


def exists(spark: SparkSession, path: str) -> bool:
    system, where = _open(spark, path)
    return bool(system.exists(where))


def require_writable(spark: SparkSession, folder: str) -> None:
    """Makes the folder where it is missing, and raises InputError now where hours later the job could not write to it."""
    system, where = _open(spark, folder)
    try:
        system.mkdirs(where)
        write_text(spark, probe := f"{folder}/.writable-{uuid.uuid4().hex}", "")
        system.delete(_open(spark, probe)[1], False)
    except Py4JJavaError as e:
        why = str(e.java_exception.getMessage())
        raise InputError(
            f"--output {folder}: cannot be written ({why}); give a folder that this user may write to"
        ) from e


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


def fingerprint(spark: SparkSession, files: list[str]) -> str:
    """Differs where the names, sizes or times of change of some files do; ``files`` are URIs, as ``DataFrame.inputFiles`` gives them."""
    jvm = spark.sparkContext._jvm
    assert jvm is not None
    told = []
    for file in sorted(files):
        where = jvm.org.apache.hadoop.fs.Path(jvm.java.net.URI(file))
        status = where.getFileSystem(spark.sparkContext._jsc.hadoopConfiguration()).getFileStatus(where)
        told.append(f"{file} {status.getLen()} {status.getModificationTime()}\n")
    return hashlib.sha256("".join(told).encode()).hexdigest()


def remove(spark: SparkSession, path: str) -> None:
    """A file goes, where it is there."""
    system, where = _open(spark, path)
    system.delete(where, False)


def copy_from_here(spark: SparkSession, file: Path, path: str) -> None:
    """A file of this machine to where ``path`` is, in place of what is there."""
    system, where = _open(spark, path)
    jvm = spark.sparkContext._jvm
    assert jvm is not None
    system.copyFromLocalFile(False, True, jvm.org.apache.hadoop.fs.Path(file.as_uri()), where)
