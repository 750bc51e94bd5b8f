"""Every command of the page about clusters is one that spark-submit and the job would take."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tracks_builder import detect, samples
from tracks_builder.main import parser

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "cluster.md").read_text()
SCRIPT = "tracks_builder/main.py"

pytestmark = pytest.mark.spark


def commands(script: str = "main.py") -> list[list[str]]:
    """Words of each command of the page that submits the job."""
    text = re.sub(r"\\\n\s+", " ", PAGE)
    lines = [line.strip() for line in text.splitlines() if line.startswith("    ") and script in line]
    return [shlex.split(re.sub(r"\s+# .*", "", line)) for line in lines]


@pytest.fixture(scope="module")
def options() -> dict[str, bool]:
    """What spark-submit itself says it takes: option -> does it want a value?"""
    if shutil.which("java") is None:
        pytest.skip("no Java on the path")
    env = {**os.environ, "PYSPARK_PYTHON": sys.executable}
    command = [str(Path(sys.executable).with_name("spark-submit")), "--help"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
    found = re.findall(r"^\s+(--[a-z-]+)(?:, -\w)?((?: [A-Z]\S*)?)", done.stdout + done.stderr, re.M)
    assert len(found) > 20
    return {name: bool(value.strip()) for name, value in found}


def test_the_page_has_a_command_for_each_kind_of_cluster():
    masters = [words[words.index("--master") + 1] for words in commands()]
    assert [m.split(":")[0] for m in masters] == ["spark", "yarn", "k8s"]


def test_the_command_for_samples_has_words_that_the_job_takes():
    (words,) = commands("samples.py")
    job = samples.parser().parse_args(words[words.index("tracks_builder/samples.py") + 1 :])
    assert (job.tracks, job.profile, job.output) == ("/srv/tracks", "brittany", "/srv/samples")


def test_the_command_for_alerts_has_words_that_the_job_takes():
    (words,) = commands("detect.py")
    job = detect.parser().parse_args(words[words.index("tracks_builder/detect.py") + 1 :])
    assert (job.tracks, job.model, job.output) == ("/srv/tracks", "brittany", "/srv/found")


@pytest.mark.parametrize("words", commands(), ids=lambda w: w[w.index("--master") + 1])
def test_a_command_has_options_that_spark_submit_knows_and_words_that_the_job_takes(words, options):
    script = next(i for i, w in enumerate(words) if w.endswith("main.py"))
    given = words[words.index("--master") : script]
    while given:
        name, *given = given
        assert name in options, name
        if options[name]:
            value, *given = given
            assert not value.startswith("--")
            assert name != "--conf" or re.fullmatch(r"spark\.[\w.]+=\S+", value), value
    job = parser().parse_args(words[script + 1 :])
    assert job.profile == "brittany"
    assert job.globs
