"""A TCP proxy on localhost that can cut connections, hold them half-open, or slow them down."""

from __future__ import annotations

import socket
import struct
import threading
import time


class Proxy:
    def __init__(self, port: int, to_port: int) -> None:
        self._to_port = to_port
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._go = threading.Event()
        self._go.set()
        self.delay_s = 0.0
        self._server = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                here, _ = self._server.accept()
            except OSError:
                return
            try:
                there = socket.create_connection(("127.0.0.1", self._to_port), timeout=2)
                there.settimeout(None)
            except OSError:
                here.close()
                continue
            pair = (here, there)
            self._pairs.add(pair)
            for a, b in (pair, pair[::-1]):
                threading.Thread(target=self._pump, args=(a, b, pair), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, pair: tuple) -> None:
        try:
            while data := source.recv(65536):
                self._go.wait()
                if self.delay_s:
                    time.sleep(self.delay_s)
                target.sendall(data)
        except OSError:
            pass
        self._pairs.discard(pair)
        for s in pair:
            s.close()

    def cut(self) -> None:
        """Reset all connections."""
        for pair in list(self._pairs):
            for s in pair:
                try:
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    s.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def hold(self) -> None:
        """Connections stay open and nothing comes through."""
        self._go.clear()

    def release(self) -> None:
        self._go.set()

    def close(self) -> None:
        self._server.close()
        self._go.set()
        self.cut()
