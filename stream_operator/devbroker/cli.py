"""``python -m stream_operator broker``: the development broker in the foreground, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

from multitaskais.command import CommandParser

from . import DevBroker


def main(argv: list[str]) -> int:
    parser = CommandParser(
        "python -m stream_operator broker",
        description=__doc__,
        epilog="example: python -m stream_operator broker --port 9092",
    )
    parser.add_argument(
        "--folder", type=Path, default=Path(".cache/broker"), help="where its data live (default .cache/broker)"
    )
    parser.add_argument("--port", type=int, default=9092, help="port of 127.0.0.1 (default 9092)")
    args = parser.parse_args(argv)
    done = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: done.set())
    with DevBroker(args.folder.absolute(), port=args.port) as broker:
        print(f"Apache Kafka listens on {broker.bootstrap} (data in {args.folder}); Ctrl-C ends it", flush=True)
        done.wait()
    return 0
