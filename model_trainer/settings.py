"""Settings of trainers and of their server: the environment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from multitaskais.settings import ProcessSettings, setting
from web_common.access import Access


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(ProcessSettings):
    """Of trainers and of their server. Raises ``ConfigError`` as ``ProcessSettings`` does."""

    PORTS = ("train_port",)

    database_url: str = setting("sqlite:///multitaskais.db", "Where jobs are kept: `sqlite:///FILE`, `mysql+pymysql://...`, `postgresql+psycopg://...`.", secret=True)  # fmt: skip
    lease_s: float = setting(30.0, "A trainer that is not heard from for so long (s) loses its job.", least=0.5)
    work_dir: str = setting("", "Folder for what a job makes on its way. Empty: the system's temporary folder.")
    archive_roots: str = setting("", "Folders that jobs may read, with colons. Empty: any.")
    train_bind: str = setting("127.0.0.1", "Address of `serve`. Any other than this machine's own needs TRAIN_TOKEN.")
    train_port: int = setting(8191, "Port of `serve`.", least=1)
    train_token: str = setting("", "What a client must give: `Authorization: Bearer ...` (16 characters or more).", secret=True)  # fmt: skip
    log_format: str = setting("console", "Form of the log.", choices=("console", "json"))

    @property
    def access(self) -> Access:
        return Access(self.train_bind, self.train_token, ("TRAIN_BIND", "TRAIN_TOKEN"))

    @property
    def roots(self) -> tuple[Path, ...]:
        return tuple(Path(p) for p in self.archive_roots.split(":") if p)
