"""What anybody may cost before a login is asked for: time for a request's head, connections, descriptors.

    factory = BoundedConnections(make_http_protocol)
    server = await loop.create_server(factory, host, port)

Each connection has ``REQUEST_S`` for the head of its next request; an answer that its reader does not take is cut after ``UNREAD_S``.
When an address, or all of them, hold as many connections as they may, a new one takes the place of the oldest that waits for its
request; where all are at work it gets 503 with ``Retry-After``. So half requests never shut anybody out: a new request that comes
whole is answered at once. What was cut or refused is one line a minute in the log; a kept connection that asks no more is closed
without a word. Nothing here knows which HTTP library answers.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import time
from collections.abc import Callable
from typing import Any, cast

REQUEST_S = 10.0
UNREAD_S = 30.0
CONNECTIONS_MAX = 512
DESCRIPTORS_RESERVED = 96  # for the brokers, files and what else the process opens
RETRY_S = 30
QUIET_S = 60.0
_REFUSAL = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: %d\r\nConnection: close\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\nContent-Length: 29\r\n\r\ntoo many connections are open\n" % RETRY_S
)


def connections_max() -> int:
    """As many as the limit of descriptors leaves room for."""
    return max(16, min(CONNECTIONS_MAX, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - DESCRIPTORS_RESERVED))


class BoundedConnections:
    """Makes the protocol of each connection.

    Args:
        inner: makes the HTTP protocol of a connection.
        total: connections at a time; three quarters of them may come from one address (a proxy is one).
        log: who is told of what was cut or refused.
        request_s, unread_s: see the module's text.
    """

    def __init__(
        self,
        inner: Callable[[], Any],
        total: int | None = None,
        *,
        log: logging.Logger,
        request_s: float = REQUEST_S,
        unread_s: float = UNREAD_S,
    ) -> None:
        self.inner = inner
        self.request_s = request_s
        self.unread_s = unread_s
        self._log = log
        self._total = connections_max() if total is None else total
        self._of_address = max(1, self._total * 3 // 4)
        self._open: dict[Connection, str] = {}  # the oldest first
        self._cut = 0
        self._logged_at = -QUIET_S

    def __call__(self) -> Connection:
        return Connection(self, self.inner)

    def admit(self, connection: Connection, address: str) -> bool:
        """Whether there is room for it, or room can be made."""
        mine = [c for c, a in self._open.items() if a == address]
        if len(mine) >= self._of_address or len(self._open) >= self._total:
            rivals = mine if len(mine) >= self._of_address else list(self._open)
            victim = next((c for c in rivals if not c.at_work), None)
            self.count_cut()
            if victim is None:
                return False
            victim.cut()
            self._open.pop(victim, None)
        self._open[connection] = address
        return True

    def forget(self, connection: Connection) -> None:
        self._open.pop(connection, None)

    def count_cut(self) -> None:
        self._cut += 1
        if (now := time.monotonic()) - self._logged_at >= QUIET_S:
            self._logged_at = now
            self._log.warning(
                "%d connections were cut or refused (slow, silent or too many); %d are open", self._cut, len(self._open)
            )
            self._cut = 0


class OnceAMinute(logging.Filter):
    """What strangers can have logged as often as they like (a request that is none) is logged once a minute; errors of ours always."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[str, float] = {}  # by the message, before its arguments

    def filter(self, record: logging.LogRecord) -> bool:
        now = time.monotonic()
        if record.levelno < logging.ERROR and now - self._last.get(record.msg, -QUIET_S) < QUIET_S:
            return False
        self._last[record.msg] = now
        return True


class Connection(asyncio.Protocol):
    """Stands between the socket and the HTTP protocol. ``begin`` and ``end`` are called around each request."""

    def __init__(self, owner: BoundedConnections, make: Callable[[], Any]) -> None:
        self._owner = owner
        self._make = make
        self._inner: Any = None
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._answered = self._heard = self._lost = False
        self._working = False

    @property
    def at_work(self) -> bool:
        """Between the head of a request and the end of its answer."""
        return self._working

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        if not self._owner.admit(self, str(peer[0]) if peer else ""):
            self._transport.write(_REFUSAL)
            self._transport.close()
            return
        self._inner = self._make()
        self._inner.connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        self._heard = True
        if self._inner is not None:
            self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received() if self._inner is not None else None

    def connection_lost(self, error: Exception | None) -> None:
        self._lost = True
        self._stop_waiting()
        if self._unread is not None:
            self._unread.cancel()
        self._owner.forget(self)
        if self._inner is not None:
            self._inner.connection_lost(error)

    def pause_writing(self) -> None:
        self._inner.pause_writing()
        self._unread = asyncio.get_running_loop().call_later(self._owner.unread_s, self._too_slow)

    def resume_writing(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
        self._inner.resume_writing()

    def begin(self) -> None:
        """The head of a request is there."""
        self._working = True
        self._stop_waiting()

    def end(self) -> None:
        """The next request is waited for."""
        self._working = self._heard = False
        self._answered = True
        self._wait()

    def _wait(self) -> None:
        if not self._lost:
            self._stop_waiting()
            self._timer = asyncio.get_running_loop().call_later(self._owner.request_s, self._no_request)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _no_request(self) -> None:
        if self._answered and not self._heard and self._transport is not None:
            self._transport.close()
        else:
            self._too_slow()

    def _too_slow(self) -> None:
        self._owner.count_cut()
        self.cut()

    def cut(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def cut_soon(self) -> None:
        """After what is being written."""
        asyncio.get_running_loop().call_later(1.0, self.cut)
