"""A pipeline of three small steps, for the laws of the runner; also a process to be killed (``COMMAND``).

``read`` copies its input and a parameter, ``double`` takes half a second for two files, ``add`` joins them. Each writes its first file well
before its last one, ``whole``: a folder without it is half an output.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from model_trainer.database import Database
from model_trainer.pipeline.keys import FileDigests
from model_trainer.pipeline.results import Results
from model_trainer.pipeline.runner import Outcome, Runner
from model_trainer.pipeline.step import Conf, Files, Given, Step, Work
from multitaskais.config import Region

REGION = Region.load("brittany")


def conf(source: Path, x: int = 1, pause_s: float = 0.0) -> Conf:
    return Conf("toy", REGION, (str(source),), None, {}, {"source": str(source), "x": x, "pause_s": pause_s})


class Toy(Step):
    """Counts how often each kind was made, in ``made``."""

    made: list[str] = []  # noqa: RUF012
    pause_s = 0.0
    libraries = ("numpy",)

    def run(self, work: Work) -> None:
        (work.folder / "first").write_text(self.text(work))
        time.sleep(self.pause_s)
        (work.folder / "whole").write_text(self.text(work))
        Toy.made.append(self.kind)

    def text(self, work: Work) -> str:
        raise NotImplementedError


class Read(Toy):
    kind = "read"

    def provide(self, conf: Conf, results: Mapping[str, Path]) -> Given:
        return Given({"x": conf.values["x"]}, {"source": Files(Path(conf.archive[0]))})

    def text(self, work: Work) -> str:
        return f"{work.path('source').read_text()} {work.parameters['x']}"


class Double(Toy):
    """Only the length of what was read matters to it, so another text of the same length makes the same."""

    kind = "double"
    after = ("read",)

    def provide(self, conf: Conf, results: Mapping[str, Path]) -> Given:
        return Given({}, {"read": Files(results["read"])})

    def text(self, work: Work) -> str:
        return str(2 * len((work.path("read") / "whole").read_text()))


class Add(Toy):
    kind = "add"
    after = ("read", "double")

    def provide(self, conf: Conf, results: Mapping[str, Path]) -> Given:
        return Given({}, {"double": Files(results["double"])})

    def text(self, work: Work) -> str:
        return "sum " + (work.path("double") / "whole").read_text()


def runner(url: str, out: Path, of: Conf, say=lambda _: None, lease_s: float = 30.0) -> Runner:
    steps: list[Step] = [Read(), Double(), Add()]
    for step in steps:
        step.pause_s = float(of.values["pause_s"])  # type: ignore[attr-defined]
    return Runner(of, steps, Results(Database(url), lease_s), out, FileDigests(out / ".digests.json"), say)


def states(ended: list[Outcome]) -> dict[str, str]:
    return {o.step: o.state for o in ended}


def main() -> None:
    """A process to be killed; see ``COMMAND``."""
    url, out, source, x, pause_s = sys.argv[1:]
    made = runner(url, Path(out), conf(Path(source), int(x), float(pause_s)), lambda text: print(text, flush=True))
    print("begins", flush=True)
    try:
        print(json.dumps(states(made.run()[1])), flush=True)
    except KeyboardInterrupt:
        sys.exit(130)


# Not ``-m``: the steps must have the module name that they have in the tests, which is in their keys.
COMMAND = [sys.executable, "-c", "from tests.support.toy_pipeline import main; main()"]
