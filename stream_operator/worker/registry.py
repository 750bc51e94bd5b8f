"""The models of a worker: found by their version, loaded once for all partitions, under the rules of the settings.

A model is named by a shipped model's name, a folder, or ``store:NAME[@VERSION]`` in the model store of the settings.
"""

from __future__ import annotations

import json
import logging
import threading
import weakref
from dataclasses import replace
from pathlib import Path

from multitaskais.config import TrackRules
from multitaskais.errors import ConfigError, ModelError, ModelNotFound, MultitaskAISError, StoreUnavailable
from multitaskais.model import folder as modelfolder
from multitaskais.model.folder import Model
from multitaskais.model.objects import StoreSettings
from multitaskais.model.reference import Reference, is_reference
from multitaskais.model.store import ModelStore, cache_folder

from .. import exit_codes
from ..settings import Settings

log = logging.getLogger("stream_operator")


class Models:
    """Raises ``ModelError`` when the models of the settings cannot be used."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()  # partitions open in several threads
        self._loaded: weakref.WeakValueDictionary[str, Model] = (
            weakref.WeakValueDictionary()
        )  # as long as a fold has it
        self._warned: set[str] = set()
        # Of a store, the version that is the latest now: it stays until another is announced in the log.
        self.source = source_of(settings.model, settings)
        self.first = self._load(self.source)
        self.challenger = self._load(settings.challenger) if settings.challenger else None

    def find(self, version: str, source: str) -> Model:
        """The model of this version: at ``source``, or where the settings point, or shipped. Raises ``ModelError``."""
        with self._lock:
            if (model := self._loaded.get(version)) is not None:
                return model
            candidates = [source, self.source, self._settings.challenger, *modelfolder.shipped()]
            if self._settings.store_url:
                candidates.append(f"store:{version.rpartition('-')[0]}@{version}")
            for candidate in dict.fromkeys(candidates):
                if candidate and version_at(candidate, self._settings) == version:
                    try:
                        return self._load(candidate)
                    except StoreUnavailable as e:
                        # Not refused: what the log leads to must not depend on the moment at which it was read.
                        exit_codes.end_now(exit_codes.TEMPFAIL, f"model {version} is asked for by the log: {e}")
                    except ModelNotFound:
                        continue
            there = version_at(source, self._settings)
            raise ModelNotFound(
                f"model {version} is not at {source} ({f'{there} is there' if there else 'there is none'}), nor is it MODEL or shipped"
            )

    def find_stored(self, version: str, source: str) -> Model:
        """As ``find``, of a model that a stored state names: then MODEL may replace it, when the settings say so."""
        try:
            model = self.find(version, source)
        except ModelNotFound as e:
            if self._settings.lost_model != "replace":
                raise ModelNotFound(
                    f"cannot restore: the model named in the stored state was not found: {e}; set MODEL to its folder, or LOST_MODEL=replace"
                ) from None
            self._once(f"{e}: {self.first.version} replaces it, its tracks start again")
            return self.first
        if version != self.first.version:
            self._once(
                f"the stored state goes on with model {version}, not with MODEL={self._settings.model} ({self.first.version}); "
                "to change over: python -m stream_operator model NAME --from TIME"
            )
        return model

    def _once(self, message: str) -> None:
        if message not in self._warned:
            self._warned.add(message)
            log.warning(message)

    def _load(self, source: str) -> Model:
        """The model of a name or folder with the rules that the settings change."""
        model = load(source, self._settings)
        return self._loaded.setdefault(model.version, model)


def load(source: str, settings: Settings) -> Model:
    """The model of a name or folder with the rules that the settings change. Raises ``ModelError``."""
    model = modelfolder.load(local(source, settings))
    track, detection = model.track_rules, model.detection_rules
    if settings.speed_max is not None:
        track = replace(track, speed_max_knots=settings.speed_max)
    if settings.interval_max is not None:
        track = replace(track, gap_max_s=settings.interval_max)
    if settings.min_timespan is not None:
        detection = replace(detection, min_timespan_s=settings.min_timespan)
    return model.with_rules(track, detection)


def version_at(source: str, settings: Settings) -> str | None:
    """What the manifest or the store there says, unchecked; None where there is no model."""
    try:
        if is_reference(source):
            reference = Reference.parse(source)
            return reference.version or _store(settings).resolve(reference).version
        return str(json.loads((modelfolder.find(source) / "manifest.json").read_text())["version"])
    except (ModelError, ConfigError, OSError, ValueError, KeyError, TypeError):
        return None


def track_rules(settings: Settings) -> TrackRules:
    """When a track is over, by the settings and the manifest of their model; the defaults where there is no model to ask."""
    try:
        manifest = json.loads((modelfolder.find(local(settings.model, settings)) / "manifest.json").read_text())
        rules = TrackRules.from_dict(manifest["track_rules"])
    except (MultitaskAISError, OSError, ValueError, KeyError, TypeError):
        rules = TrackRules()
    return rules if settings.interval_max is None else replace(rules, gap_max_s=settings.interval_max)


def source_of(model: str, settings: Settings) -> str:
    """A shipped model's name as it is, a folder as its absolute path, a model of the store with its version."""
    if is_reference(model):
        return str(_store(settings).resolve(Reference.parse(model)))
    if (Path(model) / "manifest.json").is_file():
        return str(Path(model).absolute())
    return model


def local(source: str, settings: Settings) -> str:
    """What ``model.folder`` loads: a model of the store is fetched into the cache, checked."""
    return str(_store(settings).fetch(Reference.parse(source))) if is_reference(source) else source


def _store(settings: Settings) -> ModelStore:
    where = StoreSettings(
        settings.store_url,
        settings.store_endpoint,
        settings.store_region,
        settings.store_key,
        settings.store_secret,
    )
    return ModelStore(where, cache_folder({"STORE_CACHE": settings.store_cache}))
