"""The embedded runner: each step in its order, skipped when its key is known, finished, and its output is there and unchanged.

A step writes into ``.KEY.part`` beside its place and is renamed when it is done, so a folder with a step's name is whole; what was made with
other parameters stays beside it. While it works a thread keeps its lease. When the lease is lost (this process was stopped for longer), the
step's command is killed and nothing of it counts.
"""

from __future__ import annotations

import shutil
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from multitaskais.errors import ConfigError, InputError, MultitaskAISError

from ..database import DatabaseAway
from .keys import SHOWN, FileDigests, Record, code_of, sha256, versions_of
from .results import Result, Results
from .step import Conf, Given, Step, Work

KEY_DIGITS = 16
WAIT_S = 0.2  # between two looks at a step that another run makes


class StepBroken(MultitaskAISError):
    """The code of a step raised what is no error of ``multitaskais.errors``: correct it, where the message says."""

    @classmethod
    def of(cls, e: Exception, log: Path | None = None) -> StepBroken:
        """One line with the place; the whole traceback at the end of ``log``."""
        place = traceback.extract_tb(e.__traceback__)[-1]
        what = " ".join(str(e).split())
        where = f"{place.filename}, line {place.lineno}"
        if log is not None:
            with log.open("a") as f:
                traceback.print_exception(e, file=f)
            where += f"; all of it: {log}"
        return cls(f"{type(e).__name__}: {what} ({where})")


def _readable(e: Exception, log: Path | None = None) -> MultitaskAISError:
    """An error with one line for the user."""
    if isinstance(e, MultitaskAISError):
        return e
    if isinstance(e, OSError) and e.strerror:
        return InputError(f"{e.strerror}: {e.filename}" if e.filename else e.strerror)
    return StepBroken.of(e, log)


class StepLost(MultitaskAISError):
    """Another process has taken the step over, because this one was not heard from for a lease. Run the same command again."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a step ended.

    Attributes:
        state: done, skipped, refused, failed; planned (dry run: it would be done).
        why: the reason to do it, or since when it is done.
        folder: its output; None when there is none.
    """

    step: str
    state: str
    why: str
    seconds: float = 0.0
    folder: Path | None = None


