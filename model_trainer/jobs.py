"""Jobs with leases. A job is claimed by one conditional UPDATE, kept by beats, and finished only by the attempt that has it.

A trainer that dies, or stops for longer than its lease, loses the job to the next one; what it does afterwards changes nothing, because
each of its statements names its attempt. So a job ends once, whatever happens to trainers.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from multitaskais.errors import InputError

from .database import Database, job, schedule

LEASE_S = 30.0
ATTEMPTS_MAX = 3
LIVE = ("queued", "running")
CONF_MAX_CHARS = 60_000  # a text of MariaDB and MySQL has 65,535 bytes
_ID = re.compile("[0-9a-f]{32}")
CLAIMS = 8  # jobs that are looked at, at a time: trainers that look at once take different ones


@dataclass(frozen=True, slots=True)
class Claim:
    """A job that this trainer has, as long as its beats are in time."""

    id: str
    attempt: int
    name: str
    conf: dict[str, Any]
    conf_key: str


class Jobs:
    """The table of jobs. Raises ``DatabaseAway`` when the database does not answer."""

    def __init__(self, database: Database, lease_s: float = LEASE_S) -> None:
        self.database, self.lease_s = database, lease_s

    def submit(self, name: str, conf: dict[str, Any], attempts_max: int = ATTEMPTS_MAX) -> tuple[str, bool]:
        """(id, whether it is new): the same conf while it is queued or running is the same job.

        Raises:
            InputError: the conf is longer than a column of text is in every database.
        """
        text, key = _canonical(conf)
        new = uuid.uuid4().hex
        with self.database.transaction() as c:
            values = {"id": new, "name": name, "conf": text, "conf_key": key, "live_key": key, "state": "queued",
                      "attempt": 0, "attempts_max": attempts_max, "created": self.database.now(c)}  # fmt: skip
            try:
                with c.begin_nested():
                    c.execute(job.insert().values(**values))
                return new, True
            except sa.exc.IntegrityError:
                found = c.execute(sa.select(job.c.id).where(job.c.live_key == key)).scalar()
        return (found, False) if found else self.submit(name, conf, attempts_max)  # it ended just now

    def claim(self, owner: str) -> Claim | None:
        """The oldest job that waits, or whose trainer's lease is over; None when there is none."""
        while True:
            with self.database.transaction() as c:
                t = self.database.now(c)
                free = sa.or_(job.c.state == "queued", sa.and_(job.c.state == "running", job.c.lease_until < t))
                columns = (job.c.id, job.c.attempt, job.c.attempts_max, job.c.name, job.c.conf, job.c.conf_key)
                rows = c.execute(sa.select(*columns).where(free).order_by(job.c.created, job.c.id).limit(CLAIMS)).all()
            if not rows:
                return None
            for row in rows:
                with self.database.transaction() as c:
                    t = self.database.now(c)
                    free = sa.or_(job.c.state == "queued", sa.and_(job.c.state == "running", job.c.lease_until < t))
                    mine = sa.and_(job.c.id == row.id, job.c.attempt == row.attempt, free)
                    if row.attempt >= row.attempts_max:
                        why = f"given up after {row.attempt} attempts: the trainers that had it died"
                        c.execute(sa.update(job).where(mine).values(state="failed", error=why, finished=t, live_key=None))  # fmt: skip
                        continue
                    claimed = c.execute(
                        sa.update(job)
                        .where(mine)
                        .values(
                            state="running",
                            owner=owner,
                            attempt=row.attempt + 1,
                            lease_until=t + self.lease_s,
                            started=t,
                        )
                    )
                if claimed.rowcount == 1:
                    return Claim(row.id, row.attempt + 1, row.name, json.loads(row.conf), row.conf_key)

    def beat(self, claim: Claim, progress: float | None = None, note: str | None = None) -> bool:
        """Keep the job for another lease; False when it is no longer this attempt's (taken over, or cancelled)."""
        with self.database.transaction() as c:
            values: dict[str, Any] = {"lease_until": self.database.now(c) + self.lease_s}
            if progress is not None:
                values["progress"] = progress
            if note is not None:
                values["note"] = note
            return bool(c.execute(sa.update(job).where(_held(claim)).values(**values)).rowcount == 1)

    def finish(self, claim: Claim, state: str, result: dict[str, Any] | None = None, error: str | None = None) -> bool:
        """``done``, ``refused`` (trained, but below its limits) or ``failed``; False when it was no longer this attempt's."""
        with self.database.transaction() as c:
            values = {"state": state, "result": None if result is None else json.dumps(result), "error": error,
                      "finished": self.database.now(c), "live_key": None}  # fmt: skip
            if state != "failed":
                values["progress"] = 1.0
            return bool(c.execute(sa.update(job).where(_held(claim)).values(**values)).rowcount == 1)

    def release(self, claim: Claim) -> bool:
        """Give the job back (the trainer stops in order): the next one may have it at once, and no attempt is lost."""
        with self.database.transaction() as c:
            values = {"state": "queued", "owner": None, "attempt": claim.attempt - 1, "lease_until": None}
            return bool(c.execute(sa.update(job).where(_held(claim)).values(**values)).rowcount == 1)

    def cancel(self, id: str) -> bool:
        """False when it has ended already. Raises ``InputError`` when there is no such job."""
        if not _ID.fullmatch(id):
            raise InputError(f"no job {id[:100]!r}")
        with self.database.transaction() as c:
            values = {"state": "cancelled", "finished": self.database.now(c), "live_key": None}
            done = c.execute(sa.update(job).where(job.c.id == id, job.c.state.in_(LIVE)).values(**values)).rowcount
            if not done and c.execute(sa.select(job.c.id).where(job.c.id == id)).scalar() is None:
                raise InputError(f"no job {id!r}")
            return bool(done == 1)

    def get(self, id: str) -> dict[str, Any] | None:
        """None when there is none."""
        if not _ID.fullmatch(id):  # not every database takes every text
            return None
        with self.database.transaction() as c:
            row = c.execute(sa.select(job).where(job.c.id == id)).mappings().one_or_none()
            return None if row is None else _shown(dict(row), self.database.now(c))

    def newest(self, limit: int = 100) -> list[dict[str, Any]]:
        """The newest first."""
        with self.database.transaction() as c:
            now = self.database.now(c)
            rows = c.execute(sa.select(job).order_by(job.c.created.desc(), job.c.id).limit(limit)).mappings().all()
            return [_shown(dict(r), now) for r in rows]

    # ------------------------------------------------------------ again and again

    def submit_every(self, name: str, conf: dict[str, Any], every_s: float) -> str:
        """Submit this conf now and again each ``every_s``; the same conf again changes how often."""
        text, key = _canonical(conf)
        id = key[:32]
        with self.database.transaction() as c:
            now = self.database.now(c)
            if not c.execute(sa.update(schedule).where(schedule.c.id == id).values(every_s=every_s)).rowcount:
                known = c.execute(sa.select(schedule.c.id).where(schedule.c.id == id)).scalar()
                if known is None:
                    c.execute(schedule.insert().values(id=id, conf=text, every_s=every_s, next_at=now))
        return id

    def unschedule(self, id: str) -> bool:
        with self.database.transaction() as c:
            return bool(c.execute(sa.delete(schedule).where(schedule.c.id == id)).rowcount == 1)

    def schedules(self) -> list[dict[str, Any]]:
        with self.database.transaction() as c:
            rows = c.execute(sa.select(schedule).order_by(schedule.c.next_at)).mappings().all()
            return [dict(r) | {"conf": json.loads(r["conf"])} for r in rows]

    def submit_due(self) -> list[str]:
        """Submit what is due; of the trainers that look at once, one does."""
        submitted = []
        with self.database.transaction() as c:
            now = self.database.now(c)
            rows = c.execute(sa.select(schedule).where(schedule.c.next_at <= now)).all()
        for row in rows:
            missed = int((now - row.next_at) // row.every_s)
            following = row.next_at + (missed + 1) * row.every_s  # what was missed is not made up for
            with self.database.transaction() as c:
                mine = sa.and_(schedule.c.id == row.id, schedule.c.next_at == row.next_at)
                won = c.execute(sa.update(schedule).where(mine).values(next_at=following)).rowcount == 1
            if won:
                conf = json.loads(row.conf)
                submitted.append(self.submit(conf["publish"]["name"] if "publish" in conf else row.id, conf)[0])
        return submitted


def _held(claim: Claim) -> Any:
    return sa.and_(job.c.id == claim.id, job.c.attempt == claim.attempt, job.c.state == "running")


def _canonical(conf: dict[str, Any]) -> tuple[str, str]:
    text = json.dumps(conf, sort_keys=True, separators=(",", ":"))
    if len(text) > CONF_MAX_CHARS:
        raise InputError(f"the conf has {len(text):,} characters, at most {CONF_MAX_CHARS:,} are kept: name folders or globs in `archive`")  # fmt: skip
    return text, hashlib.sha256(text.encode()).hexdigest()


def _shown(row: dict[str, Any], now: float) -> dict[str, Any]:
    """A job as users see it, with an estimate of what is left."""
    left = None
    if row["state"] == "running" and row["progress"] and row["started"] and row["progress"] > 0.02:
        left = round((now - row["started"]) * (1.0 - row["progress"]) / row["progress"], 1)
    return {
        **{k: row[k] for k in ("id", "name", "state", "attempt", "attempts_max", "owner", "progress", "note", "created", "started", "finished", "error")},
        "left_s": left,
        "result": None if row["result"] is None else json.loads(row["result"]),
        "conf": json.loads(row["conf"]),
    }  # fmt: skip
