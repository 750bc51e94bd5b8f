"""Judges: processes that score, and the queue before them.

Threads would share one interpreter and be slower than one; processes scale with the cores. Each is made by *spawn*, holds the models it was
asked for last, and ends with its parent. A judge that dies is made again: the request that it had alone gets an error, requests that shared
its run are judged again each alone, and no other is touched. A judge that is at one run for longer than the deadline works for nobody any
more: it is ended and made again.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import multiprocessing
import resource
import signal
import uuid
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

import msgspec

from multitaskais.errors import MultitaskAISError
from multitaskais.exact.tables import expect_much
from multitaskais.model import folder
from multitaskais.model.folder import Model

from .scoring import score
from .wire import ScoreRequest

log = logging.getLogger("multitaskais.web")

# a judge keeps the models that it was asked for last: the latest of one or two names, and the one before
MODELS_KEPT = 3
SHARED_REPORTS_MAX = 100_000
SHARED_REQUESTS_MAX = 64
RETURNS_MAX = 3  # then judges cannot be started, and no request of theirs is at fault
PR_SET_PDEATHSIG = 1


class Busy(Exception):
    """Too many wait."""


class Late(Exception):
    """The deadline passed."""


class _NotSent(Exception):
    """The judge died before it had all of the request."""


class JudgeFailed(Exception):
    """The judge died, or met an error of ours; the message is for the log."""


class BadInput(Exception):
    """What the judge refuses of the request."""


# ---------------------------------------------------------------- in the judge's process


def judge_main(connection: Connection, memory_bytes: int) -> None:
    """Answer until the other end is closed; a run that needs more than ``memory_bytes`` is refused."""
    resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends us in order
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    models: OrderedDict[str, Model] = OrderedDict()
    decoder = msgspec.json.Decoder(ScoreRequest)
    while True:
        try:
            place, bodies = connection.recv()
        except (EOFError, OSError):
            return
        try:
            model = _model(models, place)
            answers = _score(model, [decoder.decode(b) for b in bodies])
        except Exception as e:
            answers = [_failed(e)] * len(bodies)
        connection.send(answers)


def _model(models: OrderedDict[str, Model], place: str) -> Model:
    if place not in models:
        try:
            models[place] = folder.load(place)
        except MemoryError:  # make room by what was asked for before
            models.clear()
            models[place] = folder.load(place)
        expect_much()  # no answer waits for it later
        while len(models) > MODELS_KEPT:
            models.popitem(last=False)
    models.move_to_end(place)
    return models[place]


def _score(model: Model, requests: list[ScoreRequest]) -> list[tuple[str, bytes]]:
    if not requests:
        return []
    try:
        return [("success", msgspec.json.encode(a)) for a in score(model, requests)]
    except Exception as e:
        if len(requests) == 1:
            return [_failed(e)]
        return [answer for r in requests for answer in _score(model, [r])]


def _failed(e: Exception) -> tuple[str, bytes]:
    if isinstance(e, MultitaskAISError):
        return "input", str(e).encode()
    if isinstance(e, MemoryError):
        limit = resource.getrlimit(resource.RLIMIT_DATA)[0] >> 20
        return "input", f"judging this takes more than the {limit:,} MB that a judge may have: send fewer ships in one request".encode()  # fmt: skip
    import traceback

    return "error", "".join(traceback.format_exception(e)).encode()


# ---------------------------------------------------------------- in the server's process


@dataclass(eq=False)
class _Waiting:
    place: str
    body: bytes
    vessels: frozenset[int]  # empty: not known (sentences), so it shares no run
    reports: int
    answer: asyncio.Future[bytes]
    alone: bool = False
    returned: int = 0  # how often a judge died before it had it


@dataclass(eq=False)
class _Judge:
    process: Any
    connection: Connection
    thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))

    def call(self, place: str, bodies: list[bytes]) -> list[tuple[str, bytes]]:
        try:
            self.connection.send((place, bodies))
        except OSError as e:
            raise _NotSent(str(e)) from None
        try:
            answers: list[tuple[str, bytes]] = self.connection.recv()
        except (
            ConnectionResetError
        ) as e:  # what was sent lay there unread; of a judge that had it the end is an EOFError
            raise _NotSent(str(e)) from None
        return answers

    def end(self) -> None:
        self.process.kill()
        self.connection.close()
        self.thread.shutdown(wait=False)


class Judges:
    """``n`` judges and who waits for them.

    Args:
        memory_bytes: that each may have.
        on_death: called for each judge that died.
    """

    def __init__(
        self,
        n: int,
        waiting_max: int,
        deadline_s: float,
        memory_bytes: int,
        on_death: Callable[[], None] = lambda: None,
    ) -> None:
        self._n, self._waiting_max, self._deadline_s, self._on_death = n, waiting_max, deadline_s, on_death
        self._memory_bytes = memory_bytes
        self._waiting: deque[_Waiting] = deque()
        self._work = asyncio.Condition()
        self._live: dict[int, _Judge] = {}
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def alive(self) -> int:
        return sum(j.process.is_alive() for j in self._live.values())

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def pids(self) -> list[int]:
        return [j.process.pid for j in self._live.values()]

    async def start(self) -> None:
        judges = await asyncio.gather(*(asyncio.to_thread(_spawn, self._memory_bytes) for _ in range(self._n)))
        self._live = dict(enumerate(judges))
        self._tasks = [asyncio.create_task(self._serve(number)) for number in self._live]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for judge in self._live.values():
            judge.end()

    async def warm(self, place: str) -> None:
        """Have every judge load the model at ``place``, so that no request waits for that; between two requests of each."""
        judges = list(self._live.values())
        loop = asyncio.get_running_loop()
        # Each judge's own thread takes one call after another, so this comes between two requests.
        await asyncio.gather(*(loop.run_in_executor(j.thread, j.call, place, []) for j in judges), return_exceptions=True)  # fmt: skip

    async def score(self, place: str, body: bytes, vessels: frozenset[int], reports: int) -> bytes:
        """The answer as JSON.

        Raises:
            Busy, Late, BadInput, JudgeFailed
        """
        if len(self._waiting) >= self._waiting_max:
            raise Busy
        request = _Waiting(place, body, vessels, reports, asyncio.get_running_loop().create_future())
        async with self._work:
            self._waiting.append(request)
            self._work.notify()
        try:
            return await asyncio.wait_for(request.answer, self._deadline_s)
        except TimeoutError:
            raise Late from None
        finally:
            with contextlib.suppress(ValueError):
                self._waiting.remove(request)

    async def _serve(self, number: int) -> None:
        loop = asyncio.get_running_loop()
        judge = self._live[number]
        while True:
            async with self._work:
                while not self._waiting:
                    await self._work.wait()
                together = _take(self._waiting)
            bodies = [r.body for r in together]
            work = loop.run_in_executor(judge.thread, judge.call, together[0].place, bodies)
            await asyncio.wait([work], timeout=self._deadline_s)
            if overdue := not work.done():
                judge.process.kill()  # its thread sees the connection end
            try:
                answers = await work
            except (EOFError, OSError, _NotSent) as e:
                why = f"{self._deadline_s:g} s at one run" if overdue else type(e).__name__
                log.error("judge %s ended (%s); another takes its place", judge.process.pid, why)
                self._on_death()
                judge.end()
                await self._after_death(together, sent=not isinstance(e, _NotSent))
                judge = await asyncio.to_thread(_spawn, self._memory_bytes)
                self._live[number] = judge
                # To load a model is no request's time.
                with contextlib.suppress(EOFError, OSError, _NotSent):
                    await loop.run_in_executor(judge.thread, judge.call, together[0].place, [])
                continue
            for request, (kind, content) in zip(together, answers, strict=True):
                if request.answer.done():
                    continue  # its client has gone, or its deadline passed
                if kind == "success":
                    request.answer.set_result(content)
                elif kind == "input":
                    request.answer.set_exception(BadInput(content.decode()))
                else:
                    request.answer.set_exception(JudgeFailed(content.decode()))

    async def _after_death(self, together: Sequence[_Waiting], sent: bool) -> None:
        """Who shared the run is judged again alone; who was alone has its error, unless the judge had died before."""
        async with self._work:
            for request in reversed(together):
                if request.answer.done():
                    continue
                request.returned += not sent
                if not sent and request.returned <= RETURNS_MAX:
                    self._waiting.appendleft(request)
                elif len(together) == 1 or not sent:
                    request.answer.set_exception(JudgeFailed("the judge died while it had this request"))
                else:
                    request.alone = True
                    self._waiting.appendleft(request)
            self._work.notify_all()


def _take(waiting: deque[_Waiting]) -> list[_Waiting]:
    """The first that waits, and those after it that may share its run: the same model, no vessel in common."""
    first = waiting.popleft()
    together = [first]
    if first.alone or not first.vessels:
        return together
    vessels, reports = set(first.vessels), first.reports
    for request in list(waiting):
        if len(together) == SHARED_REQUESTS_MAX:
            break
        if (
            request.place == first.place
            and not request.alone
            and request.vessels
            and reports + request.reports <= SHARED_REPORTS_MAX
            and vessels.isdisjoint(request.vessels)
        ):
            waiting.remove(request)
            together.append(request)
            vessels |= request.vessels
            reports += request.reports
    return together


def _spawn(memory_bytes: int) -> _Judge:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(
        target=judge_main, args=(theirs, memory_bytes), name=f"judge-{uuid.uuid4().hex[:6]}", daemon=True
    )
    process.start()
    theirs.close()
    return _Judge(process, ours)
