"""``python -m model_trainer submit|jobs|cancel|trainer|serve|openapi|settings``: training as jobs that trainers take from each other."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from multitaskais.command import CommandParser
from multitaskais.errors import ConfigError, StoreUnavailable
from web_common.commands import exit_code

if TYPE_CHECKING:
    from .jobs import Jobs
    from .settings import Settings

EXIT_CODES = "exit codes: 0 done or stopped in order, 1 done and the answer is no, 2 wrong use or input (one line says what to do), 75 database or store do not answer: try again"
UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def _parser() -> CommandParser:
    parser = CommandParser(
        "python -m model_trainer",
        description="Training jobs: a table in a database, trainers that take jobs from it, models in the store. Settings come from the"
        " environment; `settings` lists them.",
        epilog="example: python -m model_trainer jobs",
        exit_codes=EXIT_CODES,
    )
    actions = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def action(name: str, what: str, example: str) -> argparse.ArgumentParser:
        a = actions.add_parser(name, help=what, description=what.capitalize() + ".", epilog=f"example: python -m model_trainer {example}", exit_codes=EXIT_CODES)  # fmt: skip
        a.add_argument("--database", metavar="URL", help="DATABASE_URL (default sqlite:///multitaskais.db)")
        return a

    submit = action("submit", "queue a training", "submit conf.toml --every 24h")
    submit.add_argument("conf", type=Path, metavar="CONF", help="TOML file: region, archive, [train], [calibrate], [evaluate], [accept], [publish]")  # fmt: skip
    submit.add_argument("--every", metavar="TIME", help="now and again each 24h, 30m, 7d ...; `never` ends that")
    submit.add_argument("--json", action="store_true")
    jobs = action("jobs", "show jobs, the newest first", "jobs --json")
    jobs.add_argument("--json", action="store_true", help="one JSON object a job")
    cancel = action("cancel", "cancel a job that waits or runs", "cancel 2b0b6fa55978bcb2a1d0c3e4f5a6b7c8")
    cancel.add_argument("job", metavar="JOB")
    trainer = action("trainer", "take jobs and do them, until SIGTERM", "trainer --lease 30")
    trainer.add_argument("--lease", type=float, metavar="S", help="LEASE_S (default 30)")
    trainer.add_argument("--once", action="store_true", help="do one job, or none, and leave")
    serve = action("serve", "jobs over HTTP", "serve --port 8191")
    serve.add_argument("--bind", help="TRAIN_BIND (default 127.0.0.1)")
    serve.add_argument("--port", type=int, help="TRAIN_PORT (default 8191)")
    action("openapi", "print the OpenAPI document of serve", "openapi")
    action("settings", "print the table of settings", "settings")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    from .database import DatabaseAway

    return exit_code(lambda: _run(args), (DatabaseAway, StoreUnavailable))


def _run(args: argparse.Namespace) -> int:
    from .settings import Settings

    if args.command == "settings":
        print(Settings.table())
        return 0
    settings = Settings.load(
        os.environ,
        database_url=args.database,
        lease_s=getattr(args, "lease", None),
        train_bind=getattr(args, "bind", None),
        train_port=getattr(args, "port", None),
    )
    from .database import Database
    from .jobs import Jobs

    if args.command == "openapi":
        from .app import make

        print(json.dumps(make(settings, Jobs(Database("sqlite://")))[1], indent=1))
        return 0
    if args.command == "submit":
        return _submit(args, settings)
    jobs = Jobs(Database(settings.database_url), settings.lease_s)
    return {"jobs": _jobs, "cancel": _cancel, "trainer": _trainer, "serve": _serve}[args.command](args, settings, jobs)


def _submit(args: argparse.Namespace, settings: Settings) -> int:
    from .conf import checked, read
    from .database import Database
    from .jobs import Jobs

    conf = checked(read(args.conf), settings.roots)
    every = None if args.every in (None, "never") else seconds(args.every)
    jobs = Jobs(Database(settings.database_url), settings.lease_s)
    name = conf["publish"]["name"]
    if args.every == "never":
        ended = jobs.unschedule(jobs.submit_every(name, conf, 1e9))
        print(f"{name} is not submitted again" if ended else f"{name} was not scheduled")
        return 0
    if every is not None:
        id = jobs.submit_every(name, conf, every)
        print(json.dumps({"schedule": id, "every_s": every}) if args.json else f"{name} is submitted each {args.every}")
        return 0
    id, new = jobs.submit(name, conf)
    print(json.dumps({"job": id, "new": new}) if args.json else f"job {id} is queued" if new else f"job {id} is the same and not done yet")  # fmt: skip
    return 0


def _jobs(args: argparse.Namespace, settings: Settings, jobs: Jobs) -> int:
    for j in jobs.newest():
        if args.json:
            print(json.dumps(j))
            continue
        progress = f"{100 * j['progress']:3.0f} %" if j["progress"] is not None else "     "
        left = f", {j['left_s']:.0f} s left" if j["left_s"] is not None else ""
        print(f"{j['id']}  {j['name']:<16} {j['state']:<9} {progress}{left}  {j['error'] or j['note'] or ''}".rstrip())
    return 0


def _cancel(args: argparse.Namespace, settings: Settings, jobs: Jobs) -> int:
    if jobs.cancel(args.job):
        print(f"job {args.job} is cancelled")
        return 0
    print(f"job {args.job} has ended already", file=sys.stderr)
    return 1


def _trainer(args: argparse.Namespace, settings: Settings, jobs: Jobs) -> int:
    from multitaskais.model.objects import StoreSettings
    from multitaskais.model.store import ModelStore, cache_folder
    from web_common.run import log_to_stderr

    from .trainer import Trainer, end_on_signals

    log_to_stderr(settings.log_format, "INFO")
    store = ModelStore(StoreSettings.of(os.environ), cache_folder(os.environ))
    trainer = Trainer(jobs, store, Path(settings.work_dir) if settings.work_dir else None)
    end_on_signals(trainer)
    trainer.run(once=args.once)
    return 0


def _serve(args: argparse.Namespace, settings: Settings, jobs: Jobs) -> int:
    from web_common.run import log_to_stderr, require_port, run

    from .app import make

    log_to_stderr(settings.log_format, "INFO")
    app, _ = make(settings, jobs)
    require_port(settings.train_bind, settings.train_port, "TRAIN_PORT")
    return run(app, settings.train_bind, settings.train_port)


def seconds(text: str) -> float:
    """``24h`` -> 86400."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text)
    if found is None or not float(found[1]) > 0:
        raise ConfigError(f"--every {text}: give a number with s, m, h or d, for instance 24h")
    return float(found[1]) * UNITS[found[2]]


if __name__ == "__main__":
    sys.exit(main())
