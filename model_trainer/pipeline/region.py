"""``multitaskais region new``: the steps of the pipeline as one command, for a box of one's own.

What is made lies in OUT/pipeline, by keys as everywhere; region.json, model, evaluation and held_out.parquet in OUT are those of the last run.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

from multitaskais.ais.tables.layout import parse_columns
from multitaskais.config import Region
from multitaskais.errors import ConfigError

from ..database import DatabaseAway
from . import conf
from .command import AGAIN, DIGESTS_FILE, WRONG, results_of
from .keys import FileDigests
from .runner import Outcome, Runner
from .step import Conf, Step
from .steps.calibrate import NAME
from .steps.inject import labelled
from .steps.train import LOG_FOLDER

README = "README.md"
SEED = 1  # of the injected anomalies on the model card
SHOWN = ("train", "calibrate", "inject", "evaluate")  # with a number; the other steps serve them


def new(args: argparse.Namespace) -> int:
    """Do what ``args`` (of ``multitaskais region new``) ask for; the exit code."""
    if not re.fullmatch(NAME, args.name):
        raise ConfigError(f"region new {args.name}: use lower-case letters, digits, '.', '-' and '_' for the name")
    south, north, west, east = args.box
    region = Region(args.name, south, north, west, east, lat_bin_deg=args.bins[0], lon_bin_deg=args.bins[1])
    values: dict[str, Any] = {
        "region": str(args.out / "region.json"), "archive": args.tracks, "format": args.format, "columns": parse_columns(args.columns),
        "train": {} if args.steps is None else {"steps": args.steps}, "calibrate": {"name": args.name},
        "evaluate": {"per_kind": args.per_kind, "seeds": [SEED], "plots": importlib.util.find_spec("matplotlib") is not None},
    }  # fmt: skip
    _require(values | {"region": "global"})  # before anything is written
    args.out.mkdir(parents=True, exist_ok=True)
    _begin(args.out, region)
    checked, steps = _require(values)
    try:
        results = results_of(None, args.out / "pipeline")
        done = _run(Runner(checked, steps, results, args.out / "pipeline", FileDigests(args.out / "pipeline" / DIGESTS_FILE), _say, _ended))  # fmt: skip
    except DatabaseAway as e:
        print(f"multitaskais region new: {e}", file=sys.stderr)
        return AGAIN
    if done is None:
        return WRONG
    model = args.out / "model"
    _place(done["evaluate"] / "model", model)
    if (done["train"] / LOG_FOLDER).is_dir():
        _place(done["train"] / LOG_FOLDER, model / "training")
    _place(done["evaluate"] / f"report-{SEED}", args.out / "evaluation")
    _place(labelled(done["inject"], SEED), args.out / "held_out.parquet")
    print(f"{model}: use it with --model {model}; its card is {model / 'card' / 'card.md'}")
    return 0


def _require(values: dict[str, Any]) -> tuple[Conf, list[Step]]:
    """The steps up to ``evaluate``: whether to accept the model is the user's to say."""
    checked, steps = conf.of(values, "region new")
    last = next(n for n, s in enumerate(steps) if s.name == "evaluate")
    return checked, steps[: last + 1]


def _begin(out: Path, region: Region) -> None:
    """Another box is another model: nothing that was made for the former one may be taken for this one's."""
    file, text = out / "region.json", json.dumps(region.to_dict(), indent=1) + "\n"
    if file.is_file() and file.read_text() == text:
        return
    for made in (out / "model", out / "evaluation"):
        shutil.rmtree(made, ignore_errors=True)
    (out / "held_out.parquet").unlink(missing_ok=True)
    file.write_text(text)


def _run(runner: Runner) -> dict[str, Path] | None:
    """Step -> its folder; None where one failed, which has been said."""
    _, ended = runner.run()
    if ended[-1].state == "failed":
        print(f"multitaskais region new: {ended[-1].step}: {ended[-1].why}", file=sys.stderr)
        return None
    return {o.step: o.folder for o in ended if o.folder is not None}


def _say(text: str) -> None:
    """A line of the runner: ``STEP: why it is done``, then what is to be said of it."""
    step, _, said = text.partition(": ")
    print(f"{_numbered(step)} multitaskais {step}: {said}", flush=True)


def _ended(outcome: Outcome) -> None:
    if outcome.state == "skipped" and outcome.step in SHOWN:
        print(f"{_numbered(outcome.step)} multitaskais {outcome.step}\n      done before", flush=True)


def _numbered(step: str) -> str:
    return f"[{SHOWN.index(step) + 1}/{len(SHOWN)}]" if step in SHOWN else "     "


def _place(made: Path, there: Path) -> None:
    """Copy a file or folder into its place, whole or not at all; a README.md that somebody has put there stays."""
    part, old = there.with_name(f".{there.name}.part"), there.with_name(f".{there.name}.old")
    if not made.is_dir():
        shutil.copyfile(made, part)
        part.replace(there)
        return
    for left in (part, old):
        shutil.rmtree(left, ignore_errors=True)
    shutil.copytree(made, part)
    if (there / README).is_file():
        shutil.copyfile(there / README, part / README)
    if there.exists():
        there.rename(old)
    part.rename(there)
    shutil.rmtree(old, ignore_errors=True)
