"""The short form of ``make faults``: a handful of faults, compared with a run without them and with batch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from stream_operator import devbroker

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.broker
@pytest.mark.timeout(400)
def test_a_handful_of_faults_changes_nothing_that_anyone_can_read():
    if (reason := devbroker.missing()) is not None:
        pytest.skip(reason)
    command = [sys.executable, "-m", "tests.faults", "--short", "--rate", "1000"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        out, _ = process.communicate(timeout=380)
    finally:
        if process.poll() is None:
            process.send_signal(2)  # it ends its broker and its workers
            process.wait(30)
    assert process.returncode == 0, out
    assert "faults survived / made: 5 / 5" in out
