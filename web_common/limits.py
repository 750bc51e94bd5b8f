"""A body that comes too slowly is cut off: a connection that never ends its body would keep its place for ever."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from .errors import Failure

Message = dict[str, Any]  # of ASGI
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class SlowBody:
    """ASGI: the whole body within ``seconds`` of the request's head, else 408 and the connection is closed.

    Of a body that is refused, up to ``drain_bytes`` are read and dropped before the answer.
    """

    def __init__(self, app: Any, seconds: float, drain_bytes: int) -> None:
        self.inner, self._seconds, self._drain_bytes = app, seconds, drain_bytes

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.inner(scope, receive, send)
            return
        until = time.monotonic() + self._seconds
        complete = started = cut = gone = False

        async def receive_in_time() -> Message:
            nonlocal complete, cut, gone
            if complete:
                return await receive()
            try:
                async with asyncio.timeout(until - time.monotonic()):
                    message = await receive()
            except TimeoutError:
                cut = True
                raise _TooSlow from None
            if message["type"] == "http.disconnect":  # nobody is there to be answered, and no error of ours
                cut = gone = True
                raise _TooSlow
            complete = not message.get("more_body", False)
            return message

        async def send_unless_cut(message: Message) -> None:
            nonlocal started, cut
            if cut:  # whatever the application makes of it, the answer is ours
                return
            if message["type"] == "http.response.start":
                started = True
                # A client that still sends would see the connection break, and not why.
                left = self._drain_bytes
                with contextlib.suppress(_TooSlow):
                    while not complete and left > 0:
                        left -= len((await receive_in_time()).get("body", b""))
                cut = False
            await send(message)

        with contextlib.suppress(_TooSlow):
            await self.inner(scope, receive_in_time, send_unless_cut)
        if cut and not started and not gone:
            body = msgspec.json.encode(Failure("error", f"the body did not come within {self._seconds:g} s"))
            headers = [(b"content-type", b"application/json"), (b"connection", b"close"), (b"content-length", str(len(body)).encode())]  # fmt: skip
            await send({"type": "http.response.start", "status": 408, "headers": headers})
            await send({"type": "http.response.body", "body": body})


class _TooSlow(BaseException):
    """No ``Exception``: the application must neither answer nor log it."""
