"""``inject``: anomalies of all kinds in tracks of vessels that took no part in the training, one table a seed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..step import Conf, Contents, Given, Step, Work
from .region import write_region
from .samples import split_seed


def labelled(folder: Path, seed: int) -> Path:
    return folder / f"labelled-{seed}.parquet"


class Inject(Step):
    """``seeds``: those of ``[evaluate]`` unless given."""

    kind = "inject"
    after = ("tracks",)
    modules = ("multitaskais.cli.inject",)

    def __init__(self, name: str | None = None, seeds: tuple[int, ...] | None = None) -> None:
        super().__init__(name)
        self._seeds = seeds

    def provide(self, conf: Conf, results: Mapping[str, Path]) -> Given:
        evaluate = conf.tables["evaluate"]
        seeds = sorted(set(self._seeds or evaluate.seeds))
        parameters = {"region": conf.region.to_dict(), "split_seed": split_seed(conf), "per_kind": evaluate.per_kind, "seeds": seeds}  # fmt: skip
        return Given(parameters, {"tracks": Contents(results["tracks"])})

    def run(self, work: Work) -> None:
        box, p = write_region(work), work.parameters
        for seed in p["seeds"]:
            work.multitaskais("inject", work.path("tracks"), "--region", box, "--seed", str(seed), "--per-kind", str(p["per_kind"]),
                              "--split", "test", "--split-seed", str(p["split_seed"]), "--out", labelled(work.folder, seed))  # fmt: skip
