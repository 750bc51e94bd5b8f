"""Is the command of this container well? Asks the page that the command has; one without a page is well while it runs.

Exit codes: 0 well, 1 not.
"""

import itertools
import os
import sys
import urllib.request

PAGES = {"worker": ("HEALTH_BIND", "HEALTH_PORT", "6066"), "map": ("MAP_BIND", "MAP_PORT", "8080")}
TIMEOUT_S = 4.0
ANY = ("", "0.0.0.0", "::")


def page(words: list[str]) -> str | None:
    """Address of the health page of the command with these words; None when it has none."""
    command = next((w for w in words if w in PAGES), None)
    if command is None:
        return None
    bind, port, default = PAGES[command]
    host, number = os.environ.get(bind, ""), os.environ.get(port, default)
    for flag, word in itertools.pairwise(words):
        host, number = (word if flag == "--bind" else host), (word if flag == "--port" else number)
    host = "127.0.0.1" if host in ANY else host
    return f"http://{f'[{host}]' if ':' in host else host}:{number}/health"


def ask(url: str) -> int:
    try:
        # No proxy: this is our own host, whatever the environment says of others.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(url, timeout=TIMEOUT_S) as answer:
            return 0 if answer.status == 200 else 1
    except OSError as e:
        print(f"{url}: {e}", file=sys.stderr)
        return 1


def main() -> int:
    with open("/proc/1/cmdline", "rb") as f:
        words = f.read().decode(errors="replace").split("\0")
    words = words[words.index("stream_operator") + 1 :] if "stream_operator" in words else []
    url = page(words)
    return 0 if url is None else ask(url)


if __name__ == "__main__":
    sys.exit(main())
