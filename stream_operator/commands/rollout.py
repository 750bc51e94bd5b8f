"""``python -m stream_operator model MODEL --from TIME``: another model takes over, without a restart (ADR 0011).

MODEL is a shipped model's name, a folder that all workers see at the same place, or store:NAME[@VERSION] in the model store.
The model is checked here (checksums, region, track rules), then announced in the control topic. The workers load it
from there (from a store: that version), let it warm up beside the present one, and give each vessel over with its first sample at or after TIME
(time of the reports, UTC). Announce it at least 4 h of the reports' time before: a model that could not warm up
does not judge a vessel for its first 2 h. Of those whose time has come, the last announced is active: to take a change back:
``python -m stream_operator control withdraw NUMBER``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from multitaskais.command import CommandParser
from multitaskais.engine.rollout import check_compatible
from multitaskais.errors import ConfigError
from multitaskais.times import LATEST

from ..kafka import control
from ..kafka.control_writer import ControlWriter
from ..settings import Settings
from ..worker import registry as models
from .replay import moment


def main(argv: list[str]) -> int:
    parser = CommandParser(
        "python -m stream_operator model",
        description=__doc__,
        epilog="example: python -m stream_operator model /models/june --from 2026-06-01T12:00",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "model", metavar="MODEL", help="a shipped model, a folder that all workers see, or store:NAME[@VERSION]"
    )
    parser.add_argument(
        "--from", dest="since", required=True, metavar="TIME", help="activation time: 2026-01-01T12:00 (UTC)"
    )
    parser.add_argument("--settings", type=Path, help="TOML file of settings")
    args = parser.parse_args(argv)
    since = moment("--from", args.since)
    if not 0.0 < since < LATEST:
        raise ConfigError(f"--from {args.since}: give a time between 1970 and 2100")
    settings = Settings.load(file=args.settings)
    source = models.source_of(args.model, settings)
    candidate = models.load(source, settings)
    check_compatible(models.load(settings.model, settings), candidate)
    record = control.ModelAnnouncement(model=source, version=candidate.version, since=since)
    number = ControlWriter(settings).send(record)
    print(
        f"control record {number} announces model {candidate.version} ({source}): it is active from {control.utc(since)} on; "
        "the workers log when they follow it, or why they refuse it",
        file=sys.stderr,
    )
    return 0
