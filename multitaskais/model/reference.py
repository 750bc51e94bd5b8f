"""How a model of a store is named: ``NAME`` or ``NAME@VERSION``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from ..errors import ConfigError

SCHEME = "store:"
NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
VERSION = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Reference:
    """``NAME`` or ``NAME@VERSION``, with or without ``store:`` before it."""

    name: str
    version: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        name, at, version = text.removeprefix(SCHEME).partition("@")
        if not NAME.fullmatch(name) or (at and not VERSION.fullmatch(version)):
            raise ConfigError(
                f"{text!r} names no model of a store: give NAME or NAME@VERSION, for instance gulf@gulf-f8f5badedaed"
            )
        return cls(name, version or None)

    def __str__(self) -> str:
        return f"{SCHEME}{self.name}@{self.version}" if self.version else f"{SCHEME}{self.name}"


def is_reference(text: str) -> bool:
    """Whether ``text`` names a model of a store and not a shipped model or a folder."""
    return text.startswith(SCHEME)
