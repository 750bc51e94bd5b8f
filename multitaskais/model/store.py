"""The model store: versions that never change and a ledger that says which one is the latest, in a folder or an object store.

    STORE/gulf/versions/gulf-f8f5badedaed/...   the files of a model folder, each created once; manifest.json last
    STORE/gulf/ledger/000000001.json            {"version", "t", "by", "note", "action", "withdrawn"}, created once
    STORE/gulf/cards/gulf-f8f5badedaed.md       the model card, for people
    STORE/training/KEY/000001.npz               checkpoints of a training that is under way, for the trainer that takes it over

The latest version is what the entry with the highest number names. Nothing is ever overwritten: two publishers that choose the same
number are told apart by the store itself, which creates a key only where there is none (``If-None-Match: *``; a hard link in a folder).
A store that does not keep to that is refused before the first write.

What comes out of a store is not trusted: names are checked before the first byte is read, sizes before a file is, checksums before
anything is loaded, and nothing is ever unpickled. This is the only module that knows obstore.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

import msgspec

from ..errors import ConfigError, ModelCorrupt, ModelError, ModelNotFound, StoreError, StoreUnavailable
from . import folder as model_folder

try:
    import obstore
    from obstore.exceptions import (
        AlreadyExistsError,
        BaseError,
        NotFoundError,
        PermissionDeniedError,
        PreconditionError,
        UnauthenticatedError,
    )
    from obstore.store import LocalStore, from_url
except ImportError as e:  # an extra: the core runs without it
    _missing: ImportError | None = e
else:
    _missing = None

SCHEME = "store:"
MANIFEST_MAX_BYTES = 1 << 20
ENTRY_MAX_BYTES = 1 << 16
FILE_MAX_BYTES = 1 << 29  # 512 MB; the largest file of a shipped model has 4 MB
MODEL_MAX_BYTES = 1 << 30
LEDGER_MAX = 999_999_999
CHUNK_BYTES = 1 << 20
LISTINGS = 3  # a folder is not listed in one instant: a hole that closes when one looks again is none
RETRIES = 2
TIMEOUT_S = 20  # of one request with its retries

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_VERSION = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}-[0-9a-f]{12}")
_PART = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}"
_FILE = re.compile(rf"{_PART}(/{_PART}){{0,4}}")
_ENTRY = re.compile(r"([0-9]{9})\.json")
_REFUSED = re.compile(r"\b(401 Unauthorized|403 Forbidden|SignatureDoesNotMatch|InvalidAccessKeyId|AccessDenied)\b")
_CHECKPOINT = re.compile(r"([0-9]{6})\.npz")


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """Where a store is and how it is entered.

    Attributes:
        url: a folder, or ``s3://BUCKET/PREFIX`` (``gs://``, ``az://``: what obstore knows).
        endpoint: of an S3 server that is not Amazon's, for instance ``http://127.0.0.1:9000``.
        trust: ``checked`` asks the store, before the first write, whether it creates a key once only; ``single-writer`` does not ask:
            then at most one process may publish.
    """

    url: str
    endpoint: str = ""
    region: str = ""
    key: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)
    trust: str = "checked"
    timeout_s: float = TIMEOUT_S

    def __post_init__(self) -> None:
        if not self.url:
            raise ConfigError("no model store is set: give its folder or s3://BUCKET/PREFIX in STORE_URL")
        if self.trust not in ("checked", "single-writer"):
            raise ConfigError(f"STORE_TRUST={self.trust!r}: must be checked or single-writer")

    @classmethod
    def of(cls, environ: Mapping[str, str], url: str = "") -> Self:
        """From ``STORE_URL``, ``STORE_ENDPOINT``, ``STORE_REGION``, ``STORE_KEY``, ``STORE_SECRET``, ``STORE_TRUST``, each also with
        ``MULTITASKAIS_`` before it; ``url`` goes before them."""

        def get(name: str, default: str = "") -> str:
            return environ.get(f"MULTITASKAIS_STORE_{name}") or environ.get(f"STORE_{name}") or default

        return cls(
            url or get("URL"), get("ENDPOINT"), get("REGION"), get("KEY"), get("SECRET"), get("TRUST", "checked")
        )


class LedgerEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a model's history."""

    number: int = 0
    version: str  # the latest from here on
    t: float = 0.0  # Unix s by the publisher's clock; for people, order is by number
    by: str = ""
    note: str = ""
    action: str = "publish"  # or withdraw
    withdrawn: str = ""  # the version that was taken back


