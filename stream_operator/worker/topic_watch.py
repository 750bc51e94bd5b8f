"""What happens to the topics while the worker runs: asked every few seconds, in a thread of its own.

Three questions. Is the source the topic that our state belongs to (``topic_identity``)? And does each partition go on: where does
its log end, is a part of it held back by an open transaction, has our position moved? And do the other workers run with
the same settings (``peers``)? ``health`` and the metrics tell the answers.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from confluent_kafka import KafkaException

from multitaskais.errors import MultitaskAISError, OperatorError

from .. import exit_codes as exits
from ..kafka import client as kafka
from ..kafka.errors import explain, is_access_denied
from ..settings import Settings
from .metrics import Metrics
from .partition import Partition
from .peers import Peers
from .topic_identity import LOOK_EVERY_S, MISSING_TIMES, TopicIdentity, TopicLookup, mismatch

log = logging.getLogger("stream_operator")


class TopicWatch:
    """Ends the process when the source is another topic than the one it began with."""

    def __init__(
        self,
        settings: Settings,
        lookup: TopicLookup,
        partitions: Callable[[], list[Partition]],
        metrics: Metrics,
        peers: Peers,
    ) -> None:
        self._settings = settings
        self._lookup = lookup
        self._partitions = partitions
        self._metrics = metrics
        self.peers = peers
        self.known: TopicIdentity | None = None  # the source as it was first seen
        self.control_topic_id = ""
        self.grown_to: int | None = None  # partitions that the source has now, when more were added
        self._missing = 0
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="topic-watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping = True
        self._wake.set()

    def look_now(self) -> None:
        """Something was odd: do not wait for the next turn."""
        self._wake.set()

    def compare(self, found: TopicIdentity | None, *, confirmed: bool = True) -> None:
        """Take an answer; raises ``OperatorError`` when the source is not the one it was.

        Args:
            confirmed: a missing topic counts towards ``MISSING_TIMES``.
        """
        with self._lock:
            if found is None:
                self._missing += confirmed
                if self._missing < MISSING_TIMES:
                    return
            else:
                self._missing = 0
            if self.known is None:
                if found is not None:
                    self.known = found
                    control = self._lookup.identity(self._settings.control_topic)
                    self.control_topic_id = control.topic_id if control else ""
                    return
                raise OperatorError(mismatch(self._settings, TopicIdentity("", 0), None) or "")
            if found is None or found.topic_id != self.known.topic_id or found.partitions < self.known.partitions:
                raise OperatorError(mismatch(self._settings, self.known, found) or "")
            if found.partitions > self.known.partitions and self.grown_to != found.partitions:
                self.grown_to = found.partitions
                log.error(
                    "%s; until then partitions 0 to %d go on, and nothing is read from those that were added",
                    mismatch(self._settings, self.known, found), self.known.partitions - 1,
                )  # fmt: skip

    def _run(self) -> None:
        while not self._stopping:
            self._wake.wait(1.0 if self._missing else LOOK_EVERY_S)
            self._wake.clear()
            if self._stopping:
                break
            try:
                self.compare(self._lookup.identity(self._settings.topic))
                self._look_at_ends()
                self.peers.look(self.known.partitions if self.known else 0, [p.number for p in self._partitions()])
                self._metrics.peers(self.peers.differences)
            except KafkaException as e:
                if is_access_denied(e):
                    error = explain(self._settings, e, "Describe", f"topic {self._settings.topic}")
                    exits.end_now(exits.of(error), str(error))
                kafka.log.debug("the topic watch had no answer: %s", e.args[0].str())
            except MultitaskAISError as e:
                exits.end_now(exits.of(e), str(e))
        self.peers.close()

    def _look_at_ends(self) -> None:
        partitions = [p for p in self._partitions() if not p.closed]
        ends = self._lookup.ends(self._settings.topic, [p.number for p in partitions])
        now = time.monotonic()
        for p in partitions:
            if (found := ends.get(p.number)) is None:
                continue
            if p.position is not None and p.position >= found.stable:
                p.moved_at = now  # all that may be read has been read
            held = found.stable < found.high
            if not held or (p.ends is not None and p.ends.stable != found.stable):
                p.held_since = None
            if held and p.held_since is None:
                p.held_since = now
            p.ends = found
            self._metrics.progress(p, now)
