"""The map's web server: one page, a snapshot, a stream of changes, the story of an alert, and the officer's answer.

GET  /                       the page                 GET /api/coast            land
GET  /api/state              all that is known now     GET /api/stream           changes, one event a second (SSE)
GET  /api/alert/ID           the story of an alert     GET /api/ship/MMSI        a ship's day
GET  /api/replay?from=&to=   where all were            POST /api/feedback        {alert_id, answer, word, who}
"""

from __future__ import annotations

import asyncio
import functools
import gzip
import hashlib
import math
import mimetypes
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import msgspec
from aiohttp import web

from multitaskais.detection.suppression import AnswerKind
from multitaskais.settings import is_loopback

from ..page_limits import RETRY_S
from ..plain_text import plain
from . import vocabulary
from .coast import coast
from .feedback import Answers
from .guard import HEADERS, Guard, Handler
from .rate import Rate
from .state import MapState
from .untrusted import NAME_CHARS, Answer, Id

STATIC = Path(__file__).with_name("static")
TICK_S = 1.0
PAGES_MAX = 320  # streams at a time
QUEUE_MAX = 30  # changes that wait for one slow page; then it is let go and starts again
BODY_MAX = 4096
WORD_CHARS = 280
ANSWERS_PER_MINUTE = 30  # of one person
ANSWERS_PER_ADDRESS = 120  # of all persons at one address; a proxy is one
REPLAY_MAX_S = 4 * 3600.0

_json = {"content_type": "application/json", "charset": "utf-8"}


class Said(msgspec.Struct, forbid_unknown_fields=True):
    """Body of ``POST /api/feedback``."""

    alert_id: Id
    answer: AnswerKind
    word: str = ""
    who: str = ""


