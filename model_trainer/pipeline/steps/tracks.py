"""``tracks``: the archive's reports in the region's box, of its newest days where the configuration says so; or Spark's tracks."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

from ..step import LIBRARIES, Archive, Conf, Given, Settings, Step, Work, reading_options
from .region import write_region


class TracksSettings(Settings, frozen=True, kw_only=True):
    """``local`` reads the archive in one process; ``spark`` submits the tracks builder, for archives of years."""

    builder: Literal["local", "spark"] = "local"


class Tracks(Step):
    kind = "tracks"
    settings = TracksSettings
    libraries = (*LIBRARIES, "pyais", "pyspark")

    def code(self, conf: Conf) -> tuple[str, ...]:
        builder = "model_trainer.work" if conf.tables[self.kind].builder == "local" else "tracks_builder.main"
        return ("multitaskais.ais.archives", builder)

    def provide(self, conf: Conf, results: Mapping[str, Path]) -> Given:
        parameters = {"region": conf.region.to_dict(), "last_days": conf.last_days, "archive": list(conf.archive)}
        parameters |= msgspec.to_builtins(conf.tables[self.kind]) | conf.reading()
        # Where the archive lies does not matter, what is in it does.
        given = {k: v for k, v in parameters.items() if k != "archive"}
        return Given(given, {"archive": Archive(conf.archive)})

    def run(self, work: Work) -> None:
        from multitaskais.config import Region

        archive = work.given.inputs["archive"]
        assert isinstance(archive, Archive)
        region = Region.from_dict(dict(work.parameters["region"]))
        if work.parameters["builder"] == "local":
            from ...work import read

            conf = {"archive": list(archive.patterns), **work.parameters}
            read(conf, region, work.folder / "reports.parquet")
            return
        main = Path(__file__).resolve().parents[3] / "tracks_builder" / "main.py"
        box = write_region(work, work.folder.with_suffix(".region.json"))
        submit = Path(sys.executable).with_name("spark-submit")
        env = {"PYSPARK_PYTHON": sys.executable, **os.environ}
        try:
            work.command(
                [
                    str(submit),
                    str(main),
                    *archive.patterns,
                    str(box),
                    "--output",
                    str(work.folder),
                    *reading_options(work.parameters),
                ],
                "tracks",
                env,
            )
        finally:
            box.unlink()
