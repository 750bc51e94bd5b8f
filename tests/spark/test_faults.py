"""What the operator has to repair is said in one line, without Java's trace: files and folders that cannot be read or written."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from multitaskais.errors import InputError
from tests.spark.conftest import write_lines
from tests.support.builders import sail
from tracks_builder.spark_errors import told

ROOT = Path(__file__).resolve().parents[2]


def error_of(build, *inputs, **fields) -> str:
    with pytest.raises(InputError) as raised:
        build(*inputs, **fields)
    (line,) = str(raised.value).splitlines()
    return line


def test_a_gzip_file_that_was_cut_off_is_named(build, tmp_path):
    write_lines(tmp_path / "a.cdv", sail(2000))
    cut = tmp_path / "in" / "b.cdv.gz"
    cut.parent.mkdir()
    cut.write_bytes(gzip.compress((tmp_path / "a.cdv").read_bytes())[:-2000])
    line = error_of(build, cut.parent)
    assert "b.cdv.gz" in line
    assert "cannot be read" in line


def test_a_parquet_file_that_is_none_is_named(build, tmp_path):
    (tmp_path / "c.parquet").write_bytes(b"PAR1 not really" * 100)
    assert "c.parquet" in error_of(build, tmp_path / "c.parquet")


def test_a_file_system_that_is_not_there_is_told_with_what_is_missing(build):
    assert "give spark-submit the jar of that file system" in error_of(build, "s3a://bucket/2017")


@pytest.mark.parametrize("output", ["/proc/nowhere", "{}/a.cdv"])
def test_an_output_that_cannot_be_written_is_said_before_anything_is_built(build, tmp_path, output):
    archive = write_lines(tmp_path / "a.cdv", sail(20))
    before = archive.read_bytes()
    line = error_of(build, archive, output=output.format(tmp_path))
    assert line.startswith(f"--output {output.format(tmp_path)}: cannot be written (")
    assert archive.read_bytes() == before


def test_nothing_stays_behind_of_the_look_whether_the_output_can_be_written(build, tmp_path):
    build(write_lines(tmp_path / "a.cdv", sail(300)))
    assert not [p for p in (tmp_path / "out").rglob("*writable*")]


def test_an_error_of_the_program_is_not_taken_for_one_of_the_operator():
    mistake = ValueError("java.io.IOException: this text means nothing here")
    assert told(mistake) is mistake


@pytest.mark.skipif(
    os.getuid() != 0 or shutil.which("setpriv") is None, reason="needs root, to become a user who may do less"
)
def test_an_archive_that_this_user_may_not_read_is_one_line_and_exit_code_2(tmp_path_factory):
    """As a program of its own: the permission is that of its user."""
    folder = tmp_path_factory.mktemp("private")
    within = len(folder.relative_to(tempfile.gettempdir()).parts)  # a process of xdist has a level of its own
    for parent in (folder, *folder.parents[: within - 1]):
        parent.chmod(0o755)
    archive = write_lines(folder / "archive" / "a.cdv", sail(20))
    archive.chmod(0o600)
    command = [
        sys.executable,
        "-m",
        "tracks_builder.main",
        str(archive),
        "brittany",
        "--output",
        "/tmp/nothing-is-written",
    ]
    env = {"PATH": os.environ["PATH"], "HOME": "/tmp", "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    done = subprocess.run([*as_nobody, *command], env=env, cwd="/tmp", capture_output=True, text=True, timeout=120)
    assert done.returncode == 2, done.stderr[-2000:]
    (line,) = [x for x in done.stderr.splitlines() if x.startswith("tracks_builder/main.py: ")]
    assert "Permission denied" in line
    assert "a.cdv" in line
    assert "\tat " not in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
