"""One shape of errors: ``{"status": "error", "msg": ...}``, with the path of the field that is wrong."""

from __future__ import annotations

import logging
import uuid
from typing import Any, Literal

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.openapi.datastructures import ResponseSpec

from multitaskais.errors import ConfigError, InputError, ModelNotFound, MultitaskAISError, StoreUnavailable

log = logging.getLogger("multitaskais.web")


class Failure(msgspec.Struct, frozen=True):
    """What every answer that is no success has."""

    status: Literal["error"]
    msg: str


class Refused(Exception):
    """An answer other than 200 that is meant: ``status`` and what to do."""

    def __init__(self, status: int, msg: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(msg)
        self.status, self.msg, self.headers = status, msg, headers or {}


_MEANINGS = {
    400: "the request is not as asked; msg names the field",
    401: "no token, or a wrong one",
    403: "asked by a name that is not this machine's",
    404: "there is no such thing",
    408: "the body came too slowly",
    409: "it is in another state",
    413: "too large",
    500: "an error of ours; the log has its id",
    503: "busy, or not ready; Retry-After says when to try again",
    504: "it took too long",
}


def responses(*statuses: int) -> dict[int, ResponseSpec]:
    """For OpenAPI: what a route answers besides success."""
    return {s: ResponseSpec(Failure, description=_MEANINGS[s], generate_examples=False) for s in statuses}


def failure(status: int, msg: str, headers: dict[str, str] | None = None) -> Response[Failure]:
    return Response(Failure("error", msg), status_code=status, media_type="application/json", headers=headers)


def on_refused(_: Request[Any, Any, Any], e: Refused) -> Response[Failure]:
    return failure(e.status, e.msg, e.headers)


def on_http(_: Request[Any, Any, Any], e: HTTPException) -> Response[Failure]:
    if e.status_code >= 500:
        return on_any(_, e)
    return failure(e.status_code, _with_fields(e), dict(e.headers or {}))


def on_ours(request: Request[Any, Any, Any], e: MultitaskAISError) -> Response[Failure]:
    if isinstance(e, ModelNotFound):
        return failure(404, str(e))
    if isinstance(e, StoreUnavailable):
        return failure(503, str(e), {"Retry-After": "10"})
    if isinstance(e, ConfigError | InputError):
        return failure(400, str(e))
    return on_any(request, e)


def on_any(_: Request[Any, Any, Any], e: Exception) -> Response[Failure]:
    number = uuid.uuid4().hex[:12]
    log.error("error %s", number, exc_info=e)
    return failure(500, f"an error of ours, {number} in the log")


HANDLERS: dict[Any, Any] = {
    Refused: on_refused,
    HTTPException: on_http,
    MultitaskAISError: on_ours,
    Exception: on_any,
}


def _with_fields(e: HTTPException) -> str:
    """``reports[0].lat: Expected `float` <= 91.0``."""
    extra = e.extra if isinstance(e.extra, list) else []
    parts = [": ".join(filter(None, (str(x.get("key") or ""), str(x.get("message") or "")))) for x in extra if isinstance(x, dict)]  # fmt: skip
    if parts:
        return "; ".join(parts)
    return str(e.detail or e.__class__.__name__)
