"""``detect``: verdicts and alerts of an archive."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from ..step import LIBRARIES, Archive, Conf, Files, Given, ModelFolder, Settings, Step, Work, reading_options
from .detector_code import detector_modules


class DetectSettings(Settings, frozen=True, kw_only=True):
    """``model``: name of a shipped one, a folder, or store:NAME[@VERSION]. ``zones``: a GeoJSON file of areas with a rule."""

    model: Annotated[str, Meta(min_length=1)]
    zones: str | None = None


def model_input(model: str) -> ModelFolder:
    """The folder of a model; one of the store is fetched, the latest version unless one is named. Raises ``ModelError``."""
    from multitaskais.model import folder
    from multitaskais.model.store import local_folder

    return ModelFolder(folder.find(local_folder(model, os.environ)).absolute())


class Detect(Step):
    kind = "detect"
    settings = DetectSettings
    modules = ("multitaskais.cli.detect",)
    libraries = (*LIBRARIES, "pyais", "shapely")

    def code(self, conf: Conf) -> tuple[str, ...]:
        return (*super().code(conf), *detector_modules())

    def provide(self, conf: Conf, results: Mapping[str, Path]) -> Given:
        settings = conf.tables[self.kind]
        zones = {"zones": Files(Path(settings.zones).absolute())} if settings.zones else {}
        return Given(conf.reading(), {"archive": Archive(conf.archive), "model": model_input(settings.model), **zones})

    def run(self, work: Work) -> None:
        archive = work.given.inputs["archive"]
        assert isinstance(archive, Archive)
        zones: list[str | Path] = ["--zones", work.path("zones")] if "zones" in work.given.inputs else []
        work.multitaskais(
            "detect",
            *archive.patterns,
            "--model",
            work.path("model"),
            "--out",
            work.folder,
            *zones,
            *reading_options(work.parameters),
        )
