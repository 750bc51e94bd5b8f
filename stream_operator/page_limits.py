"""What anybody may cost before a login is asked for: time for a request's head and body, connections, descriptors.

    factory = BoundedConnections(runner.server)        # of an ``aiohttp.web.AppRunner``
    server = await loop.create_server(factory, host, port)

Each connection has ``REQUEST_S`` for the head of its next request, and as long for its body; an answer that its reader does not
take is cut after ``UNREAD_S``. When an address, or all of them, hold as many connections as they may, a new one takes the place of
the oldest that waits for its request; where all are at work it gets 503 with ``Retry-After``. So half requests never shut anybody
out: a new request that comes whole is answered at once. What was cut or refused is one line a minute in the log.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import time
from collections.abc import Awaitable, Callable
from typing import Any, cast

from aiohttp import web

log = logging.getLogger("stream_operator.pages")

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
        inner: makes the HTTP protocol.
        total: connections at a time; three quarters of them may come from one address (a proxy is one).
        request_s, unread_s: see the module's text.
    """

    def __init__(
        self,
        inner: Callable[[], Any],
        total: int | None = None,
        *,
        request_s: float = REQUEST_S,
        unread_s: float = UNREAD_S,
    ) -> None:
        self.inner = inner
        self.request_s = request_s
        self.unread_s = unread_s
        self._total = connections_max() if total is None else total
        self._of_address = max(1, self._total * 3 // 4)
        self._open: dict[Connection, str] = {}  # the oldest first
        self._cut = 0
        self._logged_at = -QUIET_S

    def __call__(self) -> Connection:
        return Connection(self)

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
            log.warning(
                "%d connections were cut or refused (slow, silent or too many); %d are open", self._cut, len(self._open)
            )
            self._cut = 0

    def middleware(self) -> Callable[[web.Request, Callable[[web.Request], Awaitable[web.StreamResponse]]], Any]:
        """Marks when a request's head is there, and reads its body within the time; put it before all others."""

        @web.middleware
        async def bounded(
            request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
        ) -> web.StreamResponse:
            connection = request.transport.get_protocol() if request.transport is not None else None
            if not isinstance(connection, Connection):
                return await handler(request)
            connection.begin()
            try:
                if request.body_exists:
                    try:
                        await asyncio.wait_for(request.read(), self.request_s)
                    except TimeoutError:
                        self.count_cut()
                        connection.cut_soon()
                        raise web.HTTPRequestTimeout(text="the body did not come in time") from None
                return await handler(request)
            finally:
                connection.end()

        made: Callable[[web.Request, Callable[[web.Request], Awaitable[web.StreamResponse]]], Any] = bounded
        return made


class Connection(asyncio.Protocol):
    """Stands between the socket and the HTTP protocol."""

    def __init__(self, owner: BoundedConnections) -> None:
        self._owner = owner
        self._inner: Any = None
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self.at_work = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        if not self._owner.admit(self, str(peer[0]) if peer else ""):
            self._transport.write(_REFUSAL)
            self._transport.close()
            return
        self._inner = self._owner.inner()
        self._inner.connection_made(transport)
        self.end()

    def data_received(self, data: bytes) -> None:
        if self._inner is not None:
            self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received() if self._inner is not None else None

    def connection_lost(self, error: Exception | None) -> None:
        for timer in (self._timer, self._unread):
            if timer is not None:
                timer.cancel()
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
        self.at_work = True
        if self._timer is not None:
            self._timer.cancel()

    def end(self) -> None:
        """The next request is waited for."""
        self.at_work = False
        self._timer = asyncio.get_running_loop().call_later(self._owner.request_s, self._too_slow)

    def _too_slow(self) -> None:
        self._owner.count_cut()
        self.cut()

    def cut(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def cut_soon(self) -> None:
        """After what is being written."""
        asyncio.get_running_loop().call_later(1.0, self.cut)
