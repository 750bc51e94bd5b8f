"""``multitaskais pipeline run|step|steps|runs|show|graph|schema|dags``: from archive to published model as steps that are done once.

Outputs and, unless DATABASE_URL or --database names another, the database are below --out (PIPELINE_OUT, default out/pipeline).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multitaskais.command import CommandParser
from multitaskais.errors import ConfigError, StoreUnavailable

if TYPE_CHECKING:
    from .results import Results
    from .runner import Outcome

DIALECTS = ("sqlite", "mysql", "mariadb", "postgresql")
DEFAULT_OUT = "out/pipeline"
DATABASE_FILE = "pipeline.db"
DIGESTS_FILE = ".digests.json"
REFUSED, WRONG, AGAIN, NOTHING_TO_DO = 1, 2, 75, 99
EXIT_CODES = (
    "exit codes: 0 done, 1 done and the answer is no (the model was not accepted), 2 wrong use or wrong input (one line says what to do),"
    "\n75 database or store do not answer: try again, 99 (`step` only) nothing to do, 130 interrupted"
)


def add_parser(subparsers: argparse._SubParsersAction[CommandParser]) -> None:
    p = subparsers.add_parser(
        "pipeline",
        help="archive -> published model, by steps that are done once",
        description=__doc__,
        epilog="example: multitaskais pipeline run conf.toml",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        exit_codes=EXIT_CODES,
    )
    actions = p.add_subparsers(dest="action", required=True, metavar="ACTION")

    def action(name: str, help_: str, example: str) -> CommandParser:
        a = actions.add_parser(name, help=help_, description=help_[0].upper() + help_[1:] + ".",
                               epilog=f"example: multitaskais pipeline {example}", exit_codes=EXIT_CODES)  # fmt: skip
        a.set_defaults(run=run)
        if name not in ("schema", "dags"):
            a.add_argument(
                "--out", type=Path, metavar="DIR", help="where outputs are (PIPELINE_OUT, default out/pipeline)"
            )
            a.add_argument("--database", metavar="URL", help=f"DATABASE_URL (default sqlite:///DIR/{DATABASE_FILE})")
        return a

    do = action("run", "do what is not done yet", "run conf.toml --set calibrate.budget=0.02")
    do.add_argument("conf", type=Path, nargs="?", metavar="CONF", help="TOML or JSON: region, archive, a table for each step")  # fmt: skip
    do.add_argument(
        "--conf-env", metavar="VARIABLE", help="in its place, an environment variable that holds it as JSON"
    )
    do.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="in the place of what CONF says, such as calibrate.budget=0.02")  # fmt: skip
    do.add_argument("--force", action="append", default=[], metavar="STEP", help="do this step again")
    do.add_argument("--dry-run", action="store_true", help="show what would be done and why, and do nothing")
    do.add_argument("--json", action="store_true", help="print one JSON object")
    one = action("step", "do one step, as a scheduler calls it", "step train --conf conf.toml")
    one.add_argument("step", metavar="STEP")
    where = one.add_mutually_exclusive_group()
    where.add_argument("--conf", type=Path, metavar="CONF", help="as for run")
    where.add_argument("--conf-env", metavar="VARIABLE", help="an environment variable that holds it as JSON")
    one.add_argument("--force", action="store_true", help="do it again")
    steps = action("steps", "the steps of a configuration, in their order", "steps conf.toml")
    steps.add_argument("conf", type=Path, nargs="?", metavar="CONF", help="as for run")
    steps.add_argument(
        "--conf-env", metavar="VARIABLE", help="in its place, an environment variable that holds it as JSON"
    )
    steps.add_argument(
        "--json", action="store_true", help="print one JSON object: the steps, and the configuration as given"
    )
    runs = action("runs", "the runs, the newest first", "runs --json")
    runs.add_argument("--json", action="store_true", help="one JSON object a run")
    show = action("show", "the steps of a run: state, times, why", "show 2b0b6fa5")
    show.add_argument("id", metavar="RUN", help="its id, or the first digits of it")
    show.add_argument("--json", action="store_true", help="print one JSON object")
    graph = action("graph", "a picture of a run's steps with states and times", "graph 2b0b6fa5 --to run.html")
    graph.add_argument("id", metavar="RUN", help="its id, or the first digits of it")
    graph.add_argument(
        "--to", type=Path, metavar="FILE", help="FILE.svg, or FILE.html with a table (default: SVG to standard output)"
    )
    graph.add_argument(
        "--json",
        action="store_true",
        help="in its place, print steps, states, times and what is after what as one JSON object",
    )
    schema = action("schema", "print the tables as SQL", "schema --dialect mysql")
    schema.add_argument("--dialect", choices=DIALECTS, default="sqlite", help="default: sqlite")
    dags = action("dags", "write DAG files for Airflow", "dags --out /srv/airflow/dags")
    dags.add_argument("--out", dest="to", type=Path, required=True, metavar="DIR", help="Airflow's folder of DAGs")
    dags.add_argument("--python", default=sys.executable, metavar="FILE", help="of the product's environment (default: this one); MULTITASKAIS_PYTHON where Airflow runs goes first")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    try:
        from ..database import DatabaseAway
    except ImportError as e:
        raise ConfigError(f"multitaskais pipeline needs SQLAlchemy ({e}): pip install 'multitaskais[jobs]'") from None
    actions = {
        "run": _run,
        "step": _step,
        "steps": _steps,
        "runs": _runs,
        "show": _show,
        "graph": _graph,
        "schema": _schema,
        "dags": _dags,
    }
    try:
        return actions[args.action](args)
    except (DatabaseAway, StoreUnavailable) as e:
        print(f"multitaskais pipeline {args.action}: {e}", file=sys.stderr)
        return AGAIN


def _out(args: argparse.Namespace) -> Path:
    return args.out or Path(_environment("PIPELINE_OUT") or DEFAULT_OUT)


def _environment(name: str) -> str | None:
    return os.environ.get(f"MULTITASKAIS_{name}") or os.environ.get(name)


def _results(args: argparse.Namespace, make: bool) -> Results:
    """``make`` false: a SQLite file that is not there is not made."""
    return results_of(args.database, _out(args), make)


def results_of(database: str | None, out: Path, make: bool = True) -> Results:
    """What is known in ``database``, else in that of the environment, else in the one below ``out``."""
    from ..database import Database
    from .results import Results

    url = database or _environment("DATABASE_URL")
    if url is None:
        file = (out / DATABASE_FILE).absolute()
        if make:
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
            except OSError as e:
                raise ConfigError(f"--out {out}: {e.strerror}") from None
        url = f"sqlite:///{file}"
    if not make and url.startswith("sqlite:///") and not Path(url.removeprefix("sqlite:///")).is_file():
        url = "sqlite://"
    lease = _environment("LEASE_S")
    if not lease:
        return Results(Database(url))
    try:
        lease_s = float(lease)
    except ValueError:
        lease_s = math.nan
    if not 0 < lease_s < math.inf:
        raise ConfigError(f"LEASE_S={lease}: must be a number of seconds greater than 0")
    return Results(Database(url), lease_s)


def _conf(args: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """The values of the configuration, and how messages name it."""
    from . import conf

    if (args.conf is None) == (args.conf_env is None):
        raise ConfigError("give the configuration: a file, or --conf-env VARIABLE")
    if args.conf is not None:
        return conf.load(args.conf), str(args.conf)
    text = os.environ.get(args.conf_env)
    if text is None:
        raise ConfigError(f"--conf-env {args.conf_env}: there is no such environment variable")
    return conf.parse_json(text, args.conf_env), args.conf_env


def _run(args: argparse.Namespace) -> int:
    from . import conf
    from .keys import FileDigests
    from .runner import Runner, print_line

    values, where = _conf(args)
    checked, steps = conf.of(conf.changed(values, args.set), where)
    results = _results(args, make=not args.dry_run)
    files = FileDigests(_out(args) / DIGESTS_FILE)
    runner = Runner(checked, steps, results, _out(args), files, print_line)
    if args.dry_run:
        planned = runner.plan(args.force)
        if args.json:
            print(json.dumps({"steps": [_as_dict(o) for o in planned]}))
        else:
            print(_table(planned))
        return 0
    run_id, ended = runner.run(args.force)
    state = "done" if len(ended) == len(steps) and ended[-1].state in ("done", "skipped") else ended[-1].state
    if args.json:
        print(json.dumps({"run": run_id, "state": state, "steps": [_as_dict(o) for o in ended]}))
    else:
        print(_table(ended))
        print(f"run {run_id}: {state}; outputs in {_out(args)}")
    if state == "failed":
        print(f"multitaskais pipeline run: {ended[-1].step}: {ended[-1].why}", file=sys.stderr)
    return {"done": 0, "refused": REFUSED}.get(state, WRONG)


def _step(args: argparse.Namespace) -> int:
    from . import conf
    from .keys import FileDigests
    from .runner import Runner, print_line

    values, where = _conf(args)
    checked, steps = conf.of(values, where)
    if args.step in conf.on_request(checked.pipeline) and args.step not in [s.name for s in steps]:
        print(f"{args.step}: not asked for, [{args.step}] is not in {where}")
        return NOTHING_TO_DO
    results = _results(args, make=True)
    files = FileDigests(_out(args) / DIGESTS_FILE)
    run_id, outcome = Runner(checked, steps, results, _out(args), files, print_line).step(args.step, args.force)
    print(f"{_table([outcome])}\nrun {run_id}")
    if outcome.state == "failed":
        print(f"multitaskais pipeline step: {outcome.step}: {outcome.why}", file=sys.stderr)
    return {"done": 0, "skipped": NOTHING_TO_DO, "refused": REFUSED}.get(outcome.state, WRONG)


def _steps(args: argparse.Namespace) -> int:
    from . import conf

    values, where = _conf(args)
    _, steps = conf.of(values, where)
    if args.json:
        print(json.dumps({"conf": values, "steps": [{"step": s.name, "kind": s.kind, "after": list(s.after)} for s in steps]}))  # fmt: skip
    else:
        width = max(len(s.name) for s in steps)
        print("\n".join(f"{s.name:<{width}}  {', '.join(s.after)}".rstrip() for s in steps))
    return 0


def _runs(args: argparse.Namespace) -> int:
    for r in _results(args, make=False).runs():
        if args.json:
            print(json.dumps(r))
        else:
            ended = (r["datetime_finished"] or "")[:19].replace("T", " ")
            print(f"{r['run']}  {r['pipeline']:<12} {r['state']:<12} {r['datetime_started'][:19].replace('T', ' ')}  {ended:<19}  {r['host']}")  # fmt: skip
    return 0


def _show(args: argparse.Namespace) -> int:
    r = _one_run(args)
    if args.json:
        print(json.dumps(r))
        return 0
    print(f"run {r['run']}: {r['pipeline']}, {r['state']}, begun {r['datetime_started']}, {r['attempts']} times, on {r['host']}")  # fmt: skip
    for s in r["steps"]:
        took = "" if s["seconds"] is None else f"{s['seconds']:.1f} s"
        print(f"{s['step']:<20} {s['state']:<8} {took:>10}  {s['why'] or ''}".rstrip())
        if s["output"]:
            print(f"{'':<20} {s['output']}")
    return 0


def _graph(args: argparse.Namespace) -> int:
    from . import graph

    r = _one_run(args)
    if args.json:
        steps = [{k: s[k] for k in ("step", "after", "state", "why", "seconds")} for s in r["steps"]]
        print(json.dumps({"run": r["run"], "pipeline": r["pipeline"], "state": r["state"], "steps": steps}))
        return 0
    if args.to is None:
        print(graph.svg(r), end="")
        return 0
    if args.to.suffix not in (".svg", ".html"):
        raise ConfigError(f"--to {args.to}: the name must end in .svg or .html")
    try:
        args.to.write_text(graph.svg(r) if args.to.suffix == ".svg" else graph.html(r))
    except OSError as e:
        raise ConfigError(f"--to {args.to}: {e.strerror}") from None
    print(args.to)
    return 0


def _schema(args: argparse.Namespace) -> int:
    from .results import ddl

    print(ddl(args.dialect))
    return 0


def _dags(args: argparse.Namespace) -> int:
    from . import dags

    try:
        files = dags.write(args.to, Path(_environment("PIPELINE_OUT") or DEFAULT_OUT), args.python)
    except OSError as e:
        raise ConfigError(f"--out {args.to}: {e.strerror}") from None
    print(*files, sep="\n")
    return 0


def _one_run(args: argparse.Namespace) -> dict[str, Any]:
    found = _results(args, make=False).run(args.id)
    if len(found) != 1:
        what = "several runs begin" if found else "no run begins"
        raise ConfigError(f"{what} with {args.id!r}: `multitaskais pipeline runs` lists them")
    return found[0]


def _as_dict(o: Outcome) -> dict[str, Any]:
    return {"step": o.step, "state": o.state, "why": o.why, "seconds": round(o.seconds, 3), "output": None if o.folder is None else str(o.folder)}  # fmt: skip


def _table(outcomes: list[Outcome]) -> str:
    width = max(len(o.step) for o in outcomes)
    return "\n".join(f"{o.step:<{width}}  {o.state:<8} {o.seconds:8.2f} s  {o.why}" for o in outcomes)
