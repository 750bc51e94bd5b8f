"""Settings of the score server: the environment, checked before anything starts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from multitaskais.environment import value_of
from multitaskais.model.objects import StoreSettings
from multitaskais.settings import ProcessSettings, setting
from web_common.access import Access


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(ProcessSettings):
    """Of the score server. Raises ``ConfigError`` as ``ProcessSettings`` does."""

    PORTS = ("serve_port",)

    serve_bind: str = setting("127.0.0.1", "Address to listen on. Any other than this machine's own needs SERVE_TOKEN.")
    serve_port: int = setting(8190, "Port to listen on.", least=1)
    serve_token: str = setting("", "What a client must give: `Authorization: Bearer ...` (16 characters or more).", secret=True)  # fmt: skip
    models: str = setting("", "Names of the models to offer, with commas. Empty: all of the store, or without a store all that ship.")  # fmt: skip
    judges: int = setting(0, "Processes that judge, some 250 MB each. 0: one a core.", least=0)
    judge_memory_mb: int = setting(2048, "Memory of a judge (MB); a request that needs more gets 400.", least=512)
    sync_s: float = setting(10.0, "The store is asked for new versions so often (s).", least=0.1)
    waiting_max: int = setting(32, "Requests that may wait; the next gets 503.", least=1)
    deadline_s: float = setting(30.0, "A request that is not answered after so long (s) gets 504.", least=0.1)
    body_s: float = setting(
        10.0,
        "The head of a request must have come after so long (s), else its connection is closed; then its body, else 408.",
        least=0.1,
    )
    body_max_mb: int = setting(16, "Largest body (MB); a larger one gets 413.", least=1)
    reports_max: int = setting(100_000, "Most reports or sentences in a request; more get 413.", least=1)
    log_format: str = setting("console", "Form of the log.", choices=("console", "json"))
    log_level: str = setting("INFO", "Least level that is logged.", choices=("DEBUG", "INFO", "WARNING", "ERROR"))

    @property
    def access(self) -> Access:
        return Access(self.serve_bind, self.serve_token)

    @property
    def judge_processes(self) -> int:
        return self.judges or len(os.sched_getaffinity(0))


def store_settings(environ: Mapping[str, str]) -> StoreSettings | None:
    """None without STORE_URL."""
    return StoreSettings.of(environ) if value_of(environ, "store_url") else None