@dataclass(frozen=True, slots=True)
class Reference:
    """``NAME`` or ``NAME@VERSION``, with or without ``store:`` before it."""

    name: str
    version: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        name, at, version = text.removeprefix(SCHEME).partition("@")
        if not _NAME.fullmatch(name) or (at and not _VERSION.fullmatch(version)):
            raise ConfigError(
                f"{text!r} names no model of a store: give NAME or NAME@VERSION, for instance gulf@gulf-f8f5badedaed"
            )
        return cls(name, version or None)

    def __str__(self) -> str:
        return f"{SCHEME}{self.name}@{self.version}" if self.version else f"{SCHEME}{self.name}"


def is_reference(text: str) -> bool:
    """Whether ``text`` names a model of a store and not a shipped model or a folder."""
    return text.startswith(SCHEME)


def standing_versions(entries: list[LedgerEntry]) -> list[str]:
    """Versions that were published and not withdrawn since, the latest last."""
    standing: list[str] = []
    for entry in entries:
        if entry.action == "withdraw":
            standing = [v for v in standing if v != entry.withdrawn]
        standing = [v for v in standing if v != entry.version] + [entry.version]
    return standing


class ModelStore:
    """A store of models. All methods raise ``StoreError`` with what to do about it; ``StoreUnavailable`` when trying again may help.

    Args:
        settings: where it is.
        cache: folder of the versions that were fetched; they are shared by all processes of this machine.
    """

    def __init__(self, settings: StoreSettings, cache: Path) -> None:
        if _missing is not None:
            raise ConfigError(f"a model store needs obstore ({_missing}): pip install 'multitaskais[store]'")
        self.settings = settings
        self.cache = Path(cache)
        self._folder = None if "://" in settings.url else Path(settings.url).absolute()
        self._objects = _open(settings)
        self._checked = settings.trust == "single-writer"

    def __str__(self) -> str:
        return self.settings.url

    # ------------------------------------------------------------ what is there

    def names(self) -> list[str]:
        """Models that have a ledger."""
        with self._answers("list"):
            found = obstore.list_with_delimiter(self._objects)["common_prefixes"]
        return sorted(n for p in found if _NAME.fullmatch(n := p.rstrip("/")) and self._keys(f"{n}/ledger"))

    def ledger(self, name: str) -> list[LedgerEntry]:
        """All entries, by number."""
        return [self._entry(name, n) for n in self._entry_numbers(name)]

    def latest(self, name: str) -> LedgerEntry | None:
        """The entry with the highest number; None when nothing was published."""
        numbers = self._entry_numbers(name)
        return self._entry(name, numbers[-1]) if numbers else None

    def latest_number(self, name: str) -> int:
        """Number of the latest entry, 0 without one; one request: what a follower asks for again and again."""
        numbers = self._entry_numbers(name)
        return numbers[-1] if numbers else 0

    def card(self, name: str, version: str) -> str:
        """The model card in Markdown; empty where there is none."""
        try:
            return self._read(f"{name}/cards/{version}.md", MANIFEST_MAX_BYTES).decode(errors="replace")
        except ModelNotFound:
            return ""

    # ------------------------------------------------------------ in

    def check_create_once(self, token: str) -> None:
        """Refuse a store that overwrites what should be created once; ``token`` must be new (random).

        Raises:
            StoreError: two publishers could undo each other there.
        """
        if self._checked:
            return
        key = f"probe/{token}"
        self._create(key, b"first")
        try:
            if self._create(key, b"second"):
                raise StoreError(
                    f"the store {self} overwrites what should be created once (it ignores If-None-Match): two publishers could undo "
                    "each other; use another store, or set STORE_TRUST=single-writer when only one process ever publishes"
                )
        finally:
            self._delete(key)
        self._checked = True

    def put(self, source: str | Path, *, token: str, card: str = "") -> Reference:
        """Put a model folder (or a shipped model) into the store without making it the latest.

        Args:
            token: a new random text, for ``check_create_once``.
            card: model card in Markdown (default: ``card/card.md`` of the folder, where there is one).
        """
        there = model_folder.find(source)
        manifest = model_folder.read_manifest(there)
        name, version = manifest["name"], manifest["version"]
        if not _NAME.fullmatch(name) or not _VERSION.fullmatch(version):
            raise StoreError(f"{there}: {version!r} is no version that a store takes")
        self.check_create_once(token)
        for file in manifest["files"]:
            self._create_same(f"{name}/versions/{version}/{file}", (there / file).read_bytes())
        if not card and (there / "card" / "card.md").is_file():
            card = (there / "card" / "card.md").read_text()
        if card:
            self._create(f"{name}/cards/{version}.md", card.encode())
        # Last: who sees the manifest sees all of the version.
        self._create_same(f"{name}/versions/{version}/manifest.json", (there / "manifest.json").read_bytes())
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

        return self._append(reference.name, entry)

    def withdraw(self, name: str, *, t: float, by: str, token: str, note: str = "") -> LedgerEntry:
        """Make the version that was the latest before the latest again; what is withdrawn stays in the store.

        Raises:
            StoreError: there is no former version, or another was published meanwhile.
        """
        self.check_create_once(token)
        standing = standing_versions(self.ledger(name))
        if len(standing) < 2:
            raise StoreError(
                f"{name} has no former version to go back to: publish another one instead"
                if standing
                else f"there is no model {name!r} in the store {self}"
            )
        former, bad = standing[-2:]
        if not self._exists(f"{name}/versions/{former}/manifest.json"):
            raise StoreError(f"the former version {former} was pruned from the store: publish it again")

        def entry(last: LedgerEntry | None) -> LedgerEntry:
            if last is None or last.version != bad:
                raise StoreError(
                    f"{last.version if last else 'nothing'} is the latest now and not {bad}: look at `multitaskais store list {name}` and decide again"
                )
            return LedgerEntry(version=former, t=t, by=by, note=note, action="withdraw", withdrawn=bad)

        return self._append(name, entry)

    def prune(self, name: str, keep: int) -> list[str]:
        """Remove versions that none of the last ``keep`` entries names; the ledger stays. Returns them."""
        if keep < 1:
            raise ConfigError(f"--keep {keep}: must be at least 1")
        entries = self.ledger(name)
        kept = {e.version for e in entries[-keep:]}
        removed = []
        with self._answers("list"):
            found = obstore.list_with_delimiter(self._objects, f"{name}/versions")["common_prefixes"]
        for prefix in found:
            version = prefix.rstrip("/").rpartition("/")[2]
            if version in kept:
                continue
            # The manifest first: without it nobody takes the rest for a version.
            self._delete(f"{name}/versions/{version}/manifest.json")
            for key in self._keys(f"{name}/versions/{version}"):
                self._delete(key)
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
            raise StoreError(f"{self.cache}: {version} cannot be kept there ({e}): set STORE_CACHE") from None
        finally:
            shutil.rmtree(new, ignore_errors=True)
        return there

    def _fetch_into(self, name: str, version: str, into: Path) -> None:
        base = f"{name}/versions/{version}"
        try:
            raw = self._read(f"{base}/manifest.json", MANIFEST_MAX_BYTES)
        except ModelNotFound:
            raise ModelNotFound(
                f"no version {version} in the store {self}: see `multitaskais store list {name}`"
            ) from None
        files = _files_of(raw, name, version)
        total = 0
        for file, digest in files.items():
            target = into / file
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                total += self._copy(f"{base}/{file}", target, digest, MODEL_MAX_BYTES - total)
            except ModelNotFound:
                raise StoreError(f"{version} in the store {self} is not whole: {file} is missing") from None
        (into / "manifest.json").write_bytes(raw)
        try:
            model_folder.read_manifest(into)
        except ModelCorrupt as e:
            raise StoreError(f"{version} in the store {self} is not what its name says ({e})") from None

    # ------------------------------------------------------------ checkpoints of trainings

    def put_checkpoint(self, key: str, content: bytes) -> int:
        """Keep a checkpoint of training ``key`` (hex digits); returns its number. Older ones are removed, but for the one before."""
        numbers = self._checkpoints(key)
        number = (numbers[-1] if numbers else 0) + 1
        while not self._create(f"training/{key}/{number:06d}.npz", content):
            number += 1
        for old in numbers[:-1]:
            self._delete(f"training/{key}/{old:06d}.npz")
        return number

    def newest_checkpoint(self, key: str) -> bytes | None:
        numbers = self._checkpoints(key)
        return self._read(f"training/{key}/{numbers[-1]:06d}.npz", FILE_MAX_BYTES) if numbers else None

    def remove_checkpoints(self, key: str) -> None:
        for number in self._checkpoints(key):
            self._delete(f"training/{key}/{number:06d}.npz")

    def _checkpoints(self, key: str) -> list[int]:
        if not re.fullmatch(r"[0-9a-f]{8,64}", key):
            raise StoreError(f"{key!r} is no key of a training")
        names = (k.rpartition("/")[2] for k in self._keys(f"training/{key}"))
        return sorted(int(m[1]) for n in names if (m := _CHECKPOINT.fullmatch(n)))

    # ------------------------------------------------------------ ledger

    def _entry_numbers(self, name: str) -> list[int]:
        if not _NAME.fullmatch(name):
            raise ConfigError(f"{name!r} is no model's name: lower-case letters, digits, '.', '-' and '_'")
        for attempt in range(LISTINGS):
            names = [k.rpartition("/")[2] for k in self._keys(f"{name}/ledger")]
            odd = sorted(n for n in names if not _ENTRY.fullmatch(n))
            numbers = sorted(int(n[:9]) for n in names if _ENTRY.fullmatch(n))
            if odd:
                raise StoreError(f"the ledger of {name} in {self} holds {odd[0]!r}, which is no entry: remove it")
            if numbers == list(range(1, len(numbers) + 1)):
                return numbers
            if attempt == LISTINGS - 1:
                gap = next(i for i, n in enumerate(numbers, 1) if i != n)
                raise StoreError(
                    f"entry {gap} of the ledger of {name} in {self} is missing: restore {name}/ledger/{gap:09d}.json"
                )
        raise AssertionError

    def _entry(self, name: str, number: int) -> LedgerEntry:
        raw = self._read(f"{name}/ledger/{number:09d}.json", ENTRY_MAX_BYTES)
        try:
            entry = msgspec.structs.replace(msgspec.json.decode(raw, type=LedgerEntry), number=number)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as e:
            raise StoreError(f"entry {number} of the ledger of {name} in {self} cannot be read ({e})") from None
        for version in (entry.version, *filter(None, [entry.withdrawn])):
            if not _VERSION.fullmatch(version) or not version.startswith(f"{name}-"):
                raise StoreError(
                    f"entry {number} of the ledger of {name} in {self} names {version!r}, which is no version of it"
                )
        return entry

    def _append(self, name: str, entry_after: Callable[[LedgerEntry | None], LedgerEntry | None]) -> LedgerEntry:
        """Add what ``entry_after(last)`` gives as the next entry; None adds nothing. Looks again when another was first."""
        while True:
            last = self.latest(name)
            entry = entry_after(last)
            if entry is None:
                assert last is not None
                return last
            number = (last.number if last else 0) + 1
            if number > LEDGER_MAX:
                raise StoreError(f"the ledger of {name} in {self} is full: use another name")
            key = f"{name}/ledger/{number:09d}.json"
            content = msgspec.json.encode({k: v for k, v in msgspec.structs.asdict(entry).items() if k != "number"})
            # A request whose answer was lost is sent again and finds its own entry.
            if self._create(key, content) or self._read(key, ENTRY_MAX_BYTES) == content:
                return msgspec.structs.replace(entry, number=number)

    # ------------------------------------------------------------ keys and bytes

    def _create(self, key: str, content: bytes) -> bool:
        """Put where there is none; False when there is one."""
        self._no_links(key)
        try:
            with self._answers(key):
                obstore.put(self._objects, key, content, mode="create")
        except _Exists:
            return False
        return True

    def _create_same(self, key: str, content: bytes) -> None:
        """Put; what is there already must be equal."""
        if not self._create(key, content):
            there = hashlib.sha256(self._read(key, FILE_MAX_BYTES)).digest()
            if there != hashlib.sha256(content).digest():
                raise StoreError(
                    f"{key} in the store {self} has other content under the same version: the store was tampered with or is damaged; remove that version"
                )

    def _read(self, key: str, max_bytes: int) -> bytes:
        return b"".join(self._chunks(key, max_bytes))

    def _copy(self, key: str, target: Path, digest: str, max_bytes: int) -> int:
        """Copy a file of the store; returns its bytes. The checksum must be ``digest``."""
        hashed = hashlib.sha256()
        size = 0
        with target.open("wb") as f:
            for chunk in self._chunks(key, min(FILE_MAX_BYTES, max_bytes)):
                hashed.update(chunk)
                f.write(chunk)
                size += len(chunk)
        if hashed.hexdigest() != digest:
            raise StoreError(f"{key} in the store {self} differs from its checksum: publish the version again")
        return size

    def _chunks(self, key: str, max_bytes: int) -> Iterator[bytes]:
        self._no_links(key)
        with self._answers(key):
            found = obstore.get(self._objects, key)
            if found.meta["size"] > max_bytes:
                raise StoreError(
                    f"{key} in the store {self} has {found.meta['size']:,} bytes; at most {max_bytes:,} are read"
                )
            size = 0
            for chunk in found.stream(min_chunk_size=CHUNK_BYTES):
                size += len(chunk)
                if size > max_bytes:
                    raise StoreError(f"{key} in the store {self} grows while it is read: at most {max_bytes:,} bytes")
                yield bytes(chunk)

    def _exists(self, key: str) -> bool:
        self._no_links(key)
        try:
            with self._answers(key):
                obstore.head(self._objects, key)
        except ModelNotFound:
            return False
        return True

    def _delete(self, key: str) -> None:
        try:
            with self._answers(key):
                obstore.delete(self._objects, key)
        except ModelNotFound:
            pass

    def _keys(self, prefix: str) -> list[str]:
        self._no_links(prefix)
        with self._answers(prefix):
            return [o["path"] for part in obstore.list(self._objects, prefix) for o in part]

    def _no_links(self, key: str) -> None:
        """A folder store follows symbolic links, and a link leads anywhere."""
        if self._folder is None:
            return
        at = self._folder
        for part in key.split("/"):
            at = at / part
            if at.is_symlink():
                raise StoreError(f"{at} in the store is a symbolic link: remove it")

    @contextmanager
    def _answers(self, key: str) -> Iterator[None]:
        """What goes wrong between us and the store, in our words."""
        try:
            yield
        except (AlreadyExistsError, PreconditionError):
            raise _Exists(key) from None
        except (NotFoundError, FileNotFoundError):
            raise ModelNotFound(f"{key} is not in the store {self}") from None
        except (PermissionDeniedError, UnauthenticatedError):
            raise self._refused(key) from None
        except (BaseError, OSError, ValueError) as e:
            if _REFUSED.search(str(e)):  # of a listing: obstore has no kind of its own for it
                raise self._refused(key) from None
            if "NoSuchBucket" in str(e):
                raise StoreError(f"the bucket of the store {self} does not exist: make it first") from None
            raise StoreUnavailable(f"the store {self} does not answer ({_first_line(e)}): try again") from None

    def _refused(self, key: str) -> StoreError:
        return StoreError(f"the store {self} refuses access to {key}: check STORE_KEY, STORE_SECRET and their rights")


