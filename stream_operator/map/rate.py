"""How many answers a minute: of one person, and of one address, whatever names are given there."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

MINUTE_S = 60.0
WAIT_MIN_S = 0.001  # what is told to one who comes so near to the end of a minute that rounding leaves nothing
KEYS_MAX = 10_000  # persons and addresses that are remembered; those that were silent longest are forgotten first


class Rate:
    """Args: ``per_minute`` of (address, person), ``per_address`` of an address in all; ``clock`` in seconds, never going back."""

    def __init__(self, per_minute: int, per_address: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = (per_minute, per_address)
        self._clock = clock
        self._heard: dict[tuple[str, ...], deque[float]] = {}

    def wait_s(self, who: tuple[str, str]) -> float:
        """0 when the answer is welcome, and it counts; else how long to wait."""
        now = self._clock()
        waits = [0.0]
        found = []
        for key, limit in zip((who, who[:1]), self._limits, strict=True):
            times = self._heard.pop(key, None) or deque()
            self._heard[key] = times  # at the end: the order of the dict is that of the last answers
            while times and times[0] <= now - MINUTE_S:
                times.popleft()
            found.append(times)
            if len(times) >= limit:
                waits.append(min(max(times[0] + MINUTE_S - now, WAIT_MIN_S), MINUTE_S))  # rounding: neither 0 nor more
        if (wait := max(waits)) == 0.0:
            for times in found:
                times.append(now)
        while len(self._heard) > KEYS_MAX:
            del self._heard[next(iter(self._heard))]
        return wait
