"""The model store: versions that never change and a ledger that says which one is the latest, in a folder or an object store.

    STORE/gulf/versions/gulf-f8f5badedaed/...   the files of a model folder, each created once; manifest.json last
    STORE/gulf/ledger/000000001.json            {"version", "t", "by", "note", "action", "withdrawn"}, created once
    STORE/gulf/cards/gulf-f8f5badedaed.md       the model card, for people
    STORE/training/KEY/000001.npz               checkpoints of a training that is under way, for the trainer that takes it over

The latest version is what the entry with the highest number names. Nothing is ever overwritten: two publishers that choose the same
number are told apart by the store itself, which creates a key only where there is none (``If-None-Match: *``; a hard link in a folder).
A store that does not keep to that is refused before the first write.

What comes out of a store is not trusted: names are checked before the first byte is read, sizes before a file is, checksums before
anything is loaded, and nothing is ever unpickled. Keys and bytes are ``objects.py``, the history is ``ledger.py``.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from ..environment import value_of
from ..errors import ConfigError, ModelCorrupt, ModelError, ModelNotFound, StoreError, StoreUnavailable
from . import folder as model_folder
from .ledger import LedgerEntry, Ledgers, standing_versions
from .objects import FILE_MAX_BYTES, ByteBudget, ObjectStore, StoreSettings, first_line, side_by_side
from .reference import NAME, VERSION, Reference, is_reference

MANIFEST_MAX_BYTES = 1 << 20
MODEL_MAX_BYTES = 1 << 30

_PART = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}"
_FILE = re.compile(rf"{_PART}(/{_PART}){{0,4}}")
_CHECKPOINT = re.compile(r"([0-9]{6})\.npz")


class ModelStore:
    """A store of models. All methods raise ``StoreError`` with what to do about it; ``StoreUnavailable`` when trying again may help.

    Args:
        settings: where it is.
        cache: folder of the versions that were fetched; they are shared by all processes of this machine.
    """

    def __init__(self, settings: StoreSettings, cache: Path) -> None:
        self.settings = settings
        self.cache = Path(cache)
        self._objects = ObjectStore(settings)
        self._ledgers = Ledgers(self._objects)

    def __str__(self) -> str:
        return self.settings.url

    # ------------------------------------------------------------ what is there

    def names(self) -> list[str]:
        """Models that have a ledger."""
        return sorted(n for n in self._objects.folders() if NAME.fullmatch(n) and self._objects.keys(f"{n}/ledger"))

    def ledger(self, name: str) -> list[LedgerEntry]:
        """All entries, by number."""
        return self._ledgers.entries(name)

    def latest(self, name: str) -> LedgerEntry | None:
        """The entry with the highest number; None when nothing was published."""
        return self._ledgers.latest(name)

    def latest_number(self, name: str) -> int:
        """Number of the latest entry, 0 without one; one request: what a follower asks for again and again."""
        return self._ledgers.latest_number(name)

    def card(self, name: str, version: str) -> str:
        """The model card in Markdown; empty where there is none."""
        try:
            return self._objects.read(f"{name}/cards/{version}.md", MANIFEST_MAX_BYTES).decode(errors="replace")
        except ModelNotFound:
            return ""

    # ------------------------------------------------------------ in

    def put(self, source: str | Path, *, token: str, card: str = "") -> Reference:
        """Put a model folder (or a shipped model) into the store without making it the latest.

        Args:
            token: a new random text, for ``ObjectStore.check_create_once``.
            card: model card in Markdown (default: ``card/card.md`` of the folder, where there is one).
        """
        there = model_folder.find(source)
        manifest = model_folder.read_manifest(there)
        name, version = manifest["name"], manifest["version"]
        if not NAME.fullmatch(name) or not VERSION.fullmatch(version):
            raise StoreError(f"{there}: {version!r} is no version that a store takes")
        self._objects.check_create_once(token)
        base = f"{name}/versions/{version}"
        side_by_side(lambda f: self._objects.create_same(f"{base}/{f}", (there / f).read_bytes()), manifest["files"])
        if not card and (there / "card" / "card.md").is_file():
            card = (there / "card" / "card.md").read_text()
        if card:
            self._objects.create(f"{name}/cards/{version}.md", card.encode())
        # Last: who sees the manifest sees all of the version.
        self._objects.create_same(f"{base}/manifest.json", (there / "manifest.json").read_bytes())
        return Reference(name, version)

    def publish(
        self,
        source: str | Path,
        *,
        t: float,
        by: str,
        token: str,
        note: str = "",
        confirm: Callable[[], None] = lambda: None,
    ) -> LedgerEntry:
        """``put``, and make it the latest; publishing what is latest adds nothing.

        Args:
            t: time of the publication, Unix s.
            by: who publishes.
            confirm: called just before the entry is added; raises when it must not be.
        """
        reference = self.put(source, token=token)

        def entry(last: LedgerEntry | None) -> LedgerEntry | None:
            if last is not None and last.version == reference.version:
                return None
            confirm()
            return LedgerEntry(version=str(reference.version), t=t, by=by, note=note)

        return self._ledgers.append(reference.name, entry)

    def withdraw(self, name: str, *, t: float, by: str, token: str, note: str = "") -> LedgerEntry:
        """Make the version that was the latest before the latest again; what is withdrawn stays in the store.

        Raises:
            StoreError: there is no former version, or another was published meanwhile.
        """
        self._objects.check_create_once(token)
        standing = standing_versions(self.ledger(name))
        if len(standing) < 2:
            raise StoreError(
                f"{name} has no former version to go back to: publish another one instead"
                if standing
                else f"there is no model {name!r} in the store {self}"
            )
        former, bad = standing[-2:]
        if not self._objects.exists(f"{name}/versions/{former}/manifest.json"):
            raise StoreError(f"the former version {former} was pruned from the store: publish it again")

        def entry(last: LedgerEntry | None) -> LedgerEntry:
            if last is None or last.version != bad:
                raise StoreError(
                    f"{last.version if last else 'nothing'} is the latest now and not {bad}: look at `multitaskais store list {name}` and decide again"
                )
            return LedgerEntry(version=former, t=t, by=by, note=note, action="withdraw", withdrawn=bad)

        return self._ledgers.append(name, entry)

    def prune(self, name: str, keep: int) -> list[str]:
        """Remove versions that none of the last ``keep`` entries names; the ledger stays. Returns them."""
        if keep < 1:
            raise ConfigError(f"--keep {keep}: must be at least 1")
        entries = self.ledger(name)
        kept = {e.version for e in entries[-keep:]}
        removed = []
        for version in self._objects.folders(f"{name}/versions"):
            if version in kept:
                continue
            # The manifest first: without it nobody takes the rest for a version.
            self._objects.delete(f"{name}/versions/{version}/manifest.json")
            for key in self._objects.keys(f"{name}/versions/{version}"):
                self._objects.delete(key)
            removed.append(version)
        return sorted(removed)

    # ------------------------------------------------------------ out

    def resolve(self, reference: Reference) -> Reference:
        """The reference with its version: the latest where it names none."""
        if reference.version:
            return reference
        entry = self.latest(reference.name)
        if entry is None:
            known = ", ".join(self.names()) or "none"
            raise ModelNotFound(f"no model {reference.name!r} in the store {self} (there are: {known})")
        return Reference(reference.name, entry.version)

    def fetch(self, reference: Reference) -> Path:
        """The folder of that version in the cache, fetched and checked when it is not there yet.

        Raises:
            ModelNotFound: no such model or version.
            StoreError: what the store holds is not that model; nothing of it is left behind.
        """
        reference = self.resolve(reference)
        name, version = reference.name, str(reference.version)
        there = self.cache / version
        if (there / "manifest.json").is_file():
            try:
                if model_folder.read_manifest(there)["version"] == version:
                    return there
            except ModelError:
                pass
            shutil.rmtree(there, ignore_errors=True)  # a copy that was damaged here: the store's is taken again
        self.cache.mkdir(parents=True, exist_ok=True)
        new = Path(tempfile.mkdtemp(prefix=f".{version}.", dir=self.cache))
        try:
            self._fetch_into(name, version, new)
            new.chmod(0o755)
            try:
                new.rename(there)
            except OSError:
                if not (there / "manifest.json").is_file():  # else another process was first
                    raise
        except OSError as e:
            # A full disk says nothing of the version: there may be room later.
            kind = StoreUnavailable if e.errno in (errno.ENOSPC, errno.EDQUOT) else StoreError
            raise kind(f"{self.cache}: {version} cannot be kept there ({e}): make room, or set STORE_CACHE") from None
        finally:
            shutil.rmtree(new, ignore_errors=True)
        return there

    def _fetch_into(self, name: str, version: str, into: Path) -> None:
        base = f"{name}/versions/{version}"
        try:
            raw = self._objects.read(f"{base}/manifest.json", MANIFEST_MAX_BYTES)
        except ModelNotFound:
            raise ModelNotFound(
                f"no version {version} in the store {self}: see `multitaskais store list {name}`"
            ) from None
        files = _files_of(raw, name, version)
        budget = ByteBudget(MODEL_MAX_BYTES, f"{version} in the store {self}")

        def copy(file: str) -> None:
            target = into / file
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._objects.copy(f"{base}/{file}", target, files[file], budget)
            except ModelNotFound:
                raise StoreError(f"{version} in the store {self} is not whole: {file} is missing") from None

        side_by_side(copy, files)
        (into / "manifest.json").write_bytes(raw)
        try:
            model_folder.read_manifest(into)
        except ModelCorrupt as e:
            raise StoreError(f"{version} in the store {self} is not what its name says ({e})") from None

    def note_taken(self, reference: Reference) -> None:
        """Keep beside the cache that this version was the latest of its name when it was taken: for a start while the store is away."""
        file = self._taken / reference.name
        part = file.with_name(f".{file.name}.{os.getpid()}")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(str(reference))
            part.replace(file)
        except OSError:  # a cache that cannot be written to holds nothing for later
            part.unlink(missing_ok=True)

    def taken(self) -> list[Reference]:
        """What ``note_taken`` kept of this store, by name."""
        found = []
        for file in sorted(self._taken.glob("[a-z0-9]*")):
            try:
                found.append(Reference.parse(file.read_text()))
            except (OSError, UnicodeDecodeError, ConfigError):
                continue
        return [r for r in found if r.version]

    @property
    def _taken(self) -> Path:
        """A folder of this store in the cache, which stores may share."""
        return self.cache / ".taken" / hashlib.sha256(f"{self.settings.url} {self.settings.endpoint}".encode()).hexdigest()[:16]  # fmt: skip

    # ------------------------------------------------------------ checkpoints of trainings

    def put_checkpoint(self, key: str, content: bytes) -> int:
        """Keep a checkpoint of training ``key`` (hex digits); returns its number. Older ones are removed, but for the one before."""
        numbers = self._checkpoints(key)
        number = (numbers[-1] if numbers else 0) + 1
        while not self._objects.create(f"training/{key}/{number:06d}.npz", content):
            number += 1
        for old in numbers[:-1]:
            self._objects.delete(f"training/{key}/{old:06d}.npz")
        return number

    def newest_checkpoint(self, key: str) -> bytes | None:
        numbers = self._checkpoints(key)
        return self._objects.read(f"training/{key}/{numbers[-1]:06d}.npz", FILE_MAX_BYTES) if numbers else None

    def remove_checkpoints(self, key: str) -> None:
        for number in self._checkpoints(key):
            self._objects.delete(f"training/{key}/{number:06d}.npz")

    def _checkpoints(self, key: str) -> list[int]:
        if not re.fullmatch(r"[0-9a-f]{8,64}", key):
            raise StoreError(f"{key!r} is no key of a training")
        names = (k.rpartition("/")[2] for k in self._objects.keys(f"training/{key}"))
        return sorted(int(m[1]) for n in names if (m := _CHECKPOINT.fullmatch(n)))


def _files_of(raw: bytes, name: str, version: str) -> dict[str, str]:
    """The files of a manifest of the store, every name checked before the first byte is read."""
    try:
        manifest = json.loads(raw)
        files: dict[str, str] = manifest["files"]
        if (manifest["name"], manifest["version"]) != (name, version):
            raise StoreError(f"{version}: its manifest is of {manifest['name']!r}, {manifest['version']!r}")
        for file, digest in files.items():
            if not _FILE.fullmatch(file) or file == "manifest.json":
                raise StoreError(f"{version}: its manifest names the file {file!r}, which may not be")
            if not re.fullmatch(r"[0-9a-f]{64}", digest):
                raise StoreError(f"{version}: its manifest has no sha256 of {file!r}")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
        raise StoreError(f"{version}: its manifest cannot be read ({type(e).__name__}: {first_line(e)})") from None
    return files


# ---------------------------------------------------------------- for commands


def cache_folder(environ: Mapping[str, str]) -> Path:
    """``STORE_CACHE``, or ``~/.cache/multitaskais/models``."""
    given = value_of(environ, "STORE_CACHE")
    return Path(given) if given else Path.home() / ".cache" / "multitaskais" / "models"


def local_folder(model: str, environ: Mapping[str, str]) -> str:
    """What a command was given as model, as something that ``model.folder`` loads: ``store:NAME[@VERSION]`` is fetched."""
    if not is_reference(model):
        return model
    store = ModelStore(StoreSettings.of(environ), cache_folder(environ))
    return str(store.fetch(Reference.parse(model)))
