"""What a step is: a class with settings, a parameter provider and work to do. Steps of your own are written against this file.

    class Count(Step):
        kind = "count"
        after = ("tracks",)

        def provide(self, conf, results):                      # configuration and earlier results -> parameters and inputs
            return Given({}, {"tracks": Files(results["tracks"])})

        def run(self, work):
            n = len(list(work.path("tracks").iterdir()))
            (work.folder / "count.txt").write_text(str(n))

``docs/pipeline.md`` has a whole one.
"""

from __future__ import annotations

import glob
import json
import os
import subprocess
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

import msgspec

from multitaskais.config import Region
from multitaskais.errors import InputError

from .. import child
from .keys import FileDigests, sha256

LIBRARIES = ("numpy", "scipy", "pyarrow")
PROGRESS_S = 10.0  # between two lines about a command that works
LINE_BYTES = 4096


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The table of a step in the configuration; limits of values stand in ``msgspec.Meta``."""


@dataclass(frozen=True, slots=True)
class Conf:
    """A configuration that was read and checked.

    Attributes:
        tables: step kind -> its settings.
        values: all of it as JSON, defaults filled in.
        format: of the archive; None: it is recognised by itself.
        columns: of a table, our field -> its column.
    """

    pipeline: str
    region: Region
    archive: tuple[str, ...]  # files, folders, patterns; absolute
    last_days: float | None
    tables: Mapping[str, Any]
    values: Mapping[str, Any]
    format: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)

    def reading(self) -> dict[str, Any]:
        """How the archive is to be read, where it is not recognised by itself; JSON."""
        return {k: v for k, v in (("format", self.format), ("columns", dict(self.columns))) if v}


def reading_options(reading: Mapping[str, Any]) -> list[str]:
    """``Conf.reading`` as options of the commands that read archives."""
    columns = ",".join(f"{field}={name}" for field, name in reading.get("columns", {}).items())
    return [
        *(["--format", reading["format"]] if "format" in reading else []),
        *(["--columns", columns] if columns else []),
    ]


class Input(Protocol):
    """Something that a step reads. Equal contents have equal digests."""

    def digest(self, files: FileDigests) -> str: ...


@dataclass(frozen=True, slots=True)
class Files:
    """A file, or all files of a folder with their names; names that begin with ``_`` or ``.`` are left out."""

    path: Path

    def digest(self, files: FileDigests) -> str:
        if self.path.is_file():
            return files.of(self.path)
        return sha256({n: d for n, d in files.below(self.path).items() if not any(p[0] in "._" for p in n.split("/"))})


@dataclass(frozen=True, slots=True)
class Contents:
    """The files of a folder without their names: Spark gives them other names each time."""

    path: Path

    def digest(self, files: FileDigests) -> str:
        return sha256(
            sorted(d for n, d in files.below(self.path).items() if not any(p[0] in "._" for p in n.split("/")))
        )


@dataclass(frozen=True, slots=True)
class Measured:
    """A file that says how long something took. It is read and is in no key: another measurement makes no other result."""

    path: Path

    def digest(self, files: FileDigests) -> str:
        return "measured"


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A model: its version, which is made of all its files."""

    path: Path

    def digest(self, files: FileDigests) -> str:
        try:
            return str(json.loads((self.path / "manifest.json").read_bytes())["version"])
        except (OSError, ValueError, KeyError, TypeError):
            raise InputError(f"{self.path} is no model folder: it has no manifest.json with a version") from None


@dataclass(frozen=True, slots=True)
class Archive:
    """Files, folders and patterns: their contents, and their names below the part that has no pattern."""

    patterns: tuple[str, ...]

    def digest(self, files: FileDigests) -> str:
        found = []
        for pattern in self.patterns:
            for name, file in _below(pattern):
                try:
                    found.append([name, files.of(file)])
                except OSError as e:
                    raise InputError(f"{file}: {e.strerror}") from None
        return sha256(found)


def _below(pattern: str) -> list[tuple[str, str]]:
    """(name, path) of the files. Raises ``InputError`` when there are none."""
    if os.path.isfile(pattern):
        return [(os.path.basename(pattern), pattern)]
    if os.path.isdir(pattern):
        base, there = pattern, [os.path.join(w, n) for w, _, names in os.walk(pattern) for n in names]
        there = [f for f in there if not any(p[0] in "._" for p in os.path.relpath(f, base).split(os.sep))]
    else:
        base = os.path.dirname(pattern[: next((i for i, c in enumerate(pattern) if c in "*?["), 0)])
        there = [f for f in glob.glob(pattern, recursive=True) if os.path.isfile(f)]
    if not there:
        raise InputError(f"archive: {pattern} is no file, and no folder or pattern with a file in it")
    return [(os.path.relpath(f, base), f) for f in sorted(there)]


