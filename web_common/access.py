"""Who may ask: this machine alone, or whoever has the token."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from litestar.connection import ASGIConnection
from litestar.exceptions import NotAuthorizedException, PermissionDeniedException

from multitaskais.errors import ConfigError
from multitaskais.settings import is_loopback, is_own_name

TOKEN_CHARS_MIN = 16


@dataclass(frozen=True, slots=True)
class Access:
    """``bind`` is the address that is listened on; ``token`` is empty when none is asked for. ``names`` are the two settings' names."""

    bind: str
    token: str
    names: tuple[str, str] = ("SERVE_BIND", "SERVE_TOKEN")

    def __post_init__(self) -> None:
        bind, token = self.names
        if self.token and (len(self.token) < TOKEN_CHARS_MIN or not self.token.isascii()):
            raise ConfigError(
                f"{token} must have {TOKEN_CHARS_MIN} ASCII characters or more (try: openssl rand -hex 16)"
            )
        if not self.token and not is_loopback(self.bind):
            raise ConfigError(
                f"{bind}={self.bind} lets other machines ask: set {token} as well (try: openssl rand -hex 16)"
            )

    def guard(self) -> Callable[[ASGIConnection[Any, Any, Any, Any], Any], Awaitable[None]]:
        """For Litestar: raises unless the request may be answered."""

        # One that is not async would be run in a thread, at each request.
        async def check(connection: ASGIConnection[Any, Any, Any, Any], _: Any) -> None:
            if not self.token:
                # Without a token a foreign site could reach us through a name that it lets point to this machine.
                if not is_own_name(connection.headers.get("host", "")):
                    raise PermissionDeniedException(
                        f"ask by a name of this machine (127.0.0.1, localhost), or set {self.names[1]}"
                    )
                # Nor may a page of such a site send us something from a browser of this machine, which says where the page is from.
                origin = connection.headers.get("origin")
                if origin is not None and not is_own_name(origin.partition("://")[2]):
                    raise PermissionDeniedException(f"a page of another site may not ask; set {self.names[1]}")
                return
            scheme, _, given = connection.headers.get("authorization", "").partition(" ")
            if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), self.token.encode()):
                raise NotAuthorizedException("give the token: Authorization: Bearer ...", headers={"WWW-Authenticate": "Bearer"})  # fmt: skip

        return check
