"""The bounds of ``web_common.connections`` for pages that aiohttp serves: its middleware marks a request's head, and bounds its body.

    factory = BoundedConnections(runner.server)        # of an ``aiohttp.web.AppRunner``
    app.middlewares.insert(0, factory.middleware())
    server = await loop.create_server(factory, host, port)

A request's body has as long as its head.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from web_common import connections
from web_common.connections import RETRY_S, Connection, connections_max

log = logging.getLogger("stream_operator.pages")

__all__ = ["RETRY_S", "BoundedConnections", "connections_max"]


class BoundedConnections(connections.BoundedConnections):
    """As there, with the middleware for aiohttp."""

    def __init__(self, inner: Callable[[], Any], total: int | None = None, **limits: float) -> None:
        super().__init__(inner, total, log=log, **limits)

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