@dataclass(frozen=True, slots=True)
class Given:
    """What a step is given: ``parameters`` are JSON values, ``inputs`` have digests; both are in its key."""

    parameters: Mapping[str, Any]
    inputs: Mapping[str, Input] = field(default_factory=dict)


class Work:
    """One step at work.

    Attributes:
        folder: empty, or with what an interrupted attempt left (``Step.resumes``); what is in it at the end is the step's output.
        log: what commands write goes there.
    """

    def __init__(self, given: Given, folder: Path, log: Path, say: Callable[[str], None]) -> None:
        self.given, self.folder, self.log, self._say = given, folder, log, say
        self._child: subprocess.Popen[bytes] | None = None
        self._ended = False

    @property
    def parameters(self) -> Mapping[str, Any]:
        return self.given.parameters

    def path(self, name: str) -> Path:
        """Of an input."""
        found = self.given.inputs[name]
        assert isinstance(found, Files | Contents | Measured | ModelFolder)
        return found.path

    def say(self, text: str) -> None:
        """One line for the user."""
        self._say(text)

    def multitaskais(self, *words: str | Path) -> None:
        """``multitaskais WORDS`` in a process of its own; its newest line is said from time to time. Raises ``StepFailed`` with its last line."""
        with self._progress():
            child.multitaskais(*words, log=self.log, started=self._started)

    def command(self, command: list[str], what: str, env: Mapping[str, str] | None = None) -> None:
        """Any command; no shell reads it. Raises ``StepFailed`` with its last line, after ``what``."""
        with self._progress():
            child.run(command, what, self.log, env, self._started)

    @contextmanager
    def _progress(self) -> Iterator[None]:
        """Meanwhile the newest line of the log is said, where it is another one."""
        over = threading.Event()

        def show() -> None:
            said = ""
            while not over.wait(PROGRESS_S):
                if (line := newest_line(self.log)) not in ("", said):
                    said = line
                    self.say(line)

        thread = threading.Thread(target=show, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def end(self) -> None:
        """From another thread: kill the command that runs, and each that is begun after this."""
        self._ended = True
        if self._child is not None:
            self._child.kill()

    def _started(self, process: subprocess.Popen[bytes]) -> None:
        self._child = process
        if self._ended:
            process.kill()


def newest_line(log: Path) -> str:
    """The last whole line of a log that is being written; a bar that is drawn over itself counts with its last state."""
    with log.open("rb") as f:
        f.seek(max(0, f.seek(0, os.SEEK_END) - LINE_BYTES))
        lines = f.read().decode(errors="replace").replace("\r", "\n").rpartition("\n")[0].split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


class Step(ABC):
    """A step of a pipeline.

    Attributes:
        kind: its table in the configuration; letters, digits and ``_``.
        name: in its pipeline; the kind, unless a pipeline has several of one kind.
        after: names of the steps that have to be done before it.
        settings: of its table.
        modules: of the code that it runs, beside its own module: it is done again when one of them, or what they import, changes.
        libraries: distributions whose versions matter.
        resumes: whether it goes on with the folder of an attempt that was interrupted; else the folder is empty at the start.
    """

    kind: str
    after: tuple[str, ...] = ()
    settings: ClassVar[type[Settings]] = Settings
    modules: ClassVar[tuple[str, ...]] = ()
    libraries: tuple[str, ...] = LIBRARIES
    resumes: bool = False

    def __init__(self, name: str | None = None) -> None:
        self.name = name or self.kind

    @abstractmethod
    def provide(self, conf: Conf, results: Mapping[str, Path]) -> Given:
        """The parameter provider: configuration and folders of earlier steps -> what this step is given."""

    @abstractmethod
    def run(self, work: Work) -> None:
        """Do it; output goes into ``work.folder``. Raises errors of ``multitaskais.errors``."""

    def code(self, conf: Conf) -> tuple[str, ...]:
        """All modules of its code."""
        return (type(self).__module__, *self.modules)

    def refusal(self, folder: Path) -> str | None:
        """Why the pipeline ends after this step with the answer no, read from its output; None: it goes on."""
        return None

    def is_there(self, folder: Path) -> bool:
        """Whether what it made outside of its folder is still there."""
        return True
