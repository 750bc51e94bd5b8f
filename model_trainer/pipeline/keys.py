"""When is a step the same? The digests of files, of the code that a step runs, and the key that is made of them.

A key is the sha256 of what a step was given: parameters, sources of the code, versions of libraries, contents of inputs. Two steps of one key
make the same output, so it is made once.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import msgspec

from multitaskais.errors import ConfigError

OURS = (
    "multitaskais",
    "tracks_builder",
    "model_trainer",
)  # packages whose modules count as code, beside that of a step
# How steps are run, and not what they do: a change there makes no output another.
FRAMEWORK = ("model_trainer.pipeline.step", "model_trainer.pipeline.keys", "model_trainer.child")
SETTLED_S = 0.1  # a file that changed so lately may change again within one tick of the file system's clock
SHOWN = 3  # names in a reason
SHOWN_INPUTS = 8
BLOCK_BYTES = 1 << 20
CACHE_VERSION = 1
_parsing = threading.Lock()  # CPython 3.11's parser fails when two threads parse at once


def canonical(value: Any) -> str:
    """JSON that is equal for equal values."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def sha256(value: Any) -> str:
    """Of bytes, or of a value's canonical JSON; hex."""
    return hashlib.sha256(value if isinstance(value, bytes) else canonical(value).encode()).hexdigest()


class _Kept(msgspec.Struct):
    """The file of ``FileDigests``."""

    version: int
    files: dict[
        str, tuple[int, int, int, int, str]
    ]  # path -> size, time of change of contents and of the inode (ns), inode, sha256
    imports: dict[str, list[str]]  # sha256 of a source -> what it imports


class FileDigests:
    """sha256 of files; a file that has size, times and inode of before is not read again.

    Args:
        cache: where they are kept from one run to the next; None: nowhere.
    """

    def __init__(self, cache: Path | None = None) -> None:
        self._cache = cache
        self._known: dict[str, tuple[int, int, int, int, str]] = {}
        self._imports: dict[str, list[str]] = {}
        self._changed = False
        if cache is not None:
            try:
                kept = msgspec.json.decode(cache.read_bytes(), type=_Kept)
                if kept.version == CACHE_VERSION:
                    self._known, self._imports = kept.files, kept.imports
            except (OSError, msgspec.MsgspecError):
                pass  # it is only faster with it

    def of(self, path: Path | str) -> str:
        """Of one file. Raises ``OSError``."""
        name = os.path.abspath(path)
        stat = os.stat(name)
        # The time of change of the inode cannot be set, so contents that were exchanged under an old date are seen.
        mark = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)
        known = self._known.get(name)
        if known is not None and known[:4] == mark:
            return known[4]
        found = hashlib.sha256()
        with open(name, "rb") as f:
            while block := f.read(BLOCK_BYTES):
                found.update(block)
        digest = found.hexdigest()
        if time.time() - stat.st_ctime > SETTLED_S:
            self._known[name] = (*mark, digest)
            self._changed = True
        return digest

    def below(self, folder: Path, unreadable: str | None = None) -> dict[str, str]:
        """Path below the folder -> sha256, of all its files; of a link, of where it leads.

        ``unreadable`` stands for what cannot be read; where it is None that raises ``OSError``.
        """
        found: dict[str, str] = {}
        for where, folders, names in os.walk(folder):
            folders.sort()
            for name in sorted(names):
                file = Path(where, name)
                try:
                    digest = self.of(file)
                except OSError:
                    if unreadable is None:
                        raise
                    digest = unreadable
                found[file.relative_to(folder).as_posix()] = digest
        return found

    def imports_of(self, file: Path, digest: str) -> list[str]:
        """What a source of this digest names in import statements, as ``level:module:name``. Raises ``SyntaxError``, ``ValueError``."""
        if digest not in self._imports:
            with _parsing:
                self._imports[digest] = sorted(set(_imports(ast.parse(file.read_bytes()).body)))
            self._changed = True
        return self._imports[digest]

    def save(self) -> None:
        """Keep what was computed; of two that save at once, one is kept."""
        if self._cache is None or not self._changed:
            return
        part = self._cache.with_name(f".{self._cache.name}.{os.getpid()}.{threading.get_ident()}")
        try:
            part.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(msgspec.json.encode(_Kept(CACHE_VERSION, self._known, self._imports)))
            part.replace(self._cache)
        except OSError:
            return  # it is only slower without it
        self._changed = False


