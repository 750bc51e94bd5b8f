"""Docker's health check of the score server: its /health answers."""

import os
import sys
import urllib.request


def url() -> str:
    bind = os.environ.get("MULTITASKAIS_SERVE_BIND") or os.environ.get("SERVE_BIND") or "127.0.0.1"
    port = os.environ.get("MULTITASKAIS_SERVE_PORT") or os.environ.get("SERVE_PORT") or "8190"
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(bind, f"[{bind}]" if ":" in bind else bind)
    return f"http://{host}:{port}/health"


def ask(page: str) -> int:
    try:
        with urllib.request.urlopen(page, timeout=4) as answer:
            return 0 if answer.status == 200 else 1
    except OSError:
        return 1


if __name__ == "__main__":
    sys.exit(ask(url()))
