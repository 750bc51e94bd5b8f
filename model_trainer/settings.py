"""Settings of trainers and of their server: the environment."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, get_type_hints

from multitaskais.errors import ConfigError
from web_common.access import Access
from web_common.run import from_environment


def _field(default: Any, doc: str, least: float | None = None, secret: bool = False) -> Any:
    return dataclasses.field(default=default, repr=not secret, metadata={"doc": doc, "least": least})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    database_url: str = _field("sqlite:///multitaskais.db", "Where jobs are kept: `sqlite:///FILE`, `mysql+pymysql://...`, `postgresql+psycopg://...`.", secret=True)  # fmt: skip
    lease_s: float = _field(30.0, "A trainer that is not heard from for so long (s) loses its job.", least=0.5)
    work_dir: str = _field("", "Folder for what a job makes on its way. Empty: the system's temporary folder.")
    archive_roots: str = _field("", "Folders that jobs may read, with colons. Empty: any.")
    train_bind: str = _field("127.0.0.1", "Address of `serve`. Any other than this machine's own needs TRAIN_TOKEN.")
    train_port: int = _field(8191, "Port of `serve`.", least=1)
    train_token: str = _field("", "What a client must give: `Authorization: Bearer ...` (16 characters or more).", secret=True)  # fmt: skip
    log_format: str = _field("console", "`console` or `json`.")

    def __post_init__(self) -> None:
        for f in dataclasses.fields(self):
            least, value = f.metadata["least"], getattr(self, f.name)
            if least is not None and not value >= least:
                raise ConfigError(f"{f.name.upper()}={value}: must be at least {least:g}")
        if self.train_port > 65535:
            raise ConfigError(f"TRAIN_PORT={self.train_port}: a port is at most 65535")

    @property
    def access(self) -> Access:
        return Access(self.train_bind, self.train_token, ("TRAIN_BIND", "TRAIN_TOKEN"))

    @property
    def roots(self) -> tuple[Path, ...]:
        return tuple(Path(p) for p in self.archive_roots.split(":") if p)

    @classmethod
    def load(cls, environ: Mapping[str, str] = os.environ, **overrides: Any) -> Self:
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
