"""Settings of the score server: the environment, checked before anything starts."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, get_type_hints

from multitaskais.errors import ConfigError
from multitaskais.model.objects import StoreSettings
from web_common.access import Access
from web_common.run import from_environment


def _field(default: Any, doc: str, least: float | None = None, secret: bool = False) -> Any:
    return dataclasses.field(default=default, repr=not secret, metadata={"doc": doc, "least": least})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    serve_bind: str = _field("127.0.0.1", "Address to listen on. Any other than this machine's own needs SERVE_TOKEN.")
    serve_port: int = _field(8190, "Port to listen on.", least=1)
    serve_token: str = _field("", "What a client must give: `Authorization: Bearer ...` (16 characters or more).", secret=True)  # fmt: skip
    models: str = _field("", "Names of the models to offer, with commas. Empty: all of the store, or without a store all that ship.")  # fmt: skip
    judges: int = _field(0, "Processes that judge, some 250 MB each. 0: one a core.", least=0)
    sync_s: float = _field(10.0, "The store is asked for new versions so often (s).", least=0.1)
    waiting_max: int = _field(32, "Requests that may wait; the next gets 503.", least=1)
    deadline_s: float = _field(30.0, "A request that is not answered after so long (s) gets 504.", least=0.1)
    body_s: float = _field(10.0, "A body must have come after so long (s), else 408.", least=0.1)
    body_max_mb: int = _field(16, "Largest body (MB); a larger one gets 413.", least=1)
    reports_max: int = _field(100_000, "Most reports or sentences in a request; more get 413.", least=1)
    log_format: str = _field("console", "`console` or `json`.")
    log_level: str = _field("INFO", "Least level that is logged.")

    def __post_init__(self) -> None:
        for f in dataclasses.fields(self):
            least, value = f.metadata["least"], getattr(self, f.name)
            if least is not None and not value >= least:
                raise ConfigError(f"{f.name.upper()}={value}: must be at least {least:g}")
        if self.serve_port > 65535:
            raise ConfigError(f"SERVE_PORT={self.serve_port}: a port is at most 65535")
        if self.log_format not in ("console", "json"):
            raise ConfigError(f"LOG_FORMAT={self.log_format!r}: must be console or json")
        if self.log_level not in ("DEBUG", "INFO", "WARNING", "ERROR"):
            raise ConfigError(f"LOG_LEVEL={self.log_level!r}: must be DEBUG, INFO, WARNING or ERROR")

    @property
    def access(self) -> Access:
        return Access(self.serve_bind, self.serve_token)

    @property
    def judge_processes(self) -> int:
        return self.judges or len(os.sched_getaffinity(0))

    @classmethod
    def load(cls, environ: Mapping[str, str], **overrides: Any) -> Self:
        hints = get_type_hints(cls)
        values = from_environment({f.name: hints[f.name] for f in dataclasses.fields(cls)}, environ)
        return cls(**{**values, **{k: v for k, v in overrides.items() if v is not None}})

    @classmethod
    def table(cls) -> str:
        """All settings as a Markdown table."""
        rows = ["| variable | default | meaning |", "|---|---|---|"]
        for f in dataclasses.fields(cls):
            default = "" if f.default == "" else f"`{f.default}`"
            rows.append(f"| `{f.name.upper()}` | {default} | {f.metadata['doc']} |")
        return "\n".join(rows)


def store_settings(environ: Mapping[str, str]) -> StoreSettings | None:
    """None without STORE_URL."""
    return StoreSettings.of(environ) if environ.get("STORE_URL") or environ.get("MULTITASKAIS_STORE_URL") else None
