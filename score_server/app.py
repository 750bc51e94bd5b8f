"""The HTTP face: routes, their limits and their errors. Judging happens in ``judging``, in other processes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from litestar import Litestar, Request, Response, get, post
from litestar.params import Parameter
from msgspec import UnsetType

from multitaskais.model.store import ModelStore
from web_common.body import decode
from web_common.errors import Refused, on_any, responses
from web_common.limits import SlowBody
from web_common.run import document, make_app

from .judging import BadInput, Busy, JudgeFailed, Judges, Late
from .metrics import Metrics
from .models import Offered, Served, region_of
from .settings import Settings
from .wire import FORMS, MODEL_NAME, Health, ModelInfo, ModelList, Ready, ScoreAnswer, ScoreRequest

log = logging.getLogger("multitaskais.web")

LOCKED: list[dict[str, list[str]]] = [{"token": []}]
STORE_SEEN_WITHIN = 3  # times SYNC_S
DESCRIPTION = (
    "Are these reports abnormal, and what would have been expected? Judged as one archive: the answer is what "
    "`multitaskais detect` says of the same reports."
)


class Server:
    """State of one server: judges, models on offer, figures."""

    def __init__(self, settings: Settings, store: ModelStore | None) -> None:
        self.settings = settings
        self.openapi: dict[str, Any] = {}
        self.metrics = Metrics()
        names = tuple(n.strip() for n in settings.models.split(",") if n.strip())
        self.judges = Judges(
            settings.judge_processes,
            settings.waiting_max,
            settings.deadline_s,
            settings.judge_memory_mb << 20,
            self.metrics.deaths.inc,
        )
        self.offered = Offered(store, names, self.judges.warm, self.metrics.refused.inc)

    @asynccontextmanager
    async def lifespan(self, _: Litestar) -> AsyncIterator[None]:
        await self.judges.start()
        await self.offered.start()
        following = asyncio.create_task(self.offered.follow(self.settings.sync_s))
        log.info("models on offer: %s", ", ".join(s.version for s in self.offered.current.values()) or "none yet")
        try:
            yield
        finally:
            following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await following
            await self.judges.stop()

    def why_not_ready(self) -> list[str]:
        why = []
        if not self.offered.current:
            why.append(f"no model is on offer{f': {self.offered.not_seen}' if self.offered.not_seen else ''}")
        if not self.judges.alive:
            why.append("no judge lives")
        age = self.offered.store_age_s
        if age is not None and age > STORE_SEEN_WITHIN * self.settings.sync_s:
            seen = f"for {age:.0f} s" if age != float("inf") else "yet"
            why.append(f"the store was not seen {seen}: {self.offered.not_seen}")
        return why

    async def score(self, data: ScoreRequest, body: bytes) -> bytes:
        if data.given() != 1:
            raise Refused(400, "give exactly one of reports, tracks and sentences")
        size = data.size()
        if size > self.settings.reports_max:
            raise Refused(413, f"{size:,} reports or sentences; at most {self.settings.reports_max:,} in one request")
        served = await self.offered.find(data.model)
        try:
            answer = await self.judges.score(served.place, body, _vessels(data), size)
        except Busy:
            raise Refused(503, f"{self.settings.waiting_max} requests wait already: try again", {"Retry-After": "1"}) from None  # fmt: skip
        except Late:
            raise Refused(504, f"not answered within {self.settings.deadline_s:g} s: send fewer reports, or try again") from None  # fmt: skip
        except BadInput as e:
            raise Refused(400, str(e)) from None
        self.metrics.reports.inc(size)
        return answer


def _vessels(data: ScoreRequest) -> frozenset[int]:
    rows: Any = () if isinstance(data.reports, UnsetType) else data.reports
    rows = rows or (() if isinstance(data.tracks, UnsetType) else data.tracks)
    return frozenset(int(r.mmsi) for r in rows)


def _info(served: Served) -> ModelInfo:
    m = served.manifest
    return ModelInfo(
        served.name,
        served.version,
        region_of(served),
        list(m["detectors"]),
        dict(m["budget"]),
        dict(m["made_from"]),
        list(m["credits"]),
    )


@post(
    "/v1/score",
    security=LOCKED,
    status_code=200,
    operation_id="score",
    summary="Judge reports",
    responses=responses(400, 401, 403, 404, 408, 413, 500, 503, 504),
)
async def _score_documented(data: ScoreRequest) -> ScoreAnswer:
    """Are these reports abnormal, and what would have been expected?"""
    raise NotImplementedError


def openapi() -> dict[str, Any]:
    """The OpenAPI document."""
    return make(Settings(), None)[1].openapi


def make(settings: Settings, store: ModelStore | None) -> tuple[Any, Server]:
    """The ASGI application and its state."""
    server = Server(settings, store)
    guard = settings.access.guard()

    @post("/v1/score", guards=[guard], status_code=200)
    async def score(body: bytes, request: Request[Any, Any, Any]) -> ScoreAnswer:
        start, status = time.perf_counter(), 500
        try:
            answer = await server.score(decode(body, ScoreRequest), body)
            status = 200
            return Response(answer, media_type="application/json")  # type: ignore[return-value]
        except Refused as e:
            status = e.status
            raise
        except JudgeFailed as e:
            return on_any(request, e)  # type: ignore[return-value]
        finally:
            server.metrics.requests.labels(str(status)).inc()
            server.metrics.seconds.observe(time.perf_counter() - start)

    @get(
        "/v1/models",
        guards=[guard],
        security=LOCKED,
        operation_id="models",
        summary="The models on offer",
        responses=responses(401, 403, 500),
    )
    async def models() -> ModelList:
        return ModelList("success", [_info(s) for _, s in sorted(server.offered.current.items())])

    @get(
        "/v1/models/{name:str}",
        guards=[guard],
        security=LOCKED,
        operation_id="model",
        summary="One model",
        responses=responses(400, 401, 403, 404, 500, 503),
    )
    async def model(name: Annotated[str, Parameter(description="NAME or NAME@VERSION", pattern=f"^{MODEL_NAME}$")]) -> ModelInfo:  # fmt: skip
        return _info(await server.offered.find(name))

    @get("/health", operation_id="health", summary="The server answers", security=[{}])
    async def health() -> Health:
        return Health(True)

    @get(
        "/ready",
        operation_id="ready",
        summary="It is of use: a model is on offer, judges live, the store is seen",
        security=[{}],
        responses={503: responses(503)[503]},
    )
    async def ready() -> Ready:
        why = server.why_not_ready()
        age = server.offered.store_age_s
        body = Ready(not why, why, {n: s.version for n, s in server.offered.current.items()}, server.judges.alive, None if age in (None, float("inf")) else round(age, 1))  # fmt: skip
        return Response(body, status_code=503 if why else 200, media_type="application/json")  # type: ignore[return-value]

    @get("/metrics", operation_id="metrics", summary="For Prometheus", guards=[guard], security=LOCKED, media_type="text/plain", responses=responses(401, 403))  # fmt: skip
    async def metrics() -> str:
        o = server.offered
        return server.metrics.text(server.judges.waiting, server.judges.alive, o.store_age_s, {n: s.version for n, s in o.current.items()}).decode()  # fmt: skip

    others = [models, model, health, ready, metrics]
    server.openapi = document("MultitaskAIS score", DESCRIPTION, [_score_documented, *others])
    server.openapi["components"]["schemas"]["ScoreRequest"]["oneOf"] = [{"required": [form]} for form in FORMS]
    app = make_app(
        [score, *others],
        server.openapi,
        settings.body_max_mb << 20,
        lifespan=[server.lifespan],
    )
    return SlowBody(app, settings.body_s, 4 * settings.body_max_mb << 20), server
