"""The ledger of a model: which of its versions was made the latest, when and by whom.

The latest version is what the entry with the highest number names. Two publishers that choose the same number are told apart by the
store itself, which creates a key only where there is none (docs/adr/0013-model-store-ledger.md).
"""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

from ..errors import ConfigError, StoreError
from .objects import ObjectStore
from .reference import NAME, VERSION

ENTRY_MAX_BYTES = 1 << 16
LEDGER_MAX = 999_999_999
LISTINGS = 3  # a folder is not listed in one instant: a hole that closes when one looks again is none

_ENTRY = re.compile(r"([0-9]{9})\.json")


class LedgerEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a model's history."""

    number: int = 0
    version: str  # the latest from here on
    t: float = 0.0  # Unix s by the publisher's clock; for people, order is by number
    by: str = ""
    note: str = ""
    action: str = "publish"  # or withdraw
    withdrawn: str = ""  # the version that was taken back


def standing_versions(entries: list[LedgerEntry]) -> list[str]:
    """Versions that were published and not withdrawn since, the latest last."""
    standing: list[str] = []
    for entry in entries:
        if entry.action == "withdraw":
            standing = [v for v in standing if v != entry.withdrawn]
        standing = [v for v in standing if v != entry.version] + [entry.version]
    return standing


class Ledgers:
    """The ledgers of a store, one a model. All methods raise what ``ObjectStore`` does."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    def entries(self, name: str) -> list[LedgerEntry]:
        """All entries, by number."""
        return [self._entry(name, n) for n in self._numbers(name)]

    def latest(self, name: str) -> LedgerEntry | None:
        """The entry with the highest number; None when nothing was published."""
        numbers = self._numbers(name)
        return self._entry(name, numbers[-1]) if numbers else None

    def latest_number(self, name: str) -> int:
        """Number of the latest entry, 0 without one; one request: what a follower asks for again and again."""
        numbers = self._numbers(name)
        return numbers[-1] if numbers else 0

    def _numbers(self, name: str) -> list[int]:
        if not NAME.fullmatch(name):
            raise ConfigError(f"{name!r} is no model's name: lower-case letters, digits, '.', '-' and '_'")
        for attempt in range(LISTINGS):
            names = [k.rpartition("/")[2] for k in self._objects.keys(f"{name}/ledger")]
            odd = sorted(n for n in names if not _ENTRY.fullmatch(n))
            numbers = sorted(int(n[:9]) for n in names if _ENTRY.fullmatch(n))
            if odd:
                raise StoreError(
                    f"the ledger of {name} in {self._objects} holds {odd[0]!r}, which is no entry: remove it"
                )
            if numbers == list(range(1, len(numbers) + 1)):
                return numbers
            if attempt == LISTINGS - 1:
                gap = next(i for i, n in enumerate(numbers, 1) if i != n)
                raise StoreError(
                    f"entry {gap} of the ledger of {name} in {self._objects} is missing: restore {name}/ledger/{gap:09d}.json"
                )
        raise AssertionError

    def _entry(self, name: str, number: int) -> LedgerEntry:
        raw = self._objects.read(f"{name}/ledger/{number:09d}.json", ENTRY_MAX_BYTES)
        try:
            entry = msgspec.structs.replace(msgspec.json.decode(raw, type=LedgerEntry), number=number)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as e:
            raise StoreError(
                f"entry {number} of the ledger of {name} in {self._objects} cannot be read ({e})"
            ) from None
        for version in (entry.version, *filter(None, [entry.withdrawn])):
            if not VERSION.fullmatch(version) or not version.startswith(f"{name}-"):
                raise StoreError(
                    f"entry {number} of the ledger of {name} in {self._objects} names {version!r}, which is no version of it"
                )
        return entry

    def append(self, name: str, entry_after: Callable[[LedgerEntry | None], LedgerEntry | None]) -> LedgerEntry:
        """Add what ``entry_after(last)`` gives as the next entry; None adds nothing. Looks again when another was first."""
        while True:
            last = self.latest(name)
            entry = entry_after(last)
            if entry is None:
                assert last is not None
                return last
            number = (last.number if last else 0) + 1
            if number > LEDGER_MAX:
                raise StoreError(f"the ledger of {name} in {self._objects} is full: use another name")
            key = f"{name}/ledger/{number:09d}.json"
            content = msgspec.json.encode({k: v for k, v in msgspec.structs.asdict(entry).items() if k != "number"})
            # A request whose answer was lost is sent again and finds its own entry.
            if self._objects.create(key, content) or self._objects.read(key, ENTRY_MAX_BYTES) == content:
                return msgspec.structs.replace(entry, number=number)
