"""The models of a worker: found by their version, loaded once for all partitions, under the rules of the settings."""

from __future__ import annotations

import json
import logging
import threading
import weakref
from dataclasses import replace
from pathlib import Path

from multitaskais.config import TrackRules
from multitaskais.errors import ModelError, ModelNotFound, MultitaskAISError
from multitaskais.model import folder as modelfolder
from multitaskais.model.folder import Model

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
        self._told: set[str] = set()
        self.first = self._load(settings.model)
        self.challenger = self._load(settings.challenger) if settings.challenger else None
        self.place = placed(settings.model)

    def find(self, version: str, place: str) -> Model:
        """The model of this version: at ``place``, or where the settings point, or shipped. Raises ``ModelError``."""
        with self._lock:
            if (model := self._loaded.get(version)) is not None:
                return model
            for candidate in dict.fromkeys(
                [place, self._settings.model, self._settings.challenger, *modelfolder.shipped()]
            ):
                if candidate and version_at(candidate) == version:
                    return self._load(candidate)
            there = version_at(place)
            raise ModelNotFound(
                f"model {version} is not at {place} ({f'{there} is there' if there else 'there is none'}), nor is it MODEL or shipped"
            )

    def find_stored(self, version: str, place: str) -> Model:
        """As ``find``, of a model that a stored state names: then MODEL may replace it, when the settings say so."""
        try:
            model = self.find(version, place)
        except ModelNotFound as e:
            if self._settings.lost_model != "replace":
                raise ModelNotFound(
                    f"the stored state goes on with a model that is lost: {e}; set MODEL to a folder that has it, or LOST_MODEL=replace"
                ) from None
            self._once(f"{e}: {self.first.version} replaces it, its lines begin anew")
            return self.first
        if version != self.first.version:
            self._once(
                f"the stored state goes on with model {version}, not with MODEL={self._settings.model} ({self.first.version}); "
                "to change over: python -m stream_operator model NAME --from TIME"
            )
        return model

    def _once(self, message: str) -> None:
        if message not in self._told:
            self._told.add(message)
            log.warning(message)

    def _load(self, place: str) -> Model:
        """The model of a name or folder with the rules that the settings change."""
        model = load(place, self._settings)
        return self._loaded.setdefault(model.version, model)


def load(place: str, settings: Settings) -> Model:
    model = modelfolder.load(place)
    track, detection = model.track_rules, model.detection_rules
    if settings.speed_max is not None:
        track = replace(track, speed_max_knots=settings.speed_max)
    if settings.interval_max is not None:
        track = replace(track, gap_max_s=settings.interval_max)
    if settings.min_timespan is not None:
        detection = replace(detection, min_timespan_s=settings.min_timespan)
    return model.with_rules(track, detection)


def version_at(place: str) -> str | None:
    """What the manifest there says, unchecked; None where there is no model."""
    try:
        return str(json.loads((modelfolder.find(place) / "manifest.json").read_text())["version"])
    except (ModelError, OSError, ValueError, KeyError, TypeError):
        return None


def track_rules(settings: Settings) -> TrackRules:
    """When a track is over, by the settings and the manifest of their model; the defaults where there is no model to ask."""
    try:
        manifest = json.loads((modelfolder.find(settings.model) / "manifest.json").read_text())
        rules = TrackRules.from_dict(manifest["track_rules"])
    except (MultitaskAISError, OSError, ValueError, KeyError, TypeError):
        rules = TrackRules()
    return rules if settings.interval_max is None else replace(rules, gap_max_s=settings.interval_max)


def placed(name_or_folder: str) -> str:
    """A shipped model's name as it is, a folder as its absolute path."""
    if (Path(name_or_folder) / "manifest.json").is_file():
        return str(Path(name_or_folder).absolute())
    return name_or_folder
