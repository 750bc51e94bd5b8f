"""Settings of a process: a frozen dataclass of ``setting`` fields, read from a TOML file and the environment, checked, and shown as a table.

Each field's variable is its name in capitals after ``MULTITASKAIS_`` (``app_id`` -> ``MULTITASKAIS_APP_ID``), or the name in
capitals alone; the one with the prefix goes first. To make one reads nothing but its arguments; only ``load`` looks around.
"""

from __future__ import annotations

import dataclasses
import difflib
import ipaddress
import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, cast, get_type_hints
from urllib.parse import urlsplit

from .environment import PREFIX, variable_of
from .errors import ConfigError

PORT_MAX = 65535
_MEANT = {int: "a whole number", float: "a number", str: "text"}


def setting(
    default: Any, doc: str, *, least: float | None = None, choices: tuple[str, ...] = (), secret: bool = False
) -> Any:
    """A field: its default, what it means, its least value or the only values, and whether it is kept out of logs."""
    metadata = {"doc": doc, "least": least, "choices": choices, "secret": secret}
    return dataclasses.field(default=default, repr=not secret, metadata=metadata)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSettings:
    """Fields are ``str``, ``int``, ``float``, or one of them or None. Raises ``ConfigError``, one line that names the setting,
    where a value cannot be right."""

    # Without annotations, so that they are no fields.
    PORTS = cast("tuple[str, ...]", ())  # names of the fields that are ports
    LISTED_BY = ""  # the command that lists all settings, for messages

    def __post_init__(self) -> None:
        for f in dataclasses.fields(self):
            value, least, choices = getattr(self, f.name), f.metadata["least"], f.metadata["choices"]
            if least is not None and value is not None and not (math.isfinite(value) and value >= least):
                raise ConfigError(f"{f.name.upper()}={value}: must be a number of at least {least:g}")
            if choices and value not in choices:
                raise ConfigError(f"{f.name.upper()}={value!r}: must be one of {', '.join(choices)}")
            if f.name in self.PORTS and value > PORT_MAX:
                raise ConfigError(f"{f.name.upper()}={value}: a port is at most {PORT_MAX}")

    @classmethod
    def load(cls, environ: Mapping[str, str], file: Path | None = None, **overrides: Any) -> Self:
        """From the TOML ``file``, then the environment, then ``overrides`` that are not None.

        Raises:
            ConfigError: one line that names the first unknown or wrong setting.
        """
        fields = {f.name: f for f in dataclasses.fields(cls)}
        hints = get_type_hints(cls)
        values: dict[str, Any] = {}
        for key, value in (_read(file) if file is not None else {}).items():
            if (name := key.lower()) not in fields:
                close = difflib.get_close_matches(name, fields, 1)
                hint = f"; did you mean {close[0]}?" if close else ""
                listed = f" (`{cls.LISTED_BY}` lists all)" if cls.LISTED_BY else ""
                raise ConfigError(f"settings file {file}: unknown setting {key!r}{hint}{listed}")
            values[name] = _convert(fields[name], hints[name], value, f"settings file {file}: {key}")
        for name, f in fields.items():
            if (variable := variable_of(environ, name)) is not None:
                values[name] = _convert(f, hints[name], environ[variable], variable)
        return cls(**values | {k: v for k, v in overrides.items() if v is not None})

    @classmethod
    def near_misses(cls, environ: Mapping[str, str]) -> list[str]:
        """Variables of the environment that look like a misspelt setting, one warning each."""
        known = [f.name.upper() for f in dataclasses.fields(cls)]
        misses = []
        for variable in sorted(environ):
            bare = variable.removeprefix(PREFIX)
            if bare not in known and (close := difflib.get_close_matches(bare, known, 1, cutoff=0.9)):
                meant = variable.removesuffix(bare) + close[0]
                misses.append(f"the variable {variable} is no setting; did you mean {meant}?")
        return misses

    @classmethod
    def table(cls) -> str:
        """All settings as a Markdown table."""
        hints = get_type_hints(cls)
        rows = ["| variable | kind | default | meaning |", "|---|---|---|---|"]
        for f in dataclasses.fields(cls):
            kind = ", ".join(f.metadata["choices"]) or _kind(hints[f.name]).__name__
            default = "" if f.default in ("", None) else f"`{f.default}`"
            rows.append(f"| `{PREFIX}{f.name.upper()}` | {kind} | {default} | {f.metadata['doc']} |")
        return "\n".join(rows)


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is this machine's own alone: any other needs a token."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_own_name(host: str) -> bool:
    """Whether the ``Host`` of a request (``NAME``, ``NAME:PORT``) is a name of this machine alone; False for what is no name."""
    try:
        return is_loopback(urlsplit(f"//{host}").hostname or "")
    except ValueError:
        return False


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text())
    except OSError as e:
        raise ConfigError(f"settings file {file}: {e.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise ConfigError(f"settings file {file}: not TOML ({e})") from None


def _kind(hint: Any) -> type:
    """``float | None`` -> float."""
    kind: type = next((t for t in getattr(hint, "__args__", ()) if t is not type(None)), hint)
    return kind


def _convert(field: dataclasses.Field[Any], hint: Any, value: Any, where: str) -> Any:
    kind = _kind(hint)
    if field.default is None and value == "":
        return None
    try:
        if kind is str and isinstance(value, str):
            return value
        if kind in (int, float) and isinstance(value, str | int | float) and not isinstance(value, bool):
            number = kind(value)
            if number == float(value):
                return number
    except ValueError:
        pass
    shown = "***" if field.metadata["secret"] else repr(value)
    raise ConfigError(f"{where}={shown}: must be {_MEANT[kind]}")
