"""Settings in the environment: ``MULTITASKAIS_NAME``, which goes first, or ``NAME`` alone."""

from __future__ import annotations

from collections.abc import Mapping

PREFIX = "MULTITASKAIS_"


def variable_of(environ: Mapping[str, str], name: str) -> str | None:
    """The variable that gives the setting ``name``; None where neither is there."""
    bare = name.upper()
    return next((v for v in (PREFIX + bare, bare) if v in environ), None)


def value_of(environ: Mapping[str, str], name: str) -> str | None:
    variable = variable_of(environ, name)
    return None if variable is None else environ[variable]
