"""The database: SQLite by default, MariaDB, MySQL or PostgreSQL by URL; SQLAlchemy Core, the same statements on all.

Only the database's own clock counts: trainers on several machines have several clocks.
"""

from __future__ import annotations

import re
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, Double, Index, Integer, MetaData, String, Table, Text, event
from sqlalchemy.engine import Connection, Engine

from multitaskais.errors import ConfigError, MultitaskAISError

SCHEMA_VERSION = 1
metadata = MetaData()

job = Table(
    "job",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("name", String(64), nullable=False),  # of the model
    Column("conf", Text, nullable=False),  # JSON
    Column("conf_key", String(64), nullable=False),  # sha256 of the conf: checkpoints of equal jobs are found by it
    Column("state", String(12), nullable=False),  # queued, running, done, refused, failed, cancelled
    Column("attempt", Integer, nullable=False, default=0),
    Column("attempts_max", Integer, nullable=False, default=3),
    Column("owner", String(128)),
    Column("lease_until", Double),  # Unix s by the database's clock, as all times here
    Column("progress", Double),  # 0..1
    Column("note", Text),
    Column("created", Double, nullable=False),
    Column("started", Double),
    Column("finished", Double),
    Column("result", Text),  # JSON
    Column("error", Text),
    Column("live_key", String(64), unique=True),  # conf_key while queued or running: the same job is not queued twice
    Index("job_state", "state", "created"),
    mysql_charset="utf8mb4",  # the last line of a command may hold any letter
    mariadb_charset="utf8mb4",
)
schedule = Table(
    "schedule",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("conf", Text, nullable=False),
    Column("every_s", Double, nullable=False),
    Column("next_at", Double, nullable=False),
)
schema_version = Table("schema_version", metadata, Column("version", Integer, primary_key=True))

# SQLite's unixepoch('subsec') is NULL before 3.42.
_NOW = {
    "sqlite": "(julianday('now') - 2440587.5) * 86400.0",
    "mysql": "unix_timestamp(now(6))",
    "mariadb": "unix_timestamp(now(6))",
    "postgresql": "extract(epoch from clock_timestamp())",
}


# Asked again, it says the same: a wrong password, a database or a folder that is not there, a file of another program.
_REFUSED = re.compile(r"access denied|authentication failed|unknown database|role .* does not exist|database .* does not exist|no password supplied|not a database|unable to open|readonly database", re.I)  # fmt: skip


class DatabaseAway(MultitaskAISError):
    """The database does not answer: trying again may help."""


class DatabaseRefused(ConfigError):
    """The database answers and lets us do nothing, or is none of ours. Correct DATABASE_URL."""


class Database:
    """Connections to the database of ``url``; its tables are made when they are missing. They are closed by ``close``, or when nobody
    has the object any more, or when the process ends."""

    def __init__(self, url: str) -> None:
        try:
            self.engine: Engine = sa.create_engine(url, pool_pre_ping=True, **_options(url))
        except (sa.exc.ArgumentError, ImportError, ValueError) as e:
            shown = url.split("@")[-1]
            raise ConfigError(f"DATABASE_URL ...{shown}: {_first_line(e)} (sqlite:///FILE, mysql+pymysql://..., postgresql+psycopg://...)") from None  # fmt: skip
        self._close = weakref.finalize(self, self.engine.dispose)
        if self.engine.dialect.name not in _NOW:
            raise ConfigError(f"DATABASE_URL: {self.engine.dialect.name} is not supported; use SQLite, MySQL, MariaDB or PostgreSQL")  # fmt: skip
        if self.engine.dialect.name == "sqlite":
            event.listen(self.engine, "connect", _sqlite_pragmas)
            event.listen(self.engine, "begin", lambda c: c.exec_driver_sql("BEGIN IMMEDIATE"))
        self._now = sa.select(sa.text(_NOW[self.engine.dialect.name]))
        self._make()

    def _make(self) -> None:
        with self.transaction() as c:
            if self.engine.dialect.name == "postgresql":
                c.execute(sa.text("select pg_advisory_xact_lock(20260131)"))  # two that start at once
            with self._one_at_a_time(c):
                metadata.create_all(c)
            found = c.execute(sa.select(schema_version.c.version)).scalars().all()
            if not found:
                try:
                    with c.begin_nested():
                        c.execute(schema_version.insert().values(version=SCHEMA_VERSION))
                except sa.exc.IntegrityError:
                    found = [SCHEMA_VERSION]
        if found and max(found) > SCHEMA_VERSION:
            raise ConfigError(f"the database has tables of version {max(found)}, this program knows {SCHEMA_VERSION}: use a newer program")  # fmt: skip

    @contextmanager
    def _one_at_a_time(self, c: Connection) -> Iterator[None]:
        """MySQL's CREATE TABLE is no part of a transaction: of two that start at once, one would find a table that was not there before."""
        if self.engine.dialect.name not in ("mysql", "mariadb"):
            yield
            return
        c.execute(sa.text("select get_lock('multitaskais tables', 60)"))
        try:
            yield
        finally:
            c.execute(sa.text("do release_lock('multitaskais tables')"))

    def close(self) -> None:
        """Close the connections; a further transaction would open others."""
        self._close()

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Raises ``DatabaseAway`` when it cannot be reached, ``DatabaseRefused`` when asking again is of no use."""
        try:
            with self.engine.begin() as c:
                yield c
        except sa.exc.IntegrityError:
            raise  # the statement's own business
        except sa.exc.DBAPIError as e:
            away = isinstance(e, sa.exc.OperationalError | sa.exc.InterfaceError | sa.exc.InternalError)
            if not away or _REFUSED.search(str(e.orig)):
                raise DatabaseRefused(
                    f"DATABASE_URL: the database refuses ({_first_line(e)}): give another one, or the rights"
                ) from None
            raise DatabaseAway(f"the database does not answer ({_first_line(e)}): try again") from None

    def now(self, c: Connection) -> float:
        """Unix s by the database's clock."""
        return float(c.execute(self._now).scalar_one())


def _options(url: str) -> dict[str, Any]:
    if url.startswith("sqlite"):
        # Autocommit: we say BEGIN IMMEDIATE ourselves, so that a claim does not read before it may write.
        return {"isolation_level": None, "connect_args": {"timeout": 20.0}}
    if "pymysql" in url:
        return {"isolation_level": "READ COMMITTED", "connect_args": {"connect_timeout": 5, "read_timeout": 20, "write_timeout": 20}}  # fmt: skip
    return {"isolation_level": "READ COMMITTED", "connect_args": {"connect_timeout": 5}}


def _sqlite_pragmas(connection: Any, _: Any) -> None:
    connection.isolation_level = None
    connection.execute("PRAGMA busy_timeout=20000")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")


def _first_line(e: BaseException) -> str:
    return (str(getattr(e, "orig", None) or e).strip().splitlines() or [type(e).__name__])[0][:200]
