"""A server of ours as a real process, and requests to it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .s3proxy import ROOT, free_port


class Serving:
    """``python -m PROGRAM serve`` on a free port of 127.0.0.1."""

    def __init__(self, program: str, log: Path, env: Mapping[str, str], ready_s: float = 90.0) -> None:
        self.log, self.port = log, free_port()
        command = [sys.executable, "-m", program, "serve", "--port", str(self.port)]
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("STORE_", "SERVE_", "MODELS"))}
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                command, env={**clean, "OMP_NUM_THREADS": "1", **env}, stdout=out, stderr=out, cwd=ROOT
            )
        deadline = time.monotonic() + ready_s
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.text()
            try:
                self.get("/health")
                return
            except OSError:
                time.sleep(0.1)
        raise AssertionError(f"{program} did not answer: {self.text()}")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def ask(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None, timeout: float = 60
    ) -> tuple[int, Any, dict[str, str]]:
        """(status, body as JSON where it is, headers)."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.url + path, data, {"Content-Type": "application/json", **(headers or {})}, method=method
        )
        try:
            answer = urllib.request.urlopen(request, timeout=timeout)
        except urllib.error.HTTPError as e:
            answer = e
        with answer:
            content = answer.read()
            found = {k.lower(): v for k, v in answer.headers.items()}
        is_json = found.get("content-type", "").startswith("application/json")
        return answer.status, json.loads(content) if is_json else content.decode(), found

    def get(self, path: str, **headers: str) -> tuple[int, Any]:
        return self.ask("GET", path, headers=headers)[:2]

    def post(self, path: str, body: Any, **headers: str) -> tuple[int, Any]:
        return self.ask("POST", path, body, headers)[:2]

    def end(self, number: int = signal.SIGTERM, within: float = 20.0) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(within)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