class _Exists(Exception):
    """The key was there already."""


def _open(settings: StoreSettings) -> Any:
    if "://" not in settings.url:
        try:
            return LocalStore(str(Path(settings.url).absolute()), mkdir=True)
        except (BaseError, OSError, ValueError) as e:
            raise StoreError(f"{settings.url} cannot be a store ({_first_line(e)})") from None
    more: dict[str, Any] = {
        "client_options": {"timeout": timedelta(seconds=settings.timeout_s), "connect_timeout": timedelta(seconds=3)},
        "retry_config": {"max_retries": RETRIES, "retry_timeout": timedelta(seconds=settings.timeout_s)},
    }
    if settings.url.startswith("s3://"):
        if settings.endpoint:
            more |= {"endpoint": settings.endpoint, "virtual_hosted_style_request": False}
            more["client_options"]["allow_http"] = settings.endpoint.startswith("http://")
        more["region"] = settings.region or "us-east-1"
        if settings.key:
            more |= {"access_key_id": settings.key, "secret_access_key": settings.secret}
    try:
        return from_url(settings.url, **more)
    except (BaseError, ValueError, TypeError) as e:
        raise ConfigError(
            f"STORE_URL={settings.url!r} cannot be used ({_first_line(e)}): give a folder or s3://BUCKET/PREFIX"
        ) from None