class Server:
    """Args: ``clock`` dates answers (Unix s)."""

    def __init__(
        self, picture: MapState, answers: Answers, guard: Guard, clock: Callable[[], float] = time.time
    ) -> None:
        self._picture = picture
        self._answers = answers
        self._guard = guard
        self._clock = clock
        self._rate = Rate(ANSWERS_PER_MINUTE, ANSWERS_PER_ADDRESS)
        self._state_lock = asyncio.Lock()
        self._state_at = -TICK_S
        self._state_body = b""
        self._pages: set[asyncio.Queue[tuple[str, bytes] | None]] = set()
        self._static = {
            p.name: (p.read_bytes(), mimetypes.guess_type(p.name)[0] or "application/octet-stream")
            for p in STATIC.iterdir()
            if p.is_file()
        } | {vocabulary.NAME: (vocabulary.module(), "text/javascript")}
        # Packed once: whoever has no login may ask for them again and again.
        self._static_packed = {name: gzip.compress(body, mtime=0) for name, (body, _) in self._static.items()}
        self._etag = {name: f'"{hashlib.sha256(body).hexdigest()[:16]}"' for name, (body, _) in self._static.items()}

    def app(self) -> web.Application:
        app = web.Application(client_max_size=BODY_MAX, middlewares=[self._guard.middleware()])
        app.add_routes(
            [
                web.get("/", self._page("index.html")),
                web.get("/login", self._page("login.html")),
                web.post("/login", self._guard.login),
                web.get("/health", self._health),
                web.get("/static/{name}", self._file),
                web.get("/api/coast", self._coast),
                web.get("/api/state", self._state),
                web.get("/api/stream", self._stream),
                web.get("/api/replay", self._replay),
                web.get("/api/alert/{alert_id}", self._alert),
                web.get("/api/ship/{mmsi}", self._ship),
                web.post("/api/feedback", self._feedback),
            ]
        )
        app.cleanup_ctx.append(self._ticking)
        app.on_shutdown.append(self._let_go)
        return app

    # ---------------------------------------------------------------- the stream

    async def _ticking(self, _app: web.Application) -> AsyncIterator[None]:
        task = asyncio.create_task(self._tick())
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            event = await asyncio.to_thread(self._picture.tick)
            for page in list(self._pages):
                if page.qsize() >= QUEUE_MAX:
                    self._pages.discard(page)
                    page.put_nowait(None)
                else:
                    page.put_nowait(event)

    async def _let_go(self, _app: web.Application) -> None:
        for page in self._pages:
            page.put_nowait(None)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        if len(self._pages) >= PAGES_MAX:
            raise _too_many_pages()
        last = request.headers.get("Last-Event-ID") or request.query.get("since", "")
        response = web.StreamResponse(headers={**HEADERS, "Content-Type": "text/event-stream; charset=utf-8"})
        page: asyncio.Queue[tuple[str, bytes] | None] = asyncio.Queue()
        self._pages.add(page)
        try:
            await response.prepare(request)
            missed = self._picture.since(last)
            if missed is None:
                await response.write(b"event: reload\ndata: {}\n\n")
                return response
            done = {event_id for event_id, _ in missed}
            for event in missed:
                await response.write(_event(*event))
            while (event_ := await page.get()) is not None:
                if event_[0] not in done:
                    await response.write(_event(*event_))
        except ConnectionError:
            pass  # the page was closed
        finally:
            self._pages.discard(page)
        return response

    # ---------------------------------------------------------------- answers to questions

    async def _state(self, request: web.Request) -> web.StreamResponse:
        if len(self._pages) >= PAGES_MAX:  # it could not follow what it has loaded
            raise _too_many_pages()
        async with self._state_lock:  # one for all pages that load at once; what has changed since comes by the stream
            if time.monotonic() - self._state_at > TICK_S:
                self._state_body = await asyncio.to_thread(self._picture.state)
                self._state_at = time.monotonic()
        return _packed(request, web.Response(body=self._state_body, **_json))

    async def _coast(self, request: web.Request) -> web.StreamResponse:
        response = web.Response(body=await asyncio.to_thread(_coast_once), **_json)
        response.headers["Cache-Control"] = "private, max-age=86400"
        return _packed(request, response)

    async def _alert(self, request: web.Request) -> web.StreamResponse:
        return _found(
            await asyncio.to_thread(self._picture.story, request.match_info["alert_id"]), "no such alert is held here"
        )

    async def _ship(self, request: web.Request) -> web.StreamResponse:
        mmsi = request.match_info["mmsi"]
        if not (mmsi.isascii() and mmsi.isdigit() and len(mmsi) <= 9):
            raise web.HTTPBadRequest(text="an MMSI has up to nine digits")
        return _found(await asyncio.to_thread(self._picture.vessel, int(mmsi)), "no such ship in the last 24 hours")

    async def _replay(self, request: web.Request) -> web.StreamResponse:
        try:
            t0, t1 = float(request.query["from"]), float(request.query["to"])
        except (KeyError, ValueError):
            raise web.HTTPBadRequest(text="from and to must be Unix seconds") from None
        if not 0 < t1 - t0 <= REPLAY_MAX_S:  # also NaN
            raise web.HTTPBadRequest(text="to must lie after from, by 4 hours at most")
        body = await asyncio.to_thread(self._picture.replay, t0, t1)
        return _packed(request, web.Response(body=body, content_type="application/octet-stream"))

    async def _feedback(self, request: web.Request) -> web.StreamResponse:
        if request.content_type != "application/json":
            raise web.HTTPUnsupportedMediaType(text="send application/json")
        try:
            said = msgspec.json.decode(await request.read(), type=Said)
        except (msgspec.DecodeError, UnicodeDecodeError) as e:
            raise web.HTTPBadRequest(text=f"not an answer: {e}") from None
        known = self._picture.mmsi_and_revision(said.alert_id)
        if known is None:
            raise web.HTTPNotFound(text="no such alert is held here")
        mmsi, revision = known
        answer = Answer(
            alert_id=said.alert_id,
            answer=said.answer,
            time=round(self._clock(), 3),
            word=plain(said.word, WORD_CHARS),
            who=plain(said.who, NAME_CHARS),
            mmsi=mmsi,
            revision=revision,
        )
        if (wait_s := self._rate.wait_s((request.remote or "", answer.who))) > 0:
            raise web.HTTPTooManyRequests(
                text=f"more than {ANSWERS_PER_MINUTE} answers in a minute: come again in {wait_s:.0f} s",
                headers={"Retry-After": str(math.ceil(wait_s))},
            )
        if (why := await self._answers.keep(answer)) is not None:
            raise web.HTTPServiceUnavailable(text=f"the answer was not kept ({why}); please send it again")
        return web.Response(body=msgspec.json.encode(answer), **_json)

    async def _health(self, _request: web.Request) -> web.StreamResponse:
        """For probes: the process answers. Whether its data are fresh stands in the stream."""
        return web.json_response({"ok": True})

    # ---------------------------------------------------------------- files

    def _page(self, name: str) -> Handler:
        async def serve(request: web.Request) -> web.StreamResponse:
            return self._serve(request, name)

        return serve

    async def _file(self, request: web.Request) -> web.StreamResponse:
        return self._serve(request, request.match_info["name"])

    def _serve(self, request: web.Request, name: str) -> web.StreamResponse:
        if name not in self._static:
            raise web.HTTPNotFound(text="no such file")
        body, kind = self._static[name]
        headers = {"Cache-Control": "no-cache", "ETag": self._etag[name]}
        if request.headers.get("If-None-Match") == self._etag[name]:
            return web.Response(status=304, headers=headers)
        if _is_far(request) and "gzip" in request.headers.get("Accept-Encoding", ""):
            body, headers = (
                self._static_packed[name],
                {**headers, "Content-Encoding": "gzip", "Vary": "Accept-Encoding"},
            )
        return web.Response(body=body, content_type=kind, headers=headers)


def _too_many_pages() -> web.HTTPServiceUnavailable:
    return web.HTTPServiceUnavailable(
        text=f"too many pages are open ({PAGES_MAX}): close some, or come again in {RETRY_S} s",
        headers={"Retry-After": str(RETRY_S)},
    )


@functools.cache
def _coast_once() -> bytes:
    return coast()


def _event(event_id: str, data: bytes) -> bytes:
    return b"id: " + event_id.encode() + b"\ndata: " + data + b"\n\n"


def _found(body: bytes | None, otherwise: str) -> web.Response:
    if body is None:
        raise web.HTTPNotFound(text=otherwise)
    return web.Response(body=body, **_json)


def _packed(request: web.Request, response: web.Response) -> web.Response:
    if _is_far(request):
        response.enable_compression()
    return response


def _is_far(request: web.Request) -> bool:
    """From another machine: answers are compressed; on this one that would only cost time."""
    return not is_loopback(request.remote or "")
