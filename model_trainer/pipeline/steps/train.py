"""``train``: weights of the networks. Goes on from the checkpoint of an attempt that was interrupted."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from ..step import LIBRARIES, Conf, Contents, Given, Settings, Step, Work
from .region import write_region
from .samples import split_seed

LOG_FOLDER = "_training"


class TrainSettings(Settings, frozen=True, kw_only=True):
    """``steps = 0`` trains nothing: the model is made of the detectors that need no training, and of the shipped motion network."""

    detectors: tuple[Literal["vrnn", "residual"], ...] = ("vrnn",)
    steps: Annotated[int, Meta(ge=0, le=1_000_000)] = 2000
    seed: Annotated[int, Meta(ge=0, le=2**31 - 1)] = 1
    latent: Annotated[int, Meta(ge=1, le=1024)] | None = None
    hidden: Annotated[int, Meta(ge=1, le=4096)] | None = None
    val_every: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None


class Train(Step):
    kind = "train"
    after = ("tracks", "samples")
    settings = TrainSettings
    modules = ("multitaskais.cli.train",)
    libraries = (*LIBRARIES, "tensorflow-cpu", "tensorflow")
    resumes = True

    def provide(self, conf: Conf, results: Mapping[str, Path]) -> Given:
        settings = conf.tables[self.kind]
        wanted = conf.tables["calibrate"].detectors
        parameters = msgspec.to_builtins(settings)
        # What the model does not take is not trained.
        parameters["detectors"] = (
            sorted({d for d in settings.detectors if not wanted or d in wanted}) if settings.steps else []
        )
        if not parameters["detectors"]:
            return Given({"detectors": []})
        parameters |= {"region": conf.region.to_dict(), "split_seed": split_seed(conf)}
        return Given(parameters, {"tracks": Contents(results["tracks"])})

    def run(self, work: Work) -> None:
        if not work.parameters["detectors"]:
            work.say("nothing to train")
            return
        box, model = write_region(work), work.folder / "model"
        for detector in work.parameters["detectors"]:
            names = ("steps", "seed", "latent", "hidden", "val_every") if detector == "vrnn" else ("steps", "seed", "hidden", "val_every")  # fmt: skip
            more = [x for n in names if work.parameters[n] is not None for x in (f"--{n.replace('_', '-')}", str(work.parameters[n]))]  # fmt: skip
            work.multitaskais("train", work.path("tracks"), "--region", box, "--out", model, "--detector", detector,
                              "--split-seed", str(work.parameters["split_seed"]), "--resume", *more)  # fmt: skip
        # The log has seconds, so it is no part of what was learnt (``step.Files``); the checkpoints have served.
        kept = work.folder / LOG_FOLDER
        shutil.rmtree(kept, ignore_errors=True)
        (model / "training").rename(kept)
        for checkpoint in kept.rglob("checkpoint.npz"):
            checkpoint.unlink()
