"""What ran when, with which parameters, from which inputs, and who has a step now: three tables beside those of the jobs.

A step that runs is held by a lease, as a job is: each statement names the attempt, only the database's clock counts. On the machine of the
one that holds it, a process that is gone is known at once, so nobody waits for the lease of one that was killed.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache, wraps
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, DateTime, Double, Index, Integer, String, Table, Text

from ..database import Database, DatabaseAway, metadata
from .keys import Record, canonical, sha256

LEASE_S = 30.0
ALIKE = 50  # results of a kind among which the most similar one is looked for


class _Microseconds(sa.types.UserDefinedType[datetime]):  # type: ignore[misc]
    """MySQL's DATETIME(6). Its own class is in a package of dialects whose import takes as long as all that a skipped step does."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "DATETIME(6)"


class _Medium(sa.types.UserDefinedType[str]):  # type: ignore[misc]
    """MySQL's MEDIUMTEXT."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "MEDIUMTEXT"


_Long = Text().with_variant(_Medium(), "mysql", "mariadb")
_Time = DateTime().with_variant(_Microseconds(), "mysql", "mariadb")  # UTC

run_table = Table(
    "pipeline_run",
    metadata,
    Column("id", String(16), primary_key=True),  # the first digits of parameters_sha256
    Column("pipeline", String(32), nullable=False),
    Column("parameters", _Long, nullable=False),  # JSON: the whole configuration
    Column("parameters_sha256", String(64), nullable=False, unique=True),
    Column("state", String(12), nullable=False),  # running, done, refused, failed, interrupted
    Column("datetime_started", _Time, nullable=False),
    Column("datetime_finished", _Time),
    Column("host", String(128), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("owner", String(200)),
    Column("lease_until", Double),  # Unix s
)
step_table = Table(
    "pipeline_step",
    metadata,
    Column("run_id", String(16), sa.ForeignKey("pipeline_run.id"), primary_key=True),
    Column("step", String(64), primary_key=True),
    Column("number", Integer, nullable=False),  # its place in the order
    Column("after", _Long, nullable=False),  # JSON: names of the steps before
    Column("step_key", String(64)),
    Column("state", String(12), nullable=False),  # waiting, running, done, skipped, refused, failed
    Column("why", _Long),
    Column("datetime_started", _Time),
    Column("datetime_finished", _Time),
)
result_table = Table(
    "pipeline_result",
    metadata,
    Column("step_key", String(64), primary_key=True),
    Column("step", String(64), nullable=False),  # its kind
    Column("parameters", _Long, nullable=False),  # JSON, as code, libraries, inputs and output_files
    Column("code", _Long, nullable=False),
    Column("libraries", _Long, nullable=False),
    Column("inputs", _Long, nullable=False),
    Column("output", Text),  # path of the folder
    Column("digest", String(64)),
    Column("output_files", _Long),
    Column("datetime_started", _Time, nullable=False),
    Column("datetime_finished", _Time),
    Column("host", String(128), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("owner", String(200)),
    Column("lease_until", Double),  # Unix s
    Index("pipeline_result_step", "step", "datetime_started"),
)
TABLES = (run_table, step_table, result_table)


def ddl(dialect: str) -> str:
    """The CREATE statements of all tables that the program looks for, for ``sqlite``, ``mysql``, ``mariadb`` or ``postgresql``."""
    module = __import__(f"sqlalchemy.dialects.{'mysql' if dialect == 'mariadb' else dialect}", fromlist=["dialect"])
    made = module.dialect()
    parts = []
    for table in metadata.sorted_tables:
        parts.append(str(sa.schema.CreateTable(table).compile(dialect=made)).strip() + ";")
        parts += [str(sa.schema.CreateIndex(i).compile(dialect=made)).strip() + ";" for i in table.indexes]
    return "\n\n".join(parts)


@dataclass(frozen=True, slots=True)
class Result:
    """A row of ``pipeline_result``."""

    record: Record
    attempts: int
    output: Path | None
    digest: str | None
    files: Mapping[str, str]
    finished: datetime | None
    host: str
    owner: str | None
    lease_left_s: float

    @property
    def held_by(self) -> str | None:
        """Who makes it now; None when nobody does."""
        if self.finished is not None or self.owner is None or self.lease_left_s <= 0 or gone(self.owner):
            return None
        host, _, pid, _ = self.owner.split("|")
        return f"process {pid} on {host}"


def _again(statements: Callable[..., Any]) -> Callable[..., Any]:
    """Two that write the same rows at once may be told to try again (a deadlock, a row that is there by now): they do."""

    @wraps(statements)
    def tried(*args: Any, **more: Any) -> Any:
        for left in reversed(range(6)):
            try:
                return statements(*args, **more)
            except (DatabaseAway, sa.exc.IntegrityError):
                if not left:
                    raise
                time.sleep(0.05)
        raise AssertionError

    return tried


class Results:
    """The tables. Raises ``DatabaseAway`` when the database does not answer."""

    def __init__(self, database: Database, lease_s: float = LEASE_S) -> None:
        self.database, self.lease_s = database, lease_s
        self.host = socket.gethostname()[:128]

    # ------------------------------------------------------------ results

    def find(self, key: str) -> Result | None:
        with self.database.transaction() as c:
            row = c.execute(sa.select(result_table).where(result_table.c.step_key == key)).mappings().one_or_none()
            return None if row is None else _result(row, self.database.now(c))

    def most_similar(self, record: Record) -> Record | None:
        """Of the newest results of this kind, the one with the fewest differences; None when there is none."""
        with self.database.transaction() as c:
            query = sa.select(result_table).where(result_table.c.step == record.kind)
            rows = c.execute(query.order_by(result_table.c.datetime_started.desc()).limit(ALIKE)).mappings().all()
            now = self.database.now(c)
        found = [_result(r, now).record for r in rows]
        return min(found, key=lambda r: len(record.differences(r)), default=None)

    @_again
    def claim(self, record: Record, seen: Result | None) -> int | None:
        """The number of the attempt that has the step now; None when another was faster. ``seen`` is what ``find`` gave."""
        key = record.key
        with self.database.transaction() as c:
            now = self.database.now(c)
            held = {"owner": owner(), "lease_until": now + self.lease_s, "host": self.host,
                    "datetime_started": _utc(now), "datetime_finished": None}  # fmt: skip
            if seen is not None:
                mine = sa.and_(result_table.c.step_key == key, result_table.c.attempts == seen.attempts)
                if seen.finished is None:
                    mine &= result_table.c.datetime_finished.is_(None)
                values = held | {"attempts": seen.attempts + 1}
                won = c.execute(sa.update(result_table).where(mine).values(**values)).rowcount == 1
                return seen.attempts + 1 if won else None
            values = held | {
                "step_key": key, "step": record.kind, "parameters": canonical(record.parameters), "code": canonical(dict(record.code)),
                "libraries": canonical(dict(record.libraries)), "inputs": canonical(dict(record.inputs)), "attempts": 1,
            }  # fmt: skip
            try:
                with c.begin_nested():
                    c.execute(result_table.insert().values(**values))
            except sa.exc.IntegrityError:
                return None
            return 1

    def beat(self, key: str, attempt: int, run: str | None = None) -> bool:
        """Keep the step for another lease; False when it is no longer this attempt's."""
        with self.database.transaction() as c:
            until = self.database.now(c) + self.lease_s
            kept = bool(
                c.execute(sa.update(result_table).where(_held(key, attempt)).values(lease_until=until)).rowcount == 1
            )
            if run is not None:
                c.execute(sa.update(run_table).where(run_table.c.id == run, run_table.c.owner == owner()).values(lease_until=until))  # fmt: skip
            return kept

    @_again
    def finish(self, key: str, attempt: int, output: Path, files: Mapping[str, str]) -> bool:
        """Its output stands in ``output``; False when it was no longer this attempt's."""
        with self.database.transaction() as c:
            values = {"output": str(output), "digest": sha256(dict(files)), "output_files": canonical(dict(files)),
                      "datetime_finished": _utc(self.database.now(c)), "owner": None, "lease_until": None}  # fmt: skip
            return bool(c.execute(sa.update(result_table).where(_held(key, attempt)).values(**values)).rowcount == 1)

    def release(self, key: str, attempt: int) -> None:
        """It failed or was interrupted: the next one need not wait."""
        with self.database.transaction() as c:
            c.execute(sa.update(result_table).where(_held(key, attempt)).values(owner=None, lease_until=None))

    # ------------------------------------------------------------ runs

    @_again
    def begin(
        self, pipeline: str, parameters: Mapping[str, Any], steps: Sequence[tuple[str, Sequence[str]]], held: bool
    ) -> str:
        """The id of the run of this configuration; its steps wait. ``held``: by this process, until ``end``."""
        text = canonical(parameters)
        digest = sha256(text.encode())
        id = digest[:16]
        with self.database.transaction() as c:
            now = self.database.now(c)
            values = {"state": "running", "datetime_started": _utc(now), "datetime_finished": None, "host": self.host,
                      "owner": owner() if held else None, "lease_until": now + self.lease_s if held else None}  # fmt: skip
            known = sa.update(run_table).where(run_table.c.id == id)
            if not c.execute(known.values(attempts=run_table.c.attempts + 1, **values)).rowcount:
                first = {"id": id, "pipeline": pipeline, "parameters": text, "parameters_sha256": digest, "attempts": 1}
                try:
                    with c.begin_nested():
                        c.execute(run_table.insert().values(**first, **values))
                except sa.exc.IntegrityError:  # another process began the same just now
                    c.execute(known.values(attempts=run_table.c.attempts + 1, **values))
            known_steps = {r.step for r in c.execute(sa.select(step_table.c.step).where(step_table.c.run_id == id))}
            rows = [
                _noted(n, after, "waiting", "", None, _utc(now)) | {"run_id": id, "step": name}
                for n, (name, after) in enumerate(steps)
            ]
            if known_steps != {name for name, _ in steps}:
                c.execute(sa.delete(step_table).where(step_table.c.run_id == id))
                c.execute(step_table.insert(), rows)
            else:
                c.execute(sa.update(step_table).where(step_table.c.run_id == id).values(state="waiting", why="", step_key=None, datetime_started=None, datetime_finished=None))  # fmt: skip
        return id

    def known_run(self, parameters: Mapping[str, Any]) -> str | None:
        id = sha256(canonical(parameters).encode())[:16]
        with self.database.transaction() as c:
            found: str | None = c.execute(sa.select(run_table.c.id).where(run_table.c.id == id)).scalar()
            return found

    @_again
    def note(
        self, run: str, step: str, number: int, after: Sequence[str], state: str, why: str = "", key: str | None = None
    ) -> None:
        """How a step of a run stands."""
        with self.database.transaction() as c:
            now = _utc(self.database.now(c))
            values = _noted(number, after, state, why, key, now)
            known = sa.update(step_table).where(step_table.c.run_id == run, step_table.c.step == step)
            if not c.execute(known.values(**values)).rowcount:
                try:
                    with c.begin_nested():
                        c.execute(step_table.insert().values(run_id=run, step=step, **values))
                except sa.exc.IntegrityError:  # another process noted it just now
                    c.execute(known.values(**values))

    @_again
    def end(self, run: str, state: str) -> None:
        with self.database.transaction() as c:
            values = {
                "state": state,
                "datetime_finished": _utc(self.database.now(c)),
                "owner": None,
                "lease_until": None,
            }
            c.execute(sa.update(run_table).where(run_table.c.id == run).values(**values))

    def runs(self, limit: int = 100) -> list[dict[str, Any]]:
        """The newest first; times as ISO 8601."""
        with self.database.transaction() as c:
            rows = c.execute(sa.select(run_table).order_by(run_table.c.datetime_started.desc(), run_table.c.id).limit(limit)).mappings().all()  # fmt: skip
            now = self.database.now(c)
        return [_run(r, now) for r in rows]

    def run(self, beginning: str) -> list[dict[str, Any]]:
        """Runs whose id begins so, with their steps and results."""
        with self.database.transaction() as c:
            rows = c.execute(sa.select(run_table).where(run_table.c.id.startswith(beginning, autoescape=True)).limit(2)).mappings().all()  # fmt: skip
            now = self.database.now(c)
            found = []
            for row in rows:
                joined = sa.outerjoin(step_table, result_table, step_table.c.step_key == result_table.c.step_key)
                columns = [step_table, *(result_table.c[n] for n in ("output", "digest", "host", "attempts")),
                           result_table.c.parameters.label("parameters"), result_table.c.datetime_started.label("made_started"),
                           result_table.c.datetime_finished.label("made_finished")]  # fmt: skip
                query = sa.select(*columns).select_from(joined).where(step_table.c.run_id == row["id"])
                steps = c.execute(query.order_by(step_table.c.number)).mappings().all()
                found.append(_run(row, now) | {"steps": [_step(s) for s in steps]})
        return found


