"""``accept``: whether the figures keep the limits. When they do not, the pipeline ends here, with the answer no."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from ..step import Conf, Files, Given, Settings, Step, Work


class AcceptSettings(Settings, frozen=True, kw_only=True):
    """The least AUROC, and the largest share of clean tracks that may be flagged; means over the seeds."""

    auroc_min: Annotated[float, Meta(ge=0, le=1)] = 0.0
    clean_flagged_max: Annotated[float, Meta(ge=0, le=1)] = 1.0


class Accept(Step):
    kind = "accept"
    after = ("evaluate",)
    settings = AcceptSettings

    def provide(self, conf: Conf, results: Mapping[str, Path]) -> Given:
        return Given(
            msgspec.to_builtins(conf.tables[self.kind]), {"figures": Files(results["evaluate"] / "figures.json")}
        )

    def run(self, work: Work) -> None:
        from ...work import verdict

        figures = json.loads(work.path("figures").read_text())
        figures.pop("by_seed", None)
        found = verdict({"accept": dict(work.parameters)}, figures, None)
        kept = {k: found[k] for k in ("accepted", "why_not", "figures")}
        (work.folder / "verdict.json").write_text(json.dumps(kept, indent=1) + "\n")

    def refusal(self, folder: Path) -> str | None:
        found = json.loads((folder / "verdict.json").read_text())
        return None if found["accepted"] else "not accepted: " + "; ".join(found["why_not"])
