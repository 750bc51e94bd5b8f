"""Settings of a server: a frozen dataclass of ``setting`` fields, read from the environment, checked, and shown as a table."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Self, get_type_hints

from multitaskais.environment import PREFIX, value_of, variable_of
from multitaskais.errors import ConfigError

PORT_MAX = 65535
_MEANT = {int: "a whole number", float: "a number"}


def setting(
    default: Any, doc: str, *, least: float | None = None, choices: tuple[str, ...] = (), secret: bool = False
) -> Any:
    """A field: its default, what it means, its least value or the only values, and whether it is kept out of logs."""
    metadata = {"doc": doc, "least": least, "choices": choices, "secret": secret}
    return dataclasses.field(default=default, repr=not secret, metadata=metadata)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """Raises ``ConfigError``, one line that names the setting, where a value cannot be right."""

    PORTS: ClassVar[tuple[str, ...]] = ()  # fields that are ports

    def __post_init__(self) -> None:
        for f in dataclasses.fields(self):
            value, least, choices = getattr(self, f.name), f.metadata["least"], f.metadata["choices"]
            if least is not None and not value >= least:
                raise ConfigError(f"{f.name.upper()}={value}: must be at least {least:g}")
            if choices and value not in choices:
                raise ConfigError(f"{f.name.upper()}={value!r}: must be {', '.join(choices[:-1])} or {choices[-1]}")
            if f.name in self.PORTS and value > PORT_MAX:
                raise ConfigError(f"{f.name.upper()}={value}: a port is at most {PORT_MAX}")

    @classmethod
    def load(cls, environ: Mapping[str, str], **overrides: Any) -> Self:
        """From the environment, then ``overrides`` that are not None."""
        hints = get_type_hints(cls)
        values: dict[str, Any] = {}
        for f in dataclasses.fields(cls):
            if (text := value_of(environ, f.name)) is None:
                continue
            kind = hints[f.name]
            try:
                values[f.name] = kind(text)
            except ValueError:
                shown = "***" if f.metadata["secret"] else repr(text)
                raise ConfigError(
                    f"{variable_of(environ, f.name)}={shown}: must be {_MEANT.get(kind, 'text')}"
                ) from None
        return cls(**{**values, **{k: v for k, v in overrides.items() if v is not None}})

    @classmethod
    def table(cls) -> str:
        """All settings as a Markdown table."""
        rows = ["| variable | default | meaning |", "|---|---|---|"]
        for f in dataclasses.fields(cls):
            default = "" if f.default == "" else f"`{f.default}`"
            rows.append(f"| `{PREFIX}{f.name.upper()}` | {default} | {f.metadata['doc']} |")
        return "\n".join(rows)
