"""The operator's commands: ``python -m stream_operator COMMAND --help``.

worker    judge reports as they come (the Faust worker)
topics    create the topics, check and repair them
feed      send an archive, standard input or a TCP stream to the source topic
alerts    read alerts as a table, JSON lines, GeoJSON or for kepler.gl
model     let another model take over from a moment on, without a restart
replay    judge a time range of the log again, into a file or other topics
control   what the workers were told (watermarks, models, zones): show it, take it back
feedback  let officers' answers act: control records from ais.feedback
dead      show or replay dead letters
settings  the table of all settings
broker    a development Kafka on this machine
map       the live map
meetings  watch all ships together: meetings, silences, zones
zones     put, list and end zones
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from multitaskais.command import CommandParser
from multitaskais.errors import MultitaskAISError

from .plain_text import escaped

if TYPE_CHECKING:
    from .settings import Settings
    from .worker.engines import OpenEngine

MODULES = {
    "topics": ".kafka.topics",
    "feed": ".commands.feed",
    "alerts": ".commands.alerts",
    "dead": ".commands.dead_letters",
    "replay": ".commands.replay",
    "broker": ".devbroker.cli",
    "model": ".commands.rollout",
    "control": ".commands.control",
    "feedback": ".commands.feedback",
    "map": ".map",
    "meetings": ".commands.meetings",
    "zones": ".commands.zones",
}


def worker(argv: list[str], opener: Callable[[Settings], OpenEngine] | None = None) -> int:
    """Run a worker; ``opener`` makes what opens its engines, in place of the product's (``engines.engine_opener``)."""
    # Until Faust takes the signal over there is nothing to make durable: leave in order at once.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    from . import exit_codes, logs
    from .kafka import topics
    from .settings import Settings
    from .worker import app, engines

    parser = CommandParser(
        "python -m stream_operator worker",
        description="Judge reports as they come. Settings: environment and TOML file.",
        epilog="example: BOOTSTRAP_SERVERS=127.0.0.1:9092 MODEL=gulf python -m stream_operator worker",
        exit_codes="exit codes: 0 stopped cleanly, 2 settings, topics, model or state are wrong (the last line says what to do),"
        "\n70 an error in the program, 75 start it again: the broker is away, or a checkpoint's outcome unknown (docs/operator/runbook.md)",
    )
    parser.add_argument("--settings", type=Path, help="TOML file of settings")
    settings = Settings.load(file=parser.parse_args(argv).settings)
    logs.set_up(settings.log_format, settings.log_level)
    for warning in Settings.near_misses(os.environ):
        logs.log.warning(warning)
    listener = app.listen(settings)
    open_engine = (opener or engines.engine_opener)(settings)
    topics.require(settings)
    exit_codes.leave(app.run(settings, open_engine, listener))


def settings_table(argv: list[str]) -> int:
    from .settings import Settings

    CommandParser(
        "python -m stream_operator settings",
        description="Print all settings as a Markdown table.",
        epilog="example: python -m stream_operator settings",
    ).parse_args(argv)
    print(Settings.table())
    return 0


def main(argv: list[str] | None = None, opener: Callable[[Settings], OpenEngine] | None = None) -> int:
    """Run a command; returns its exit code. ``opener``: as for ``worker``."""
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help"):
        print(__doc__)
        return 0
    command, rest = argv[0], argv[1:]
    try:
        if command == "worker":
            return worker(rest, opener)
        if command == "settings":
            return settings_table(rest)
        if command not in MODULES:
            print(f"no command {command!r}; there are: worker, settings, {', '.join(MODULES)}", file=sys.stderr)
            return 2
        code: int = importlib.import_module(MODULES[command], __package__).main(rest)
        return code
    except (KeyboardInterrupt, BrokenPipeError):
        return 130
    except Exception as e:
        from . import exit_codes
        from .kafka.errors import of_a_command

        # A KafkaException that no command has explained is one line, too.
        error = e if isinstance(e, MultitaskAISError) else of_a_command(e, command)
        if error is None:
            raise
        print(f"error: {escaped(str(error))}", file=sys.stderr)
        return exit_codes.of(error)


if __name__ == "__main__":
    sys.exit(main())
