"""``python -m stream_operator zones put FILE --from TIME``: areas with a rule, as control records in the log.

put FILE   watch the zones of a GeoJSON file from TIME on; one of the same name is replaced
end NAME   watch a zone no more from TIME on
list       the zones of the control topic, as GeoJSON

TIME is the time of the reports (UTC). Give one that the reports have not yet come to, and a replay decides as the live run did;
an earlier one holds from the moment at which ``meetings`` reads it.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from multitaskais.command import CommandParser
from multitaskais.errors import InputError
from multitaskais.zones.zone import read_zones_file

from ..kafka import control
from ..kafka.control_writer import ControlWriter, read
from ..settings import Settings
from .replay import moment


def standing(settings: Settings) -> list[dict[str, Any]]:
    """The zones that the control topic holds, by name: each a GeoJSON feature with ``from`` and, where it ends, ``to`` (Unix s)."""
    found: dict[str, dict[str, Any]] = {}
    for number, value in read(settings):
        record = control.decode(value)
        if not isinstance(record, control.Zone):
            continue
        if record.zone is not None:
            found[record.name] = record.zone | {"from": record.since, "number": number, "by": record.by}
        elif record.name in found:
            found[record.name]["to"] = record.since
    return [found[name] for name in sorted(found)]


def main(argv: list[str]) -> int:
    parser = CommandParser(
        "python -m stream_operator zones",
        description=__doc__,
        epilog="example: python -m stream_operator zones put reserves.geojson --from 2026-06-01T12:00",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", choices=("put", "end", "list"))
    parser.add_argument("which", nargs="?", metavar="FILE or NAME")
    parser.add_argument("--from", dest="since", metavar="TIME", help="time of the reports: 2026-01-01T12:00 (UTC)")
    parser.add_argument("--settings", type=Path, help="TOML file of settings")
    args = parser.parse_args(argv)
    settings = Settings.load(file=args.settings)
    if args.what == "list":
        print(json.dumps({"type": "FeatureCollection", "features": standing(settings)}, indent=1))
        return 0
    if not args.which or not args.since:
        parser.error(f"{args.what} needs {'a FILE' if args.what == 'put' else 'a NAME'} and --from TIME")
    since = moment("--from", args.since)
    if args.what == "end":
        if args.which not in (names := [z["properties"]["name"] for z in standing(settings)]):
            raise InputError(f"no zone {args.which!r}; there are: {', '.join(names) or 'none'}")
        records = [control.Zone(name=args.which, since=since)]
    else:
        zones = read_zones_file(Path(args.which))
        records = [control.Zone(name=z.name, since=since, zone=z.to_feature()) for z in zones]
    writer = ControlWriter(settings)
    for record in records:
        print(f"{writer.send(record)}: {record.summary()}", file=sys.stderr)
    return 0
