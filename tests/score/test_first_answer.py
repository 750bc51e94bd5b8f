"""The page "Serve models" as a new user follows it: five commands in an empty folder, and the answer is about the ship."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from score_server.example import request
from score_server.scoring import score
from score_server.wire import ScoreRequest
from tests.support.pages import blocks
from tests.support.s3proxy import ROOT, free_port

PAGE = ROOT / "docs" / "serve-models.md"


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl (Debian: apt-get install curl)")
def test_five_commands_lead_from_an_empty_folder_to_a_scored_track(tmp_path):
    install, *commands = next(b for b in blocks(PAGE, "bash") if "curl" in b).strip().splitlines()
    assert install.startswith("make setup")
    assert len(commands) == 4
    script = "\n".join(commands).replace(":8190/", f":{(port := free_port())}/")
    env = {k: v for k, v in os.environ.items() if not k.startswith(("STORE_", "SERVE_", "MULTITASKAIS_", "MODELS"))}
    env |= {"PATH": f"{Path(sys.executable).parent}:{env['PATH']}", "SERVE_PORT": str(port), "JUDGES": "1"}
    env |= {"STORE_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    end = "trap 'kill $(jobs -p); wait' EXIT\n"
    done = subprocess.run(["bash", "-c", f"set -euo pipefail\n{end}{script}"], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    answer = json.loads(done.stdout[done.stdout.index("{") :])
    assert answer["status"] == "success"
    assert [t["verdict"] for t in answer["tracks"]] == ["abnormal"]
    assert answer["anomalies"][0]["message"]
    assert answer["received"] == len(json.loads((tmp_path / "track.json").read_text())["tracks"][0]["reports"])


def test_the_example_is_a_request_that_the_shipped_model_calls_abnormal(brittany):
    import msgspec

    (answer,) = score(brittany, [msgspec.convert(request(), ScoreRequest)])
    assert [t.verdict for t in answer.tracks] == ["abnormal"]
    assert {a.mmsi for a in answer.anomalies} == {answer.tracks[0].mmsi}
    assert answer.coverage.known != "none"
