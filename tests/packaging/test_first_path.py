"""The README's first path, as a newcomer walks it: from the built wheel, in a fresh environment without extras."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def commands() -> list[str]:
    (block,) = re.findall(r"^```bash first path\n(.*?)^```$", README, re.S | re.M)
    return block.splitlines()


def test_the_first_path_runs_from_the_wheel_and_prints_the_alert_that_the_readme_shows(fresh, tmp_path):
    install, *rest = commands()
    assert install == "pip install ."
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("bash", "env"):
        (tools / tool).symlink_to(str(shutil.which(tool)))
    env = {"PATH": f"{fresh}{os.pathsep}{tools}", "HOME": str(tmp_path), "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1"}
    script = "set -euo pipefail\n" + "\n".join(rest)
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]

    shown = re.findall(r"^    (raised \(UTC\).*|\d{4}-\d\d-\d\d \d\d:\d\d .*)$", README, re.M)
    table = done.stdout.splitlines()
    first = table.index(shown[0])
    assert len(shown) > 2
    for row, said in zip(table[first:], shown, strict=False):
        assert row.startswith(said.removesuffix(" ..."))
    sentence = " ".join(re.findall(r"^> (.*)$", README, re.M))
    assert sum(row.endswith(sentence) for row in table[first:]) == 1


def test_the_fresh_environment_holds_neither_kafka_nor_spark_nor_tensorflow(fresh):
    code = (
        "import importlib.util, multitaskais\n"
        "print(multitaskais.__file__)\n"
        "print([m for m in ('confluent_kafka', 'faust', 'pyspark', 'tensorflow', 'pytest') if importlib.util.find_spec(m)])"
    )
    done = subprocess.run([fresh / "python", "-I", "-c", code], capture_output=True, text=True, check=True)
    where, there = done.stdout.splitlines()
    assert Path(where).is_relative_to(fresh.parent)
    assert there == "[]"