def _noted(number: int, after: Sequence[str], state: str, why: str, key: str | None, now: datetime) -> dict[str, Any]:
    """The columns of a step that stands so from now on."""
    values: dict[str, Any] = {
        "number": number,
        "after": canonical(list(after)),
        "state": state,
        "why": why,
        "step_key": key,
    }
    if state in ("waiting", "running", "skipped"):
        values["datetime_started"] = None if state == "waiting" else now
    values["datetime_finished"] = None if state in ("waiting", "running") else now
    return values


def _held(key: str, attempt: int) -> Any:
    return sa.and_(result_table.c.step_key == key, result_table.c.attempts == attempt, result_table.c.datetime_finished.is_(None))  # fmt: skip


def _result(row: Any, now: float) -> Result:
    record = Record(row["step"], json.loads(row["parameters"]), json.loads(row["code"]), json.loads(row["libraries"]), json.loads(row["inputs"]))  # fmt: skip
    return Result(
        record=record,
        attempts=row["attempts"],
        output=Path(row["output"]) if row["output"] else None,
        digest=row["digest"],
        files=json.loads(row["output_files"] or "{}"),
        finished=row["datetime_finished"],
        host=row["host"],
        owner=row["owner"],
        lease_left_s=(row["lease_until"] or 0.0) - now,
    )


