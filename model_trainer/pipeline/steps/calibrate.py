"""``calibrate``: weights and tracks -> a complete model folder."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from multitaskais.errors import ConfigError

from ..step import LIBRARIES, Conf, Contents, Files, Given, Settings, Step, Work
from .detector_code import detector_modules, installed_detectors
from .region import write_region
from .samples import split_seed

NAME = r"^[a-z0-9][a-z0-9_.-]{0,50}$"


class CalibrateSettings(Settings, frozen=True, kw_only=True):
    """``detectors`` empty: all that are installed. ``name`` of the model: that of ``[publish]``, else the region's."""

    budget: Annotated[float, Meta(gt=0, lt=1)] | None = None
    alerts_per_vessel_day: Annotated[float, Meta(gt=0, le=1000)] | None = None
    detectors: tuple[str, ...] = ()
    decision: Literal["fused", "a_contrario"] = "fused"
    name: Annotated[str, Meta(pattern=NAME)] | None = None
    credits: tuple[Annotated[str, Meta(min_length=1, max_length=500)], ...] = ()

    def __post_init__(self) -> None:
        for name in self.detectors:
            if name not in installed_detectors():
                raise ConfigError(
                    f"calibrate.detectors: no detector {name!r} (there are: {', '.join(installed_detectors())})"
                )


class Calibrate(Step):
    kind = "calibrate"
    after = ("tracks", "train")
    settings = CalibrateSettings
    modules = ("multitaskais.cli.calibrate",)
    libraries = (*LIBRARIES, "shapely")

    def code(self, conf: Conf) -> tuple[str, ...]:
        return (*super().code(conf), *detector_modules(conf.tables["calibrate"].detectors))

    def provide(self, conf: Conf, results: Mapping[str, Path]) -> Given:
        parameters = msgspec.to_builtins(conf.tables["calibrate"])
        published = conf.tables.get("publish")
        parameters["name"] = parameters["name"] or (published.name if published else conf.region.name.lower())
        parameters |= {"region": conf.region.to_dict(), "split_seed": split_seed(conf)}
        return Given(parameters, {"tracks": Contents(results["tracks"]), "weights": Files(results["train"])})

    def run(self, work: Work) -> None:
        box, model, p = write_region(work), work.folder / "model", work.parameters
        weights = work.path("weights") / "model" / "detectors"
        if weights.is_dir():
            shutil.copytree(weights, model / "detectors")
        more = ["--budget", str(p["budget"])] if p["budget"] is not None else []
        more += (
            ["--alerts-per-vessel-day", str(p["alerts_per_vessel_day"])]
            if p["alerts_per_vessel_day"] is not None
            else []
        )
        more += ["--detectors", ",".join(p["detectors"])] if p["detectors"] else []
        more += [x for credit in p["credits"] for x in ("--credit", credit)]
        work.multitaskais("calibrate", work.path("tracks"), "--region", box, "--model", model, "--name", p["name"],
                          "--split-seed", str(p["split_seed"]), "--decision", p["decision"], *more)  # fmt: skip
