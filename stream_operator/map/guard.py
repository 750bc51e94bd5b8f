"""Who may see the map, and what browsers may do with its answers."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from aiohttp import web

from multitaskais.errors import ConfigError
from multitaskais.settings import is_loopback, is_own_name

TOKEN_CHARS_MIN = 16
COOKIE = "map_session"
SESSION_S = 30 * 86400
WRONG_TOKEN_DELAY_S = 0.5  # a guess costs this

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

HEADERS = {
    # Nothing but our own files: no inline script or style, no other host, no frame. Names of ships can then do no harm
    # even if one were ever taken for markup.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
_OPEN_PATHS = ("/login", "/health", "/static/")  # static files hold no data


@dataclass(frozen=True, slots=True)
class Guard:
    """``bind`` is the address that is listened on; ``token`` is empty when none is asked for."""

    bind: str
    token: str

    def __post_init__(self) -> None:
        if self.token and len(self.token) < TOKEN_CHARS_MIN:
            raise ConfigError(
                f"MAP_TOKEN is too short: {TOKEN_CHARS_MIN} characters or more (try: openssl rand -hex 16)"
            )
        if not self.token and not is_loopback(self.bind):
            raise ConfigError(
                f"MAP_BIND={self.bind} shows the map to other machines: set MAP_TOKEN as well (try: openssl rand -hex 16)"
            )

    @property
    def session(self) -> str:
        """What the cookie holds: made from the token, which itself is not kept in the browser."""
        return hmac.new(self.token.encode(), b"multitaskais map session", hashlib.sha256).hexdigest()

    def knows(self, request: web.Request) -> bool:
        if not self.token:
            return True
        scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return _same(bearer.strip(), self.token)
        return _same(request.cookies.get(COOKIE, ""), self.session)

    def is_our_name(self, request: web.Request) -> bool:
        """Without a token only requests to this machine's own names: a foreign site cannot reach us by a name that it lets point here."""
        return bool(self.token) or is_own_name(request.headers.get("Host", ""))

    async def login(self, request: web.Request) -> web.StreamResponse:
        # Not ``request.post``: with a boundary or a character set that is none it ends in an error of ours.
        form = parse_qs((await request.read()).decode("utf-8", "replace"))
        given = form.get("token", [""])[0]
        if not self.token or not _same(given, self.token):
            await asyncio.sleep(WRONG_TOKEN_DELAY_S)
            raise web.HTTPSeeOther("/login?wrong")
        response = web.HTTPSeeOther("/")
        response.set_cookie(
            COOKIE, self.session, max_age=SESSION_S, httponly=True, samesite="Strict", secure=request.secure
        )
        raise response

    def middleware(self) -> Callable[[web.Request, Handler], Awaitable[web.StreamResponse]]:
        @web.middleware
        async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
            try:
                response = await self._answer(request, handler)
            except web.HTTPException as e:
                e.headers.update(HEADERS)
                raise
            if not response.prepared:
                for name, value in HEADERS.items():
                    response.headers.setdefault(name, value)
            return response

        made: Callable[[web.Request, Handler], Awaitable[web.StreamResponse]] = guarded
        return made

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if not self.is_our_name(request):
            raise web.HTTPMisdirectedRequest(text="this map answers to 127.0.0.1 and localhost only")
        if not self.knows(request) and not request.path.startswith(_OPEN_PATHS):
            if request.path == "/":
                raise web.HTTPSeeOther("/login")
            raise web.HTTPUnauthorized(text="log in at /login, or send Authorization: Bearer TOKEN")
        if request.method == "POST":
            origin = request.headers.get("Origin")
            if origin is not None and _site(origin) != request.headers.get("Host"):
                raise web.HTTPForbidden(text="this comes from another site")
        return await handler(request)


def _site(origin: str) -> str | None:
    """``HOST:PORT`` of an ``Origin``; None for what is none."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


def _same(a: str, b: str) -> bool:
    # Bytes of a header that are no UTF-8 come as surrogates.
    return hmac.compare_digest(a.encode("utf-8", "surrogatepass"), b.encode("utf-8", "surrogatepass"))
