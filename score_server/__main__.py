"""``python -m score_server serve|example|openapi|settings``: scoring on demand over HTTP."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys

from multitaskais.command import CommandParser
from web_common.commands import exit_code

EXIT_CODES = "exit codes: 0 done or stopped in order, 2 wrong use or settings (one line says what to do), 75 the store does not answer: start again"


def _parser() -> CommandParser:
    parser = CommandParser(
        "python -m score_server",
        description="Judge reports over HTTP. Settings come from the environment; `settings` lists them.",
        epilog="example: STORE_URL=/srv/models python -m score_server serve",
        exit_codes=EXIT_CODES,
    )
    actions = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    serve = actions.add_parser(
        "serve",
        help="answer requests",
        description="Answer requests until SIGTERM. Models are those of STORE_URL, or those that ship with the package.",
        epilog="example: python -m score_server serve --models gulf --port 8190",
        exit_codes=EXIT_CODES,
    )
    serve.add_argument("--bind", help="address (SERVE_BIND; default 127.0.0.1)")
    serve.add_argument("--port", type=int, help="port (SERVE_PORT; default 8190)")
    serve.add_argument("--models", help="names, with commas (MODELS; default: all there are)")
    serve.add_argument("--judges", type=int, help="processes that judge (JUDGES; default: one a core)")
    for name, what in (
        ("example", "print a request to try it with: one simulated ship off Brittany"),
        ("openapi", "print the OpenAPI document"),
        ("settings", "print the table of settings"),
    ):
        actions.add_parser(name, help=what, description=what.capitalize() + ".", epilog=f"example: python -m score_server {name}", exit_codes=EXIT_CODES)  # fmt: skip
    return parser


def main(argv: list[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    return exit_code(lambda: _run(args))


def _run(args: argparse.Namespace) -> int:
    from web_common.run import log_to_stderr, require_port, run

    from .settings import Settings, store_settings

    if args.command == "settings":
        print(Settings.table())
        return 0
    if args.command == "example":
        from .example import request

        print(json.dumps(request()))
        return 0
    from .app import make, openapi

    if args.command == "openapi":
        print(json.dumps(openapi(), indent=1))
        return 0
    settings = Settings.load(
        os.environ, serve_bind=args.bind, serve_port=args.port, models=args.models, judges=args.judges
    )
    log_to_stderr(settings.log_format, settings.log_level)
    access = settings.access
    require_port(settings.serve_bind, settings.serve_port, "SERVE_PORT")
    where, store = store_settings(os.environ), None
    if where is not None:
        from multitaskais.model.store import ModelStore, cache_folder

        store = ModelStore(where, cache_folder(os.environ))
    else:
        from multitaskais.model import folder

        for name in filter(None, settings.models.split(",")):
            folder.read_manifest(folder.find(name.strip()))
    app, _ = make(settings, store)
    logging.getLogger("multitaskais.web").info(
        "listening on http://%s:%d%s", settings.serve_bind, settings.serve_port, "" if access.token else ", no token"
    )
    return run(app, settings.serve_bind, settings.serve_port, settings.body_s)


if __name__ == "__main__":
    sys.exit(main())
