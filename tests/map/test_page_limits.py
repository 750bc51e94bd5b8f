"""Strangers are bounded before login: slow heads and bodies, too many connections; a whole request is answered throughout."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from aiohttp import web

from stream_operator.page_limits import BoundedConnections

GET = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"


@contextlib.asynccontextmanager
async def serving(total: int = 32, **limits):
    """A page, a body and a stream behind the limits: the port that they are on."""
    app = web.Application()

    async def stream(request):
        response = web.StreamResponse()
        await response.prepare(request)
        await asyncio.Event().wait()

    async def body(request):
        return web.Response(body=await request.read())

    async def health(request):
        return web.Response(text="ok")

    async def flood(request):
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 65536)

    app.add_routes(
        [web.get("/health", health), web.post("/body", body), web.get("/stream", stream), web.get("/flood", flood)]
    )
    bounded = BoundedConnections(lambda: runner.server(), total, **limits)
    app.middlewares.insert(0, bounded.middleware())
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    server = await asyncio.get_running_loop().create_server(bounded, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await runner.cleanup()


async def send(port: int, data: bytes):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    await writer.drain()
    return reader, writer


async def first_line(port: int, data: bytes) -> bytes:
    reader, writer = await send(port, data)
    try:
        return await asyncio.wait_for(reader.readline(), 20)
    finally:
        writer.close()


async def ended(reader) -> bool:
    try:
        return await asyncio.wait_for(reader.read(), 20) is not None
    except ConnectionError:
        return True


@pytest.mark.parametrize("start", [b"", b"G", b"GET / HTTP/1.1\r\nHost: x\r\nX-a: ", GET + b"GET /"])
def test_a_head_that_does_not_come_to_its_end_is_cut(start):
    async def go():
        async with serving(request_s=0.3) as port:
            reader, _ = await send(port, start)
            assert await ended(reader)
            assert b"200" in await first_line(port, GET)

    asyncio.run(go())


def test_a_body_that_does_not_come_is_answered_with_408():
    async def go():
        async with serving(request_s=0.3) as port:
            head = b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nfew"
            assert b"408" in await first_line(port, head)
            whole = b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nfew"
            assert b"200" in await first_line(port, whole)

    asyncio.run(go())


def test_half_requests_shut_nobody_out_and_health_answers_throughout():
    async def go():
        async with serving(total=16, request_s=60.0) as port:
            half = []
            for i in range(150):
                half.append(await send(port, b"GET / HTTP/1.1\r\nHost: x\r\nX-a: "))
                if i % 10 == 0:
                    assert b"200" in await first_line(port, GET)
            assert await ended(half[0][0])

    asyncio.run(go())


def test_a_reader_that_does_not_take_what_it_asked_for_is_let_go_and_others_are_served():
    async def go():
        async with serving(unread_s=0.3) as port:
            reader, _ = await send(port, b"GET /flood HTTP/1.1\r\nHost: x\r\n\r\n")
            # What comes fills the buffers on both sides; from then on nobody takes it.
            for _ in range(20):
                await asyncio.sleep(0.1)
                assert b"200" in await first_line(port, GET)
            assert await ended(reader)

    asyncio.run(go())


def test_where_all_are_at_work_the_next_one_is_told_when_to_come_again():
    async def go():
        async with serving(total=8) as port:
            streams = [await send(port, b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n") for _ in range(6)]
            for reader, _ in streams:
                assert b"200" in await asyncio.wait_for(reader.readline(), 20)
            reader, _ = await send(port, GET)
            answer = await asyncio.wait_for(reader.read(), 20)
            assert b"503" in answer.split(b"\r\n")[0]
            assert b"Retry-After: 30" in answer
            streams[0][1].close()
            for _ in range(100):
                if b"200" in await first_line(port, GET):
                    return
                await asyncio.sleep(0.05)
            raise AssertionError("no place was given back")

    asyncio.run(go())
