"""``multitaskais COMMAND``: one file a command in this folder, each with ``add_parser(subparsers)`` and ``run(args) -> int``.

Exit codes: 0 done, 2 wrong use or wrong input (one line says what to do), 130 interrupted.
"""

from __future__ import annotations

import importlib
import os
import sys

from .. import __version__
from ..command import CommandParser
from ..errors import MultitaskAISError

# Commands of packages that stand on the core and come with it: their modules are looked up when they are asked for.
ELSEWHERE = {"pipeline": "model_trainer.pipeline.command"}
COMMANDS = (
    "decode",
    "simulate",
    "train",
    "calibrate",
    "recalibrate",
    "detect",
    "inject",
    "evaluate",
    "region",
    "store",
    *ELSEWHERE,
)


def main(argv: list[str] | None = None) -> int:
    parser = CommandParser(
        prog="multitaskais",
        description="From AIS archives to alerts on abnormal tracks.",
        epilog="example: multitaskais detect archive/2017 --model gulf --out out/detect",
    )
    parser.add_argument("--version", action="version", version=__version__)
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    argv = sys.argv[1:] if argv is None else argv
    # Only the command that is asked for is imported: `multitaskais decode` must not wait for TensorFlow.
    wanted = [a for a in argv if a in COMMANDS][:1] or COMMANDS
    for name in COMMANDS:
        if name in wanted:
            importlib.import_module(ELSEWHERE.get(name, f".{name}"), __package__).add_parser(subparsers)
        else:
            subparsers.add_parser(name)
    args = parser.parse_args(argv)
    try:
        code: int = args.run(args)
        return code
    except MultitaskAISError as e:
        print(f"multitaskais {args.command}: {e}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader (head, less) has gone: not an error of ours. Python would complain while flushing at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


if __name__ == "__main__":
    sys.exit(main())
