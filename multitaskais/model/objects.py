"""Keys and bytes of a store: a folder or an object store, in which a key is created once and never overwritten.

This is the only module that knows obstore. Sizes are checked before a file is read, checksums before anything is loaded.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Self, TypeVar

from ..environment import value_of
from ..errors import ConfigError, ModelNotFound, StoreError, StoreRefused, StoreUnavailable

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

FILE_MAX_BYTES = 1 << 29  # 512 MB; the largest file of a shipped model has 4 MB
CHUNK_BYTES = 1 << 20
RETRIES = 2
TIMEOUT_S = 20  # of one request with its retries
REQUESTS_AT_A_TIME = 8  # obstore leaves the interpreter to others while it waits

T = TypeVar("T")
R = TypeVar("R")

_REFUSED = re.compile(r"\b(401 Unauthorized|403 Forbidden|SignatureDoesNotMatch|InvalidAccessKeyId|AccessDenied)\b")


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
            return value_of(environ, f"STORE_{name}") or default

        return cls(
            url or get("URL"), get("ENDPOINT"), get("REGION"), get("KEY"), get("SECRET"), get("TRUST", "checked")
        )


def side_by_side(work: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """``work`` of each item, some at a time, results in order. The first error in that order is raised; then what has not begun is
    left undone, and what has begun has ended."""
    with ThreadPoolExecutor(REQUESTS_AT_A_TIME) as pool:
        return list(pool.map(work, items))


class ByteBudget:
    """What may still be read of something; several threads take from it.

    Raises:
        StoreError: by ``take``, when it is used up; the message names ``what``.
    """

    def __init__(self, max_bytes: int, what: str) -> None:
        self._max_bytes, self._what = max_bytes, what
        self._left = max_bytes
        self._lock = threading.Lock()

    def take(self, n: int) -> None:
        with self._lock:
            self._left -= n
            if self._left < 0:
                raise StoreError(f"{self._what} has more than {self._max_bytes:,} bytes, of which no more are read")


class ObjectStore:
    """A store of bytes under keys. All methods raise ``StoreError`` with what to do about it; ``StoreUnavailable`` when trying again may help."""

    def __init__(self, settings: StoreSettings) -> None:
        if _missing is not None:
            raise ConfigError(f"a model store needs obstore ({_missing}): pip install 'multitaskais[store]'")
        self.settings = settings
        self._folder = None if "://" in settings.url else Path(settings.url).absolute()
        self._store = _open(settings)
        self._checked = settings.trust == "single-writer"

    def __str__(self) -> str:
        return self.settings.url

    def folders(self, prefix: str | None = None) -> list[str]:
        """Names of what lies one level below ``prefix`` and has keys below it."""
        with self._answers("list"):
            found = obstore.list_with_delimiter(self._store, prefix)["common_prefixes"]
        return [p.rstrip("/").rpartition("/")[2] for p in found]

    def check_create_once(self, token: str) -> None:
        """Refuse a store that overwrites what should be created once; ``token`` must be new (random).

        Raises:
            StoreError: two publishers could undo each other there.
        """
        if self._checked:
            return
        key = f"probe/{token}"
        self.create(key, b"first")
        try:
            if self.create(key, b"second"):
                raise StoreError(
                    f"the store {self} overwrites what should be created once (it ignores If-None-Match): two publishers could undo "
                    "each other; use another store, or set STORE_TRUST=single-writer when only one process ever publishes"
                )
        finally:
            self.delete(key)
        self._checked = True

    def create(self, key: str, content: bytes) -> bool:
        """Put where there is none; False when there is one."""
        self._no_links(key)
        try:
            with self._answers(key):
                obstore.put(self._store, key, content, mode="create")
        except _Exists:
            return False
        return True

    def create_same(self, key: str, content: bytes) -> None:
        """Put; what is there already must be equal."""
        if not self.create(key, content):
            there = hashlib.sha256(self.read(key, FILE_MAX_BYTES)).digest()
            if there != hashlib.sha256(content).digest():
                raise StoreError(
                    f"{key} in the store {self} has other content under the same version: the store was tampered with or is damaged; remove that version"
                )

    def read(self, key: str, max_bytes: int) -> bytes:
        return b"".join(self._chunks(key, max_bytes))

    def copy(self, key: str, target: Path, digest: str, budget: ByteBudget) -> None:
        """Copy a file of the store. Its checksum must be ``digest``; its size is taken from ``budget`` before its first byte is read."""
        hashed = hashlib.sha256()
        with target.open("wb") as f:
            for chunk in self._chunks(key, FILE_MAX_BYTES, budget):
                hashed.update(chunk)
                f.write(chunk)
        if hashed.hexdigest() != digest:
            raise StoreError(f"{key} in the store {self} differs from its checksum: publish the version again")

    def _chunks(self, key: str, max_bytes: int, budget: ByteBudget | None = None) -> Iterator[bytes]:
        self._no_links(key)
        with self._answers(key):
            found = obstore.get(self._store, key)
            if found.meta["size"] > max_bytes:
                raise StoreError(
                    f"{key} in the store {self} has {found.meta['size']:,} bytes; at most {max_bytes:,} are read"
                )
            declared = found.meta["size"]
            if budget is not None:
                budget.take(declared)
            size = 0
            for chunk in found.stream(min_chunk_size=CHUNK_BYTES):
                size += len(chunk)
                if size > declared:
                    raise StoreError(f"{key} in the store {self} grows while it is read: it said {declared:,} bytes")
                yield bytes(chunk)

    def exists(self, key: str) -> bool:
        self._no_links(key)
        try:
            with self._answers(key):
                obstore.head(self._store, key)
        except ModelNotFound:
            return False
        return True

    def delete(self, key: str) -> None:
        try:
            with self._answers(key):
                obstore.delete(self._store, key)
        except ModelNotFound:
            pass

    def keys(self, prefix: str) -> list[str]:
        self._no_links(prefix)
        with self._answers(prefix):
            return [o["path"] for part in obstore.list(self._store, prefix) for o in part]

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
                raise StoreRefused(f"the bucket of the store {self} does not exist: make it first") from None
            raise StoreUnavailable(f"the store {self} does not answer ({first_line(e)}): try again") from None

    def _refused(self, key: str) -> StoreRefused:
        return StoreRefused(f"the store {self} refuses access to {key}: check STORE_KEY, STORE_SECRET and their rights")


class _Exists(Exception):
    """The key was there already."""


def _open(settings: StoreSettings) -> Any:
    if "://" not in settings.url:
        try:
            return LocalStore(str(Path(settings.url).absolute()), mkdir=True)
        except (BaseError, OSError, ValueError) as e:
            raise StoreError(f"{settings.url} cannot be a store ({first_line(e)})") from None
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
            f"STORE_URL={settings.url!r} cannot be used ({first_line(e)}): give a folder or s3://BUCKET/PREFIX"
        ) from None


def first_line(e: Exception) -> str:
    return (str(e).strip().splitlines() or [type(e).__name__])[0][:300]
