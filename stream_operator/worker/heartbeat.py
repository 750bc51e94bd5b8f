"""The heartbeat of the consumer's thread, which ``/health`` looks at, and the request to stop.

Whatever keeps that thread waiting beats for it: a wait that is bounded is no hanging thread.
"""

from __future__ import annotations

import threading
import time

from .checkpoint import Stopped

POLL_S = 0.1


class Heartbeat:
    """``last``: when it last beat, by ``time.monotonic``. ``stopping`` is set when the worker is to stop."""

    def __init__(self) -> None:
        self.last = time.monotonic()
        self.stopping = threading.Event()

    def beat(self) -> None:
        self.last = time.monotonic()

    def pause(self) -> None:
        """Wait for ``POLL_S`` before a question is asked again. Raises ``Stopped`` when the worker is to stop."""
        self.beat()
        if self.stopping.wait(POLL_S):
            raise Stopped
