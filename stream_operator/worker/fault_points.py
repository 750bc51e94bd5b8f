"""Places inside a checkpoint where the fault tests kill or stop the process. Without ``FAULT_POINT`` each is a no-op.

``FAULT_POINT=produced:7`` sends SIGKILL to the process when it passes ``produced`` for the 7th time;
``produced:7:STOP`` sends SIGSTOP.
"""

from __future__ import annotations

import os
import signal

AT_START = ("fenced", "restored")  # while a partition is opened
INSIDE = ("begun", "results", "produced")  # a transaction is open
POINTS = (*AT_START, "cut", *INSIDE, "committed")
_passed = 0


def reach(point: str) -> None:
    """For tests: kill or pause this process when ``FAULT_POINT`` names this point and it is passed often enough."""
    global _passed
    wanted = os.environ.get("FAULT_POINT", "")
    if not wanted.startswith(f"{point}:"):
        return
    _, number, *how = wanted.split(":")
    _passed += 1
    if _passed == int(number):
        os.kill(os.getpid(), signal.SIGSTOP if how == ["STOP"] else signal.SIGKILL)
