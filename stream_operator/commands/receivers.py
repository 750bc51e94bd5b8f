"""Lines from AIS receivers as they arrive: standard input, TCP in both directions, UDP.

Each source is an endless iterator of blocks of bytes. A block holds whole lines of one sender (or the pieces of a single stream in
their order); an empty block says that nothing came for a second, so that who reads it can look at the clock.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import time
from collections.abc import Generator

from multitaskais.ais.decoder import LINE_MAX
from multitaskais.errors import ConfigError, OperatorError

RECONNECT_S = (1.0, 30.0)
TICK_S = 1.0  # an empty block after so long a silence
SILENT_S = 300.0  # a receiver that is silent for so long is asked again
DATAGRAM_BYTES = 65536
DATAGRAMS_AT_ONCE = 1000  # that lie there already are taken together
RECEIVE_BUFFER_BYTES = 8 << 20  # a burst of UDP waits here while the broker is slow; the system may give less
CLIENTS_MAX = 64


def address(text: str, option: str) -> tuple[str, int]:
    """``HOST:PORT`` (``:PORT`` is every interface); raises ``ConfigError``."""
    host, _, port = text.rpartition(":")
    host = host.strip("[]")
    if not port.isdigit() or not 0 <= int(port) <= 65535 or (not host and not text.startswith(":")):
        raise ConfigError(f"{option} {text}: give HOST:PORT, such as 127.0.0.1:10110")
    return host, int(port)


def stdin_blocks() -> Generator[bytes, None, None]:
    """Standard input to its end."""
    source = sys.stdin.fileno()
    while True:
        if not select.select([source], [], [], TICK_S)[0]:
            yield b""
        elif block := os.read(source, 1 << 16):
            yield block
        else:
            break
    yield b"\n"


def tcp_blocks(host: str, port: int) -> Generator[bytes, None, None]:
    """What a receiver or forwarder sends to us, its client; connects again when the line is cut."""
    wait = RECONNECT_S[0]
    while True:
        try:
            with socket.create_connection((host, port), timeout=10) as connection:
                connection.settimeout(TICK_S)
                heard = time.monotonic()
                while time.monotonic() - heard < SILENT_S:
                    try:
                        block = connection.recv(1 << 16)
                    except TimeoutError:
                        yield b""
                        continue
                    if not block:
                        break
                    heard, wait = time.monotonic(), RECONNECT_S[0]
                    yield block
        except OSError as e:
            print(f"{host}:{port}: {e}; again in {wait:.0f} s", file=sys.stderr)
        yield b"\n"  # what was cut in the middle is no sentence
        for _ in range(int(wait)):
            time.sleep(TICK_S)
            yield b""
        wait = min(2 * wait, RECONNECT_S[1])


def _bound(kind: int, host: str, port: int, option: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, kind)
    try:
        if kind == socket.SOCK_STREAM:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        else:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        listener.bind((host, port))
    except OSError as e:
        listener.close()
        raise OperatorError(
            f"{option} {host}:{port}: cannot listen there ({e.strerror or e}); give another port"
        ) from None
    return listener


def udp_blocks(host: str, port: int) -> Generator[bytes, None, None]:
    """Datagrams of any senders (rtl-ais, AIS-catcher and most receivers send so); each is whole lines."""
    with _bound(socket.SOCK_DGRAM, host, port, "--udp") as inbox:
        inbox.setblocking(False)
        while True:
            if not select.select([inbox], [], [], TICK_S)[0]:
                yield b""
                continue
            datagrams: list[bytes] = []
            try:
                while len(datagrams) < DATAGRAMS_AT_ONCE:
                    datagrams.append(inbox.recv(DATAGRAM_BYTES))
            except BlockingIOError:
                pass
            yield b"".join(d if d.endswith(b"\n") else d + b"\n" for d in datagrams)


def tcp_server_blocks(host: str, port: int) -> Generator[bytes, None, None]:
    """What receivers send that connect to us; the lines of each stay whole."""
    with _bound(socket.SOCK_STREAM, host, port, "--tcp-listen") as listener:
        listener.listen()
        listener.setblocking(False)
        clients: dict[socket.socket, bytes] = {}  # with the beginning of its next line
        try:
            while True:
                ready = select.select([listener, *clients], [], [], TICK_S)[0]
                if not ready:
                    yield b""
                for s in ready:
                    if s is listener:
                        client, _ = listener.accept()
                        if len(clients) < CLIENTS_MAX:
                            client.setblocking(False)
                            clients[client] = b""
                        else:
                            client.close()
                        continue
                    try:
                        data = s.recv(1 << 16)
                    except BlockingIOError:
                        continue
                    except OSError:
                        data = b""
                    whole, newline, rest = (clients[s] + data).rpartition(b"\n")
                    if newline:
                        yield whole + newline
                    if data:
                        clients[s] = rest[: LINE_MAX + 1]  # a longer line is none
                    else:
                        del clients[s]
                        s.close()
                        if rest:
                            yield rest + b"\n"
        finally:
            for client in clients:
                client.close()
