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
from collections import Counter
from collections.abc import Generator
from dataclasses import dataclass

from multitaskais.ais.decoder import LINE_MAX
from multitaskais.errors import ConfigError, OperatorError

RECONNECT_S = (1.0, 30.0)
TICK_S = 1.0  # an empty block after so long a silence
SILENT_S = 300.0  # a receiver that is silent for so long is asked again
DATAGRAM_BYTES = 65536
DATAGRAMS_AT_ONCE = 1000  # that lie there already are taken together
RECEIVE_BUFFER_BYTES = 8 << 20  # a burst of UDP waits here while the broker is slow; the system may give less
CLIENTS_MAX = 64
ACCEPT_S = 0.05  # before the next try where a client could not be taken


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
    """A socket that is bound there; no host: every interface, IPv4."""
    listener = None
    try:
        found = socket.getaddrinfo(host or "0.0.0.0", port, type=kind, flags=socket.AI_PASSIVE)
        family, _, protocol, _, at = found[0]
        listener = socket.socket(family, kind, protocol)
        if kind == socket.SOCK_STREAM:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        else:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        listener.bind(at)
    except (OSError, UnicodeError) as e:  # a name of labels that are too long is the second
        if listener is not None:
            listener.close()
        why = e.strerror if isinstance(e, OSError) and e.strerror else e
        raise OperatorError(f"{option} {host}:{port}: cannot listen there ({why}); give another address") from None
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


@dataclass(slots=True)
class _Client:
    """A receiver that has connected to us: from where, when it was heard last (monotonic s), the beginning of its next line."""

    address: str
    heard: float
    begun: bytes = b""


def tcp_server_blocks(host: str, port: int) -> Generator[bytes, None, None]:
    """What receivers send that connect to us; the lines of each stay whole.

    Where there are ``CLIENTS_MAX``, one gives way to a new one: of the address that has most, the one that was silent longest. So
    receivers that lost their power without a word, or strangers who say nothing, keep nobody out.
    """
    with _bound(socket.SOCK_STREAM, host, port, "--tcp-listen") as listener:
        listener.listen()
        listener.setblocking(False)
        clients: dict[socket.socket, _Client] = {}
        try:
            while True:
                ready = select.select([listener, *clients], [], [], TICK_S)[0]
                if not ready:
                    yield b""
                for s in ready:
                    if s is listener:
                        if rest := _accept(listener, clients):
                            yield rest
                        continue
                    if (client := clients.get(s)) is None:
                        continue  # it has just given way to another
                    try:
                        data = s.recv(1 << 16)
                    except BlockingIOError:
                        continue
                    except OSError:
                        data = b""
                    client.heard = time.monotonic()
                    whole, newline, rest = (client.begun + data).rpartition(b"\n")
                    if newline:
                        yield whole + newline
                    if data:
                        client.begun = rest[: LINE_MAX + 1]  # a longer line is none
                    else:
                        client.begun = rest
                        if rest := _let_go(s, clients):
                            yield rest
        finally:
            for left in clients:
                left.close()


def _accept(listener: socket.socket, clients: dict[socket.socket, _Client]) -> bytes:
    """Take a new client; returns what the one that gave way for it had begun."""
    try:
        new, peer = listener.accept()
    except OSError:  # it has gone again, or there is no descriptor left for it
        time.sleep(ACCEPT_S)
        return b""
    rest = b""
    if len(clients) >= CLIENTS_MAX:
        crowd = Counter(client.address for client in clients.values())
        rest = _let_go(min(clients, key=lambda s: (-crowd[clients[s].address], clients[s].heard)), clients)
    new.setblocking(False)
    clients[new] = _Client(str(peer[0]), time.monotonic())
    return rest


def _let_go(s: socket.socket, clients: dict[socket.socket, _Client]) -> bytes:
    """Close it; returns its last line, which has no end."""
    begun = clients.pop(s).begun
    s.close()
    return begun + b"\n" if begun else b""
