"""Jobs over HTTP: submit, look, cancel."""

from __future__ import annotations

from typing import Any

from litestar import Response, delete, get, post
from msgspec import Struct

from web_common.body import decode
from web_common.errors import Refused, failure, responses
from web_common.limits import SlowBody
from web_common.run import document, make_app

from .conf import Conf, checked
from .database import DatabaseAway, DatabaseRefused
from .jobs import Jobs
from .settings import Settings

BODY_MAX_BYTES = 1 << 20
BODY_S = 10.0
LOCKED: list[dict[str, list[str]]] = [{"token": []}]


class Submitted(Struct, frozen=True):
    status: str
    job: str
    new: bool


class Health(Struct, frozen=True):
    alive: bool


@post("/v1/jobs", security=LOCKED, status_code=202, operation_id="submit", summary="Submit a training", responses=responses(400, 401, 403, 408, 413, 500, 503))  # fmt: skip
async def _submit_documented(data: Conf) -> Submitted:
    """The same conf while it is queued or running is the same job."""
    raise NotImplementedError


def make(settings: Settings, jobs: Jobs) -> tuple[Any, dict[str, Any]]:
    """The ASGI application and its OpenAPI document."""
    guard = settings.access.guard()

    @post("/v1/jobs", guards=[guard], status_code=202, sync_to_thread=True)
    def submit(body: bytes) -> Submitted:
        conf = checked(decode(body, Conf), settings.roots)
        job, new = jobs.submit(conf["publish"]["name"], conf)
        return Submitted("success", job, new)

    @get("/v1/jobs", guards=[guard], security=LOCKED, operation_id="jobs", summary="The newest hundred jobs", sync_to_thread=True, responses=responses(401, 403, 500, 503))  # fmt: skip
    def listed() -> list[dict[str, Any]]:
        return jobs.newest()

    @get("/v1/jobs/{id:str}", guards=[guard], security=LOCKED, operation_id="job", summary="State, progress and result of a job", sync_to_thread=True, responses=responses(401, 403, 404, 500, 503))  # fmt: skip
    def one(id: str) -> dict[str, Any]:
        found = jobs.get(id)
        if found is None:
            raise Refused(404, f"no job {id!r}")
        return found

    @delete("/v1/jobs/{id:str}", guards=[guard], security=LOCKED, status_code=200, operation_id="cancel", summary="Cancel a job", sync_to_thread=True, responses=responses(401, 403, 404, 409, 500, 503))  # fmt: skip
    def cancel(id: str) -> dict[str, Any]:
        if jobs.get(id) is None:
            raise Refused(404, f"no job {id!r}")
        if not jobs.cancel(id):
            raise Refused(409, f"job {id} has ended already")
        return {"status": "success", "job": id}

    @get("/health", operation_id="health", summary="The server answers", security=[{}])
    async def health() -> Health:
        return Health(True)

    @get("/ready", operation_id="ready", summary="The database answers", security=[{}], sync_to_thread=True, responses={503: responses(503)[503]})  # fmt: skip
    def ready() -> Health:
        jobs.newest(1)
        return Health(True)

    others = [listed, one, cancel, health, ready]
    openapi = document("MultitaskAIS trainer", "Training jobs", [_submit_documented, *others])
    app = make_app(
        [submit, *others], openapi, BODY_MAX_BYTES, more_handlers={DatabaseAway: _away, DatabaseRefused: _away}
    )
    return SlowBody(app, BODY_S, 4 * BODY_MAX_BYTES), openapi


def _away(_: Any, e: DatabaseAway | DatabaseRefused) -> Response[Any]:
    return failure(503, str(e), {"Retry-After": "5"})
