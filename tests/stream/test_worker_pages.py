"""The pages of a worker, a feed and `meetings`: strangers shut nobody out."""

from __future__ import annotations

import socket
import urllib.request

from stream_operator import devbroker, pages
from stream_operator.page_limits import connections_max

HALVES = (b"", b"G", b"GET / HTTP/1.1\r\nHost: x\r\nX-a: ")


def test_half_requests_beyond_the_bound_shut_nobody_out():
    port = devbroker.free_port()
    listener = pages.listen("127.0.0.1", port, "HEALTH_BIND, HEALTH_PORT")

    async def health() -> pages.Answer:
        return 200, "application/json", b"{}"

    pages.PagesThread(listener, {"/health": health}).start()
    held = []
    try:
        for k in range(connections_max() * 3 // 4 + 20):  # what one address may hold, and more
            held.append(socket.create_connection(("127.0.0.1", port), timeout=20))
            held[-1].sendall(HALVES[k % len(HALVES)])
            if k % 40 == 0:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=20) as answer:
                    assert answer.status == 200
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=20) as answer:
            assert answer.status == 200
        held[0].settimeout(20)
        assert held[0].recv(1) == b""  # the oldest gave way
    except ConnectionResetError:
        pass  # the same, told in another way
    finally:
        for s in held:
            s.close()
