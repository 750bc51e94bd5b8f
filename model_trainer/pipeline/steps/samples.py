"""``samples``: the 10-minute samples of the tracks to learn from, and which vessel is for what. It ends early where there is too little."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from ..step import Conf, Contents, Given, Settings, Step, Work


class SamplesSettings(Settings, frozen=True, kw_only=True):
    """``split_seed``: which vessels are to learn from, to calibrate and to test; all steps take it from here."""

    split_seed: Annotated[int, Meta(ge=0, le=2**31 - 1)] = 0


def split_seed(conf: Conf) -> int:
    return int(conf.tables["samples"].split_seed)


class Samples(Step):
    kind = "samples"
    after = ("tracks",)
    settings = SamplesSettings

    def provide(self, conf: Conf, results: Mapping[str, Path]) -> Given:
        parameters = {"region": conf.region.to_dict(), **msgspec.to_builtins(conf.tables[self.kind])}
        return Given(parameters, {"tracks": Contents(results["tracks"])})

    def run(self, work: Work) -> None:
        import numpy as np
        import pyarrow as pa
        import pyarrow.parquet as pq

        from multitaskais.config import Region
        from multitaskais.errors import InputError
        from multitaskais.model.fit import MIN_DEV_VESSELS
        from multitaskais.model.samples import Split, load_samples, split_of

        found = load_samples(str(work.path("tracks")), Region.from_dict(dict(work.parameters["region"])))
        split = split_of(found.samples["mmsi"], work.parameters["split_seed"])
        counts = {
            s.name.lower(): {"samples": int((split == s).sum()), "vessels": len(np.unique(found.samples["mmsi"][split == s]))}
            for s in Split
        }  # fmt: skip
        if counts["dev"]["vessels"] < MIN_DEV_VESSELS:
            raise InputError(f"samples: only {counts['dev']['vessels']} vessels to calibrate with, {MIN_DEV_VESSELS} are needed: give an archive of more vessels, or a longer period")  # fmt: skip
        columns = {n: pa.array(np.ascontiguousarray(found.samples[n])) for n in found.samples.dtype.names or ()}
        columns |= {"line": pa.array(found.line), "split": pa.array(split)}
        pq.write_table(pa.table(columns), work.folder / "samples.parquet", compression="zstd")
        (work.folder / "counts.json").write_text(json.dumps({"tracks": found.tracks, **counts}, indent=1) + "\n")