def _imports(statements: Iterable[ast.AST]) -> Iterator[str]:
    for node in statements:
        if isinstance(node, ast.Import):
            yield from (f"0:{alias.name}:" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.level}:{node.module or ''}:{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            yield from _imports(node.orelse)  # what only types need does not run
        else:
            yield from _imports(ast.iter_child_nodes(node))


@cache
def package_folder(name: str) -> Path | None:
    """The folder of a top-level package, or the file of a top-level module; nothing is imported."""
    loaded = sys.modules.get(name)
    file = getattr(loaded, "__file__", None)
    if file is None:
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, ValueError):
            return None
        if spec is None or spec.origin is None:
            return None
        file = spec.origin
    path = Path(file)
    return path.parent if path.name == "__init__.py" else path


@cache
def source_of(module: str) -> Path | None:
    """The file of a module, found by its path: looking it up the usual way would import its parents."""
    top, *rest = module.split(".")
    folder = package_folder(top)
    if folder is None:
        return None
    if folder.is_file():
        return folder if not rest else None
    base = folder.joinpath(*rest)
    for file in (base.with_name(base.name + ".py"), base / "__init__.py") if rest else (base / "__init__.py",):
        if file.is_file():
            return file
    return None


def code_of(modules: Iterable[str], files: FileDigests) -> dict[str, str]:
    """``package/file.py`` -> sha256, of the modules and of all that they import, directly or not, within ``OURS`` and their own packages.

    An import inside a function counts, one for types alone does not; a name that is only computed is not seen. Raises ``ConfigError`` when a
    module is not found or cannot be read.
    """
    asked = list(modules)
    roots = {*OURS, *(m.split(".")[0] for m in asked)}
    found: dict[str, str] = {}
    seen: set[str] = set()
    todo = list(asked)
    while todo:
        module = todo.pop()
        if module in seen or module in FRAMEWORK:
            continue
        seen.add(module)
        file = source_of(module)
        if file is None:
            if module in asked:
                raise ConfigError(
                    f"the code of a step is in {module!r}, and there is no such module: install its package"
                )
            continue  # a name inside of a module
        package, _, name = module.rpartition(".")
        if package:
            todo.append(package)
        top = module.split(".")[0]
        folder = package_folder(top)
        shown = top if folder is None or folder.is_file() else f"{top}/{file.relative_to(folder).as_posix()}"
        digest = found[shown] = files.of(file)
        parent = module if file.name == "__init__.py" else package
        try:
            named = files.imports_of(file, digest)
        except (SyntaxError, ValueError) as e:
            raise ConfigError(f"{file}: {e}") from None
        for text in named:
            level, base, name = text.split(":")
            if int(level):
                kept = parent.split(".")
                kept = kept[: len(kept) - int(level) + 1]
                base = ".".join(filter(None, [*kept, base]))
            if base.split(".")[0] in roots:
                todo += [base, f"{base}.{name}"] if name else [base]
    return found


def versions_of(libraries: Iterable[str]) -> dict[str, str]:
    """Distribution -> version, of those that are installed, and of Python."""
    return {"python": "{}.{}".format(*sys.version_info)} | {name: _version(name) for name in libraries}


@cache
def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "none"


@dataclass(frozen=True, slots=True)
class Record:
    """What a step was given, as JSON values."""

    kind: str  # of the step
    parameters: Mapping[str, Any]
    code: Mapping[str, str]  # file -> sha256
    libraries: Mapping[str, str]  # distribution -> version
    inputs: Mapping[str, str]  # name -> digest of its contents

    @property
    def key(self) -> str:
        """64 hex digits."""
        return sha256([self.kind, self.parameters, dict(self.code), dict(self.libraries), dict(self.inputs)])

    def differences(self, before: Record) -> list[str]:
        """What makes this one another than ``before``, in words for users; empty when nothing does."""
        told = []
        for name, (old, new) in _changed(_flat(before.parameters), _flat(self.parameters)).items():
            told.append(f"other parameter {name}: {old} -> {new}")
        if files := sorted(_changed(before.code, self.code)):
            more = f" and {len(files) - SHOWN} more" if len(files) > SHOWN else ""
            told.append(f"other code in {', '.join(files[:SHOWN])}{more}")
        for name, (old, new) in _changed(before.libraries, self.libraries).items():
            told.append(f"other version of {name}: {old} -> {new}")
        inputs = [f"input changed: {name}" for name in sorted(_changed(before.inputs, self.inputs))]
        if len(inputs) > SHOWN_INPUTS:
            inputs = [*inputs[:SHOWN_INPUTS], f"and {len(inputs) - SHOWN_INPUTS} more"]
        return told + inputs


def _changed(before: Mapping[str, str], now: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    names = sorted({*before, *now})
    return {n: (before.get(n, "unset"), now.get(n, "unset")) for n in names if before.get(n) != now.get(n)}


def _flat(values: Mapping[str, Any], before: str = "") -> dict[str, str]:
    """``{"a": {"b": 1}}`` -> ``{"a.b": "1"}``."""
    found: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{before}{name}.")
        elif value is not None:
            found[f"{before}{name}"] = canonical(value)
    return found