def _run(row: Any, now: float) -> dict[str, Any]:
    state = row["state"]
    # A run that was killed wrote nothing any more.
    if state == "running" and row["owner"] and ((row["lease_until"] or 0.0) < now or gone(row["owner"])):
        state = "interrupted"
    return {"run": row["id"], "pipeline": row["pipeline"], "state": state, "datetime_started": iso(row["datetime_started"]),
            "datetime_finished": iso(row["datetime_finished"]), "host": row["host"], "attempts": row["attempts"],
            "parameters": json.loads(row["parameters"])}  # fmt: skip


def _step(row: Any) -> dict[str, Any]:
    found = {k: row[k] for k in ("step", "state", "why", "step_key", "output", "digest", "host", "attempts")}
    for name in ("datetime_started", "datetime_finished", "made_started", "made_finished"):
        found[name] = iso(row[name])
    started, finished = row["made_started"], row["made_finished"]
    found["seconds"] = (finished - started).total_seconds() if started and finished else None
    return found | {"after": json.loads(row["after"]), "parameters": json.loads(row["parameters"] or "null")}


def _utc(t: float) -> datetime:
    return datetime.fromtimestamp(t, UTC).replace(tzinfo=None)


def iso(t: datetime | None) -> str | None:
    return None if t is None else t.isoformat(timespec="milliseconds") + "Z"


@lru_cache
def owner() -> str:
    """This process: host, process namespace, id, start; no other process has had it or will."""
    return f"{socket.gethostname()[:100]}|{_namespace()}|{os.getpid()}|{_started(os.getpid())}"


os.register_at_fork(after_in_child=lambda: owner.cache_clear())


def gone(of: str) -> bool:
    """Whether that process has ended, as far as can be seen from here: of another machine or container it is not known."""
    host, namespace, pid, started = of.split("|")
    here, mine, *_ = owner().split("|")
    return (host, namespace) == (here, mine) and _started(int(pid)) != started


def _namespace() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return boot[:8] + os.readlink("/proc/self/ns/pid").removeprefix("pid:")
    except OSError:
        return ""


def _started(pid: int) -> str:
    """When a process began, in clock ticks since boot; empty when there is none, or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]
