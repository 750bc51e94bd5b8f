"""How a server of ours is made and run."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import logging
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, get_args, get_type_hints

import msgspec
import uvicorn
from litestar import Litestar, Response, get, route
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from multitaskais import __version__
from multitaskais.errors import OperatorError

from .connections import REQUEST_S, BoundedConnections, Connection, OnceAMinute
from .errors import HANDLERS, Failure


def document(title: str, description: str, routes: Sequence[Any]) -> dict[str, Any]:
    """The OpenAPI document of routes; those with a body stand here with ``data: Struct`` and are never called."""
    config = OpenAPIConfig(
        title=title,
        description=description,
        version=__version__,
        render_plugins=[],
        components=Components(security_schemes={"token": SecurityScheme(type="http", scheme="bearer")}),
        create_examples=False,
    )
    made = Litestar(list(routes), openapi_config=config, logging_config=None)
    builtins: dict[str, Any] = msgspec.to_builtins(made.openapi_schema.to_schema())  # defaults may be Structs
    # Litestar leaves out limits within unions, limits of 0 and what forbids unknown fields: the decoder's own schemas say all that it asks.
    structs = {s for route in routes for hint in get_type_hints(route.fn).values() for s in _structs_of(hint)}
    _, exact = msgspec.json.schema_components(structs | {Failure}, ref_template="#/components/schemas/{name}")
    builtins["components"]["schemas"] |= exact
    return builtins


def _structs_of(hint: Any) -> Iterator[type[msgspec.Struct]]:
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        yield hint
    for argument in get_args(hint):
        yield from _structs_of(argument)


def make_app(
    routes: Sequence[Any],
    openapi: dict[str, Any],
    max_body_bytes: int,
    more_handlers: Mapping[Any, Any] | None = None,
    **more: Any,
) -> Litestar:
    """A Litestar application with our errors, and ``openapi`` at /schema/openapi.json; no page that loads scripts from elsewhere.

    Routes with a body take it as ``body: bytes``: Litestar's own way reads JSON twice and takes text for numbers.
    """
    content = json.dumps(openapi).encode()

    @get("/schema/openapi.json", media_type="application/json")
    async def schema() -> bytes:
        return content

    methods: dict[str, set[str]] = {}
    for handler in (*routes, schema):
        for path in handler.paths:
            methods.setdefault(path, set()).update(str(getattr(m, "value", m)) for m in handler.http_methods)
    return Litestar(
        # Those of OPTIONS first: at the first other handler of a path Litestar would add one of its own.
        [*(_options(path, allowed) for path, allowed in methods.items()), *routes, schema],
        exception_handlers=HANDLERS | dict(more_handlers or {}),
        openapi_config=None,
        request_max_body_size=max_body_bytes,
        logging_config=None,
        **more,
    )


def _options(path: str, methods: set[str]) -> Any:
    """What may be asked of a path, of all its handlers: Litestar's own answer names the methods of one of them."""
    allowed = ", ".join(sorted({*methods, "OPTIONS"}))

    @route(path, http_method=["OPTIONS"], status_code=204)
    async def options() -> Response[None]:
        return Response(None, status_code=204, headers={"Allow": allowed})

    return options


def require_port(bind: str, port: int, name: str) -> None:
    """Raise unless the address can be listened on."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(bind, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]  # fmt: skip
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except OSError as e:
        if e.errno == errno.EADDRINUSE:
            raise OperatorError(
                f"{bind}:{port} is taken by another program: give this one another {name} or --port"
            ) from None
        raise OperatorError(f"{bind}:{port} cannot be listened on ({e.strerror})") from None


class _Served(Connection):
    """A connection that uvicorn answers. It closes kept ones that ask no more, and does not report when a request begins and ends."""

    @property
    def at_work(self) -> bool:
        cycle = getattr(self._inner, "cycle", None)
        return cycle is not None and not cycle.response_complete

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.at_work:
            self._stop_waiting()
        elif self._timer is None:  # the beginning of a next head
            self._wait()


def bounded(log: logging.Logger, request_s: float) -> Callable[..., asyncio.Protocol]:
    """What uvicorn makes a protocol of for each connection (``http`` of its ``Config``): its own, with bounds before any login."""
    bounds = BoundedConnections(lambda: None, log=log, request_s=request_s)

    def make(**arguments: Any) -> asyncio.Protocol:
        return _Served(bounds, lambda: AutoHTTPProtocol(**arguments))

    return make


def run(app: Any, bind: str, port: int, request_s: float = REQUEST_S) -> int:
    """Serve until SIGTERM or SIGINT; requests that are under way are answered.

    Args:
        request_s: the head of a request must have come after so long; else its connection is closed.
    """
    log = logging.getLogger("uvicorn.error")
    log.addFilter(OnceAMinute())
    config = uvicorn.Config(app, host=bind, port=port, http=bounded(log, request_s), ws="none", log_config=None, access_log=False, server_header=False, timeout_keep_alive=30, timeout_graceful_shutdown=30, lifespan="on")  # fmt: skip
    server = uvicorn.Server(config)
    # uvicorn stops in order upon SIGTERM, and then sends it again to whom it found there.
    signal.signal(signal.SIGTERM, lambda *_: None)
    with contextlib.suppress(KeyboardInterrupt):
        server.run()
    return 0 if server.started else 2


class JsonForm(logging.Formatter):
    """One JSON object a line: t, level, message, and the error's trace where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "t": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
            "level": record.levelname,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line)


def log_to_stderr(form: str, level: str) -> None:
    """One line an event, ``console`` or ``json``."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonForm() if form == "json" else logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for noisy in ("httpx", "litestar"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