class Runner:
    """Does the steps of a configuration.

    Args:
        out: OUT/KIND/KEY is the folder of an output.
        say: is given one line at a time, for the user.
        ended: is given each step's outcome when it has ended, in ``run``.
    """

    def __init__(
        self,
        conf: Conf,
        steps: Sequence[Step],
        results: Results,
        out: Path,
        files: FileDigests,
        say: Callable[[str], None] = lambda _: None,
        ended: Callable[[Outcome], None] = lambda _: None,
    ) -> None:
        self.conf, self.steps, self._results, self._out, self._files, self._say = conf, steps, results, out, files, say
        self._step_ended = ended
        names = [s.name for s in steps]
        self.after = {s.name: [a for a in s.after if a in names] for s in steps}

    def run(self, force: Sequence[str] = ()) -> tuple[str, list[Outcome]]:
        """(id of the run, how its steps ended); the last one is ``failed`` or ``refused`` where it ends early.

        Raises:
            ConfigError: ``force`` names no step.
            DatabaseAway: it does not answer.
            StepLost: another process has taken a step over.
        """
        self._require(force)
        run = self._results.begin(self.conf.pipeline, self.conf.values, self._order(), held=True)
        ended, state = list[Outcome](), "interrupted"
        try:
            folders: dict[str, Path] = {}
            for step in self.steps:
                outcome = self._one(run, step, folders, step.name in force, make=True)
                ended.append(outcome)
                self._step_ended(outcome)
                if outcome.folder is None or outcome.state == "refused":
                    state = outcome.state
                    break
                folders[step.name] = outcome.folder
            else:
                state = "done"
        finally:
            self._files.save()
            self._results.end(run, state)
        return run, ended

    def step(self, name: str, force: bool = False) -> tuple[str, Outcome]:
        """Do one step, as an engine outside calls it; the steps before it must have been done.

        Raises ``InputError`` when one of them is not done, else as ``run``.
        """
        self._require([name])
        run = self._results.known_run(self.conf.values)
        if run is None or name == self.steps[0].name:
            run = self._results.begin(self.conf.pipeline, self.conf.values, self._order(), held=False)
        folders: dict[str, Path] = {}
        try:
            for step in self.steps:
                if step.name == name:
                    outcome = self._one(run, step, folders, force, make=True)
                    last = step.name == self.steps[-1].name
                    if last or outcome.state in ("failed", "refused"):
                        self._results.end(
                            run, "done" if outcome.folder and outcome.state != "refused" else outcome.state
                        )
                    return run, outcome
                if step.name not in self._before(name):
                    continue
                found = self._one(None, step, folders, False, make=False)
                if found.folder is None:
                    raise InputError(
                        f"{name}: the step {step.name} before it is not done ({found.why}): do that one first"
                    )
                if found.state == "refused":
                    return run, Outcome(name, "refused", found.why)
                folders[step.name] = found.folder
        finally:
            self._files.save()
        raise AssertionError(name)

    def plan(self, force: Sequence[str] = ()) -> list[Outcome]:
        """What ``run`` would do; nothing is done or written."""
        self._require(force)
        folders: dict[str, Path] = {}
        planned: list[Outcome] = []
        for step in self.steps:
            waits = [a for a in self.after[step.name] if a not in folders]
            if waits:
                planned.append(Outcome(step.name, "planned", f"when what {' and '.join(waits)} will make is new"))
                continue
            outcome = self._one(None, step, folders, step.name in force, make=False)
            planned.append(outcome)
            if outcome.state == "refused":
                break
            if outcome.folder is not None:
                folders[step.name] = outcome.folder
        return planned

    # ------------------------------------------------------------ one step

    def _one(self, run: str | None, step: Step, folders: Mapping[str, Path], forced: bool, make: bool) -> Outcome:
        """Do the step where that is needed; ``make`` false: only say whether it is."""
        began = time.monotonic()
        key: str | None = None
        try:
            given = step.provide(self.conf, {a: folders[a] for a in self.after[step.name]})
            record = Record(
                kind=step.kind,
                parameters=dict(given.parameters),
                code=code_of(step.code(self.conf), self._files),
                libraries=versions_of(step.libraries),
                inputs={name: i.digest(self._files) for name, i in given.inputs.items()},
            )
            key = record.key
            waited = False
            while True:
                found = self._results.find(key)
                if found is not None and (holder := found.held_by) is not None:
                    if not make:
                        return Outcome(step.name, "planned", f"{holder} is making it")
                    if not waited:
                        self._say(f"{step.name}: waits for {holder}, which is making the same")
                        waited = True
                    time.sleep(WAIT_S)
                    continue
                why = self._reason(step, record, found, forced and not waited)
                if why is None:
                    assert found is not None
                    assert found.output is not None
                    since = f"done {found.finished:%Y-%m-%d %H:%M:%S} UTC" + (f" on {found.host}" if found.host != self._results.host else "")  # fmt: skip
                    return self._ended(run, step, key, "skipped", since, began, found.output)
                if not make:
                    return Outcome(step.name, "planned", why)
                attempt = self._results.claim(record, found)
                if attempt is not None:
                    break
            self._say(f"{step.name}: {why}")
            self._note(run, step, "running", why, key)
            folder = self._make(run, step, given, record, attempt)
            return self._ended(run, step, key, "done", why, began, folder)
        except (DatabaseAway, StepLost):
            raise
        except Exception as e:
            known = _readable(e)
            if not make:
                raise known from None
            self._note(run, step, "failed", str(known), key)
            return Outcome(step.name, "failed", str(known), time.monotonic() - began)

    def _ended(
        self, run: str | None, step: Step, key: str, state: str, why: str, began: float, folder: Path
    ) -> Outcome:
        refusal = step.refusal(folder)
        if refusal is not None:
            state, why = "refused", refusal
        self._note(run, step, state, why, key)
        return Outcome(step.name, state, why, time.monotonic() - began, folder)

    def _reason(self, step: Step, record: Record, found: Result | None, forced: bool) -> str | None:
        """Why the step must be done; None: it need not."""
        if found is None:
            similar = self._results.most_similar(record)
            return "new" if similar is None else "; ".join(record.differences(similar)) or "new"
        if found.finished is None:
            return "not finished"
        if found.output is None or not found.output.is_dir():
            return f"output gone: {found.output}"
        there = self._files.below(found.output, unreadable="cannot be read")
        if sha256(there) != found.digest:
            names = sorted(n for n in {*there, *found.files} if there.get(n) != found.files.get(n))
            gone = [n for n in names if n not in there]
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            kind = "output gone" if gone == names else "output tampered"
            return f"{kind}: {', '.join(names[:SHOWN])}{more} in {found.output}"
        if not step.is_there(found.output):
            return "output gone: what it made outside of its folder"
        return "forced" if forced else None

    def _make(self, run: str | None, step: Step, given: Given, record: Record, attempt: int) -> Path:
        key = record.key
        place = self._out.absolute() / step.kind / key[:KEY_DIGITS]
        part = place.with_name(f".{place.name}.part")
        log = place.with_name(f"{place.name}.log")
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            if not step.resumes:
                shutil.rmtree(part, ignore_errors=True)
            part.mkdir(exist_ok=True)
            log.write_bytes(b"")
        except OSError:
            self._results.release(key, attempt)
            raise
        work = Work(given, part, log, lambda text: self._say(f"{step.name}: {text}"))
        with _Lease(self._results, key, attempt, run, work) as lease:
            try:
                step.run(work)
                lease.require()
                old = place.with_name(f".{place.name}.old")
                shutil.rmtree(old, ignore_errors=True)
                if place.exists():
                    place.rename(old)
                part.rename(place)
                shutil.rmtree(old, ignore_errors=True)
                if not self._results.finish(key, attempt, place, self._files.below(place)):
                    raise StepLost(f"{step.name}: another process has taken it over: run the same command again")
            except BaseException as e:
                # A command that was killed because the lease was lost is no fault of the step.
                lease.require()
                if not step.resumes:
                    shutil.rmtree(part, ignore_errors=True)
                if not isinstance(e, StepLost):
                    self._results.release(key, attempt)
                if isinstance(e, Exception):
                    raise _readable(e, log) from None
                raise
        return place

    # ------------------------------------------------------------ small things

    def _note(self, run: str | None, step: Step, state: str, why: str, key: str | None) -> None:
        if run is not None:
            self._results.note(run, step.name, self.steps.index(step), self.after[step.name], state, why, key)

    def _order(self) -> list[tuple[str, list[str]]]:
        return [(s.name, self.after[s.name]) for s in self.steps]

    def _before(self, name: str) -> set[str]:
        """Steps that this one needs, directly or not, and those whose refusal would end the pipeline before it."""
        found, todo = set[str](), [name]
        while todo:
            for before in self.after[todo.pop()]:
                if before not in found:
                    found.add(before)
                    todo.append(before)
        return found

    def _require(self, names: Sequence[str]) -> None:
        there = [s.name for s in self.steps]
        if unknown := [n for n in names if n not in there]:
            raise ConfigError(f"no step {unknown[0]!r} in this pipeline; there are: {', '.join(there)}")


