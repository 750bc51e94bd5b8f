"""Which models are offered, and which version of each: those of the store as they are published, or those that ship."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from multitaskais.errors import ConfigError, ModelNotFound, MultitaskAISError, StoreRefused, StoreUnavailable
from multitaskais.model import folder
from multitaskais.model.reference import Reference
from multitaskais.model.store import ModelStore

log = logging.getLogger("multitaskais.web")

VERSIONS_KEPT = 32  # of those that were asked for by version, how many folders are remembered


@dataclass(frozen=True, slots=True)
class Served:
    """One version of a model, checked, in a folder of this machine."""

    name: str
    version: str
    place: str
    manifest: dict[str, Any]

    @classmethod
    def at(cls, place: Path) -> Served:
        manifest = folder.read_manifest(place)
        return cls(manifest["name"], manifest["version"], str(place), manifest)


class Offered:
    """The models on offer. A new version takes over between two requests, after ``warm`` has had every judge load it.

    Args:
        store: None offers models that ship with the package.
        names: only these; empty: all there are.
        refused: called when a version of the store was refused.
    """

    def __init__(
        self,
        store: ModelStore | None,
        names: tuple[str, ...],
        warm: Callable[[str], Awaitable[None]],
        refused: Callable[[], None] = lambda: None,
    ) -> None:
        self._store, self._names, self._warm, self._refused = store, names, warm, refused
        self.current: dict[str, Served] = {}
        self.seen_at: float | None = None  # monotonic: when the store last answered
        self.not_seen: str = ""  # why it did not since
        self._numbers: dict[str, int] = {}  # of each name, the ledger entry that was looked at last
        self._complaints: dict[str, str] = {}  # of each name, what was logged of its ledger last
        self._by_version: dict[str, Served] = {}

    @property
    def store_age_s(self) -> float | None:
        """How long the store has not been seen; None without one."""
        if self._store is None:
            return None
        return time.monotonic() - self.seen_at if self.seen_at is not None else float("inf")

    async def start(self) -> None:
        """Load what is on offer. A store that is away is asked again later, and what was taken from it last answers meanwhile."""
        if self._store is None:
            for name in self._names or folder.shipped():
                self.current[name] = await asyncio.to_thread(Served.at, folder.find(name))
            for served in self.current.values():
                await self._warm(served.place)
            return
        await self.look()
        if self.not_seen and not self.current:
            await self._go_on_from_cache()

    async def follow(self, every_s: float) -> None:
        """Ask the store again and again."""
        while self._store is not None:
            await asyncio.sleep(every_s)
            try:
                await self.look()
            except Exception:
                log.exception("the store could not be looked at")

    async def look(self) -> None:
        """Ask the store once; take what is new."""
        assert self._store is not None
        try:
            names = self._names or tuple({*self.current, *await asyncio.to_thread(self._store.names)})
        except MultitaskAISError as e:
            self._away(str(e))
            return
        well = True
        for name in names:
            try:
                number = await asyncio.to_thread(self._store.latest_number, name)
                if number and number != self._numbers.get(name):
                    await self._take(name)
                    self._numbers[name] = number
                elif not number and self._complaints.get(name) is None:
                    self._complaints[name] = "nothing was published"
                    log.warning("model %s: the store has none of this name yet", name)
            except (StoreUnavailable, StoreRefused) as e:
                well = False
                self._away(str(e))
            except MultitaskAISError as e:
                # A ledger that cannot be read: logged once. What was there before goes on.
                if self._complaints.get(name) != str(e):
                    log.error("model %s: %s; %s goes on", name, e, self._version_of(name))
                    self._refused()
                self._complaints[name] = str(e)
        if well:
            self.seen_at, self.not_seen = time.monotonic(), ""

    async def _take(self, name: str) -> None:
        assert self._store is not None
        entry = await asyncio.to_thread(self._store.latest, name)
        assert entry is not None
        before = self.current.get(name)
        if before is not None and before.version == entry.version:
            return
        try:
            place = await asyncio.to_thread(self._store.fetch, Reference(name, entry.version))
            served = await asyncio.to_thread(Served.at, place)
            await asyncio.to_thread(folder.load, place)  # it can be loaded, and not only be read
        except (StoreUnavailable, StoreRefused):
            raise
        except MultitaskAISError as e:
            log.error("model %s is refused, %s goes on: %s", entry.version, self._version_of(name), e)
            self._refused()
            return
        await self._warm(served.place)
        self.current[name] = served
        await asyncio.to_thread(self._store.note_taken, Reference(name, served.version))
        log.info("model %s answers from now on%s", served.version, f", in place of {before.version}" if before else "")

    async def _go_on_from_cache(self) -> None:
        """The versions that were taken before, while the store is not there to be asked."""
        assert self._store is not None
        for reference in await asyncio.to_thread(self._store.taken):
            if self._names and reference.name not in self._names:
                continue
            try:
                place = await asyncio.to_thread(self._store.fetch, reference)
                served = await asyncio.to_thread(Served.at, place)
            except MultitaskAISError as e:
                log.warning("%s is not in the cache any more: %s", reference, e)
                continue
            await self._warm(served.place)
            self.current[reference.name] = served
            log.warning("model %s answers from the cache: the store was not seen yet", served.version)

    async def find(self, text: str) -> Served:
        """The model that a request names: NAME, NAME@VERSION, or nothing where one is on offer.

        Raises:
            ModelNotFound, ConfigError
        """
        known = ", ".join(sorted(self.current)) or "none yet"
        if not text:
            if len(self.current) == 1:
                return next(iter(self.current.values()))
            raise ConfigError(f"model: say which one (on offer: {known})")
        reference = Reference.parse(text)
        served = self.current.get(reference.name)
        if served is None:
            raise ModelNotFound(f"model: no model {reference.name!r} is on offer ({known})")
        if reference.version in (None, served.version):
            return served
        if self._store is None:
            raise ModelNotFound(f"model: of {reference.name} only {served.version} is on offer")
        found = self._by_version.get(str(reference.version))
        if found is None:
            found = Served.at(await asyncio.to_thread(self._store.fetch, reference))
            if len(self._by_version) >= VERSIONS_KEPT:
                self._by_version.pop(next(iter(self._by_version)))
            self._by_version[found.version] = found
        return found

    def _version_of(self, name: str) -> str:
        return self.current[name].version if name in self.current else "none"

    def _away(self, why: str) -> None:
        if not self.not_seen:  # told once, until it is seen again
            log.warning("%s", why)
        self.not_seen = why


def region_of(served: Served) -> dict[str, Any]:
    region: dict[str, Any] = json.loads(json.dumps(served.manifest["region"]))
    return region
