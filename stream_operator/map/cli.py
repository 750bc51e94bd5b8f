"""``python -m stream_operator map``: the live map of ships and alerts for the watch officer, on one page."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import signal
import time
from pathlib import Path

from aiohttp import web

from multitaskais.command import CommandParser
from multitaskais.errors import OperatorError

from .. import logs
from ..page_limits import BoundedConnections
from ..settings import Settings
from .feedback import Answers
from .follower import TopicFollower
from .guard import Guard
from .server import Server
from .ships import Limits
from .state import MapState

log = logging.getLogger("stream_operator.map")
STOP_S = 3.0  # open pages are let go within so long


def main(argv: list[str]) -> int:
    parser = CommandParser(
        "python -m stream_operator map",
        description=__doc__,
        epilog="example: python -m stream_operator map --port 8080     (then open http://127.0.0.1:8080)",
    )
    parser.add_argument(
        "--bind",
        metavar="ADDRESS",
        help="address to listen on (default MAP_BIND, 127.0.0.1); any other needs MAP_TOKEN",
    )
    parser.add_argument("--port", type=int, help="port to listen on (default MAP_PORT, 8080)")
    parser.add_argument("--hours", type=float, default=24.0, help="hours of past to keep and replay (default 24)")
    parser.add_argument(
        "--ships", type=int, default=20_000, help="ships to keep at most, the longest silent go first (default 20000)"
    )
    parser.add_argument("--settings", type=Path, help="TOML file of settings")
    args = parser.parse_args(argv)
    if not 0.5 <= args.hours <= 48 or args.ships < 1:
        parser.error("--hours must lie between 0.5 and 48, --ships above 0")
    settings = Settings.load(file=args.settings)
    given = {"map_bind": args.bind, "map_port": args.port}
    settings = dataclasses.replace(settings, **{k: v for k, v in given.items() if v is not None})
    logs.set_up(settings.log_format, settings.log_level)
    guard = Guard(settings.map_bind, settings.map_token)
    return asyncio.run(_serve(settings, guard, Limits(hours=args.hours, ships_max=args.ships)))


async def _serve(settings: Settings, guard: Guard, limits: Limits) -> int:
    picture = MapState(limits, time.time)
    source = TopicFollower(settings, picture)
    answers = Answers(settings)
    app = Server(picture, answers, guard).app()
    bounded = BoundedConnections(lambda: runner.server())  # which is there once it is set up
    app.middlewares.insert(0, bounded.middleware())
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=STOP_S)
    await runner.setup()
    end = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, end.set)
    try:
        try:
            listening = await asyncio.get_running_loop().create_server(
                bounded, settings.map_bind, settings.map_port, reuse_address=True
            )
        except OSError as e:
            raise OperatorError(
                f"the map cannot listen on {settings.map_bind}:{settings.map_port}: {e.strerror}; choose another --port"
            ) from None
        source.start()
        log.info(
            "the map is at http://%s:%d (topics of %s)",
            settings.map_bind,
            settings.map_port,
            settings.bootstrap_servers,
        )
        while not end.is_set() and source.is_alive():
            try:
                await asyncio.wait_for(end.wait(), 1.0)
            except TimeoutError:
                continue
        listening.close()
    finally:
        await runner.cleanup()
        source.stop()
        answers.close()
    if isinstance(source.failed, OperatorError):
        raise source.failed
    if source.failed is not None:
        raise OperatorError(f"the map stopped reading: {source.failed!r}")
    return 0