class _Lease:
    """Keeps a step while the body works; ends its command when it cannot be kept."""

    def __init__(self, results: Results, key: str, attempt: int, run: str | None, work: Work) -> None:
        self._results, self._key, self._attempt, self._run, self._work = results, key, attempt, run, work
        self._over, self._error = threading.Event(), None
        self._thread = threading.Thread(target=self._keep, daemon=True)
        self._away: DatabaseAway | None = None
        self._lost = False

    def __enter__(self) -> _Lease:
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._over.set()
        self._thread.join()

    def require(self) -> None:
        """Raise unless the step is still ours."""
        if self._away is not None:
            raise self._away
        if self._lost:
            raise StepLost("another process has taken the step over: run the same command again")

    def _keep(self) -> None:
        kept_until = time.monotonic() + self._results.lease_s
        while not self._over.wait(self._results.lease_s / 3):
            try:
                if not self._results.beat(self._key, self._attempt, self._run):
                    self._lost = not self._over.is_set()
                    break
                kept_until = time.monotonic() + self._results.lease_s
            except DatabaseAway as e:
                if time.monotonic() > kept_until:
                    self._away = e
                    break
        if self._lost or self._away is not None:
            self._work.end()


def print_line(text: str) -> None:
    """To standard error, at once."""
    print(text, file=sys.stderr, flush=True)
