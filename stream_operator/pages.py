"""The pages of a process that is no web server: health, readiness, metrics. Bounded before anybody is asked who he is (``page_limits``).

listener = listen(bind, port, "HEALTH_BIND, HEALTH_PORT")      # at the start: the port is ours from then on
pages = Pages(listener, {"/health": health, ...})               # each an async function that gives an ``Answer``
await pages.start()
"""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from aiohttp import web

from multitaskais.errors import OperatorError

from .page_limits import BoundedConnections

log = logging.getLogger("stream_operator.pages")

BACKLOG = 128
SAME_S = 0.1  # so long an answer is given to all who ask: however many they are, the work is that of one
STOP_S = 1.0  # requests under way may take so long


class Answer(NamedTuple):
    status: int
    content_type: str
    body: bytes


AnswerMaker = Callable[[], Awaitable[Answer]]


def as_json(ok: bool, body: Mapping[str, Any]) -> Answer:
    """200 when ``ok``, else 503."""
    return Answer(200 if ok else 503, "application/json", json.dumps(body).encode())


def listen(bind: str, port: int, names: str) -> socket.socket:
    """A socket that listens there from now on; ``names`` are the settings or options to change when it cannot.

    Raises:
        OperatorError: it cannot, and why.
    """
    at = f"{bind}:{port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            bind, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as e:
        raise OperatorError(f"{names}: {at} cannot be listened on ({e.strerror})") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as e:
        listener.close()
        if e.errno == errno.EADDRINUSE:
            raise OperatorError(
                f"{names.split(', ')[-1]}: {at} is taken by another program (another worker?); give this one a port of its own"
            ) from None
        raise OperatorError(f"{names}: {at} cannot be listened on ({e.strerror})") from None
    return listener


class Pages:
    """Answers GET on some paths. ``start`` and ``stop`` in the loop in which the answers are made."""

    def __init__(self, listener: socket.socket, answers: Mapping[str, AnswerMaker]) -> None:
        self._listener = listener
        app = web.Application()
        for path, make in answers.items():
            app.router.add_get(path, self._page(make))
        self._bounded = BoundedConnections(lambda: self._runner.server())
        app.middlewares.append(self._bounded.middleware())
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=STOP_S)
        self._server: asyncio.Server | None = None

    @staticmethod
    def _page(make: AnswerMaker) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        one = asyncio.Lock()
        made: tuple[float, Answer] | None = None

        async def page(_request: web.Request) -> web.StreamResponse:
            nonlocal made
            async with one:
                if made is None or time.monotonic() - made[0] > SAME_S:
                    made = time.monotonic(), await make()
                status, content_type, body = made[1]
            return web.Response(status=status, content_type=content_type, body=body)

        return page

    async def start(self) -> None:
        await self._runner.setup()
        self._server = await asyncio.get_running_loop().create_server(self._bounded, sock=self._listener)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        await self._runner.cleanup()


class PagesThread(threading.Thread):
    """``Pages`` of a process without a loop of its own, until the process ends."""

    def __init__(self, listener: socket.socket, answers: Mapping[str, AnswerMaker]) -> None:
        super().__init__(name="pages", daemon=True)
        self._listener = listener
        self._answers = answers

    def run(self) -> None:
        async def serve() -> None:
            await Pages(self._listener, self._answers).start()
            await asyncio.Event().wait()

        try:
            asyncio.run(serve())
        except Exception:
            log.exception("the pages have ended; the work goes on")