def _files_of(raw: bytes, name: str, version: str) -> dict[str, str]:
    """The files of a manifest of the store, every name checked before the first byte is read."""
    try:
        manifest = json.loads(raw)
        files = manifest["files"]
        if (manifest["name"], manifest["version"]) != (name, version):
            raise StoreError(f"{version}: its manifest is of {manifest['name']!r}, {manifest['version']!r}")
        for file, digest in files.items():
            if not _FILE.fullmatch(file) or file == "manifest.json":
                raise StoreError(f"{version}: its manifest names the file {file!r}, which may not be")
            if not re.fullmatch(r"[0-9a-f]{64}", digest):
                raise StoreError(f"{version}: its manifest has no sha256 of {file!r}")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
        raise StoreError(f"{version}: its manifest cannot be read ({type(e).__name__}: {_first_line(e)})") from None
    return files


def _first_line(e: Exception) -> str:
    return (str(e).strip().splitlines() or [type(e).__name__])[0][:300]


# ---------------------------------------------------------------- for commands


def cache_folder(environ: Mapping[str, str]) -> Path:
    """``STORE_CACHE``, or ``~/.cache/multitaskais/models``."""
    given = environ.get("MULTITASKAIS_STORE_CACHE") or environ.get("STORE_CACHE")
    return Path(given) if given else Path.home() / ".cache" / "multitaskais" / "models"


def local_folder(model: str, environ: Mapping[str, str]) -> str:
    """What a command was given as model, as something that ``model.folder`` loads: ``store:NAME[@VERSION]`` is fetched."""
    if not is_reference(model):
        return model
    store = ModelStore(StoreSettings.of(environ), cache_folder(environ))
    return str(store.fetch(Reference.parse(model)))
