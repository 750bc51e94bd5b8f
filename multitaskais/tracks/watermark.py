"""The watermark of one partition: how far its log has come, and which reports cannot be dated right (``future``, ``behind``).

Whether a report is too late for its own vessel (``late``) is decided in ``tracker.py``.

The clock is the greatest accepted time. Two states:

- **open**, at the start: too few vessels have been heard together to trust any time. Every report is taken, since nothing says
  that it is wrong; so the first record sets nothing alone, and the archive of one vessel (or of three) is read whole. The
  watermark moves only as far as two vessels agree. When a vessel and ``future_confirmations`` others have been heard within
  ``future_max_s`` of each other, the clock is **set**.
- **set**: a report more than ``future_max_s`` ahead is ``future``, one more than ``behind_max_s`` behind is ``behind``.

A report ahead is a *claim*. The clock jumps to it when ``future_confirmations`` other vessels claim the same (within
``future_max_s``) and they are no fewer than the vessels that were accepted at the old time while there were claims and have
not moved on since, so that one station's wrong clock among many does not carry the partition away. That is what a real
hole in the feed looks like; it costs the reports of the first vessels (with the default, 3), which were counted as ``future``
and are not taken back: they went to the dead letters. When a vessel's claim goes on for more than ``future_max_s`` of its own
time and nothing at all is heard at the old time, the feed has gone on with too few vessels to confirm: the clock opens again,
for the price of that vessel's reports until then.

The watermark never goes back: it is a promise that nothing older will be taken, clock minus ``behind_max_s``.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..config import TrackRules
from ..records import Reason
from ..types import Reports
from .quality import CODE

VOTES_MAX = 64  # vessels remembered ahead of the clock, or while it is open; also of those that oppose
VOTE_LIFE = 1000  # a claim is forgotten when so many reports were accepted at the old time since
_FUTURE = CODE[Reason.FUTURE]
_BEHIND = CODE[Reason.BEHIND]


class Vote(msgspec.Struct, array_like=True):
    """What a vessel says about the time, not (yet) believed."""

    first: float  # since when it says so without a report at the old time between
    last: float
    accepted: int  # the clock's count at its last report


class WatermarkGenerator(msgspec.Struct, array_like=True):
    """State of one partition's clock, a value."""

    is_established: bool = False
    now: float = -math.inf  # greatest accepted time that was confirmed
    watermark: float = -math.inf  # no report older than this is taken
    votes: dict[int, Vote] = {}  # by mmsi, least recently heard first
    opposing: dict[int, float] = {}  # vessels accepted at the old time while there were claims, and when
    accepted: int = 0  # reports accepted at the old time while there were claims

    def admit(
        self,
        reports: Reports,
        codes: NDArray[np.uint8],
        rules: TrackRules,
        beside: NDArray[np.bool_] | None = None,
    ) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        """Take (n,) reports in log order; those with a code (already rejected) are passed over.

        Args:
            beside: (n,) of those with a code, which are to be dated by the clock, though they move nothing in it.

        Returns:
            The codes with ``future`` and ``behind`` added, and the watermark (n,) after each report: from there on no report
            older than it is accepted.
        """
        codes = codes.copy()
        watermarks = np.full(len(reports), self.watermark)
        dated = np.zeros(0, np.int64) if beside is None else np.flatnonzero(beside)
        use = np.flatnonzero(codes == 0)
        t = reports["t"][use]
        if self.is_established and not self.votes and len(use):
            clock = np.maximum.accumulate(np.concatenate([[self.now], t]))
            if not (t > clock[:-1] + rules.future_max_s).any():
                low = np.maximum(self.watermark, clock[:-1] - rules.behind_max_s)
                codes[use[t < low]] = _BEHIND
                if len(dated):
                    now = clock[np.searchsorted(use, dated)]
                    time = reports["t"][dated]
                    codes[dated[time > now + rules.future_max_s]] = _FUTURE
                    codes[dated[time < np.maximum(self.watermark, now - rules.behind_max_s)]] = _BEHIND
                watermarks[use] = np.maximum(self.watermark, clock[1:] - rules.behind_max_s)
                self.now = float(clock[-1])
                self.watermark = max(self.watermark, self.now - rules.behind_max_s)
                return codes, np.maximum.accumulate(watermarks)
        if len(dated):
            use = np.union1d(use, dated)
        is_fine = (codes[use] == 0).tolist()
        columns = (use.tolist(), reports["mmsi"][use].tolist(), reports["t"][use].tolist(), is_fine)
        for i, mmsi, time, fine in zip(*columns, strict=True):
            if fine:
                codes[i] = self._one(mmsi, time, rules)
                watermarks[i] = self.watermark
            elif time < self.watermark:
                codes[i] = _BEHIND
            elif self.is_established and time > self.now + rules.future_max_s:
                codes[i] = _FUTURE
        return codes, np.maximum.accumulate(watermarks)

    def complete_until(self, t: float, rules: TrackRules) -> None:
        """It was said that the log is complete up to ``t``: nothing older is taken any more, and what comes next may be of any later
        time (another archive), so the clock is open again."""
        self.watermark = max(self.watermark, t)
        self.now = max(self.now, t)
        self.is_established = False
        self._forget()

    def hear(self, t: float, rules: TrackRules, *, reopen: bool = False) -> None:
        """The reports elsewhere have come as far as ``t``. An idle partition's clock goes along, as far as one report could move it;
        no report becomes ``behind`` that a report of ``t`` would not have made so. ``reopen``: the next may be of any time."""
        if self.is_established and self.now < t <= self.now + rules.future_max_s:
            self._advance(t, rules)
        if reopen:
            self.is_established = False
            self._forget()

    @property
    def latest(self) -> float:
        """The greatest time that was accepted: of the clock, or while it is open, of the vessels heard lately; -inf before any."""
        if self.is_established:
            return self.now
        return max([self.now, *(vote.last for vote in self.votes.values())])

    def _one(self, mmsi: int, t: float, rules: TrackRules) -> int:
        if t < self.watermark:
            return _BEHIND
        if self.is_established and t <= self.now + rules.future_max_s:
            if t > self.now:
                self._advance(t, rules)
            if self.votes:
                self._oppose(mmsi, t)
            return 0
        vote = self._vote(mmsi, t)
        near = [c.last for other, c in self.votes.items() if other != mmsi and abs(c.last - t) <= rules.future_max_s]
        if len(near) >= rules.future_confirmations and len(near) >= self._opposing(rules):
            self._forget()
            self.is_established = True
            self._advance(max(t, *near), rules)
            return 0
        if self.is_established:
            if t - vote.first <= rules.future_max_s:
                return _FUTURE
            self.is_established = False
        if near:
            self.watermark = max(self.watermark, min(t, max(near)) - rules.behind_max_s)
        return 0

    def _advance(self, t: float, rules: TrackRules) -> None:
        self.now = t
        self.watermark = max(self.watermark, t - rules.behind_max_s)

    def _opposing(self, rules: TrackRules) -> int:
        """Vessels that say the old time, of those heard lately by it."""
        return sum(t >= self.now - rules.future_max_s for t in self.opposing.values()) if self.is_established else 0

    def _vote(self, mmsi: int, t: float) -> Vote:
        self.opposing.pop(mmsi, None)
        vote = self.votes.pop(mmsi, None)
        if vote is None or t < vote.last or vote.accepted != self.accepted:
            vote = Vote(t, t, self.accepted)
        vote.last = t
        self.votes[mmsi] = vote
        if len(self.votes) > VOTES_MAX:
            del self.votes[next(iter(self.votes))]
        return vote

    def _oppose(self, mmsi: int, t: float) -> None:
        self.accepted += 1
        self.votes.pop(mmsi, None)  # the vessel itself is back at the old time
        self.opposing.pop(mmsi, None)
        self.opposing[mmsi] = t
        if len(self.opposing) > VOTES_MAX:
            del self.opposing[next(iter(self.opposing))]
        stalest = next(iter(self.votes), None)
        if stalest is not None and self.accepted - self.votes[stalest].accepted > VOTE_LIFE:
            del self.votes[stalest]
        if not self.votes:
            self._forget()

    def _forget(self) -> None:
        self.votes = {}
        self.opposing = {}
        self.accepted = 0
