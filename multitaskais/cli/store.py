"""``multitaskais store push|list|pull|withdraw|prune``: models with their history, in a folder or an object store.

The store is the folder or URL of ``--store`` (``push``: also ``--to``) or of STORE_URL; an S3 server that is not Amazon's is named by STORE_ENDPOINT,
its keys by STORE_KEY and STORE_SECRET. Exit code 75: the store does not answer, try again.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import sys
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ..command import CommandParser
from ..errors import ConfigError, StoreUnavailable

if TYPE_CHECKING:
    from ..model.ledger import LedgerEntry
    from ..model.store import ModelStore

AGAIN = 75
EXIT_CODES = "exit codes: 0 done, 2 wrong use or wrong input (one line says what to do), 75 the store does not answer: try again, 130 interrupted"


def add_parser(subparsers: argparse._SubParsersAction[CommandParser]) -> None:
    p = subparsers.add_parser(
        "store",
        help="publish models, and take them back",
        description=__doc__,
        epilog="example: multitaskais store list",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        exit_codes=EXIT_CODES,
    )
    actions = p.add_subparsers(dest="action", required=True, metavar="ACTION")

    def action(name: str, help_: str, example: str) -> CommandParser:
        a = actions.add_parser(name, help=help_, description=help_, epilog=f"example: {example}", exit_codes=EXIT_CODES)
        a.add_argument(*(["--to", "--store"] if name == "push" else ["--store"]), dest="url", default="", metavar="URL", help="folder, or s3://BUCKET/PREFIX (default: STORE_URL)")  # fmt: skip
        a.set_defaults(run=run)
        return a

    push = action("push", "put a model into the store; it is the latest then", "multitaskais store push gulf --to /srv/store")  # fmt: skip
    push.add_argument("model", metavar="MODEL", help="name of a shipped model, or a model folder")
    push.add_argument("--note", default="", help="a line for its history")
    push.add_argument("--json", action="store_true", help="print the entry of the ledger as JSON")
    show = action("list", "the models of a store, or the history of one", "multitaskais store list gulf --store /srv/store")  # fmt: skip
    show.add_argument("name", nargs="?", metavar="NAME")
    show.add_argument("--json", action="store_true", help="one JSON object an entry")
    pull = action("pull", "fetch a model as a folder", "multitaskais store pull gulf --to out/gulf --store /srv/store")
    pull.add_argument("model", metavar="NAME[@VERSION]", help="default: the latest version")
    pull.add_argument("--to", dest="folder", type=Path, required=True, metavar="DIR", help="a new folder")
    take_back = action("withdraw", "make the former version the latest again", "multitaskais store withdraw gulf --note 'too many alerts'")  # fmt: skip
    take_back.add_argument("name", metavar="NAME")
    take_back.add_argument("--note", default="", help="why; a line for its history")
    prune = action("prune", "remove versions that the last entries do not name", "multitaskais store prune gulf --keep 20")  # fmt: skip
    prune.add_argument("name", metavar="NAME")
    prune.add_argument("--keep", type=int, default=20, metavar="N", help="entries to keep the versions of (default %(default)s)")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    from ..model.objects import StoreSettings
    from ..model.store import ModelStore, cache_folder

    try:
        store = ModelStore(StoreSettings.of(os.environ, args.url), cache_folder(os.environ))
        return {"push": _push, "list": _list, "pull": _pull, "withdraw": _withdraw, "prune": _prune}[args.action](
            store, args
        )
    except StoreUnavailable as e:
        print(f"multitaskais store {args.action}: {e}", file=sys.stderr)
        return AGAIN


def _push(store: ModelStore, args: argparse.Namespace) -> int:
    before = _latest_number(args.model, store)
    entry = store.publish(args.model, t=time.time(), by=socket.gethostname(), token=uuid.uuid4().hex, note=args.note)
    if args.json:
        print(json.dumps(_as_dict(entry)))
    elif entry.number == before:
        print(f"{entry.version} is the latest in {store} already (entry {entry.number})")
    else:
        print(f"{entry.version} is the latest in {store} now (entry {entry.number})")
    return 0


def _latest_number(model: str, store: ModelStore) -> int:
    """Number of the latest entry of the model's name."""
    from ..model import folder

    return store.latest_number(folder.read_manifest(folder.find(model))["name"])


def _list(store: ModelStore, args: argparse.Namespace) -> int:
    entries = (
        [(args.name, e) for e in store.ledger(args.name)]
        if args.name
        else [(n, e) for n in store.names() if (e := store.latest(n)) is not None]
    )
    if args.name and not entries:
        raise ConfigError(f"no model {args.name!r} in the store {store}: `multitaskais store list` shows what is there")
    for name, entry in entries:
        if args.json:
            print(json.dumps({"name": name} | _as_dict(entry)))
        else:
            when = time.strftime("%Y-%m-%d %H:%M", time.gmtime(entry.t))
            taken_back = f" instead of {entry.withdrawn}" if entry.withdrawn else ""
            print(f"{entry.number:>6}  {entry.version}  {when} UTC  {entry.action}{taken_back} by {entry.by}  {entry.note}".rstrip())  # fmt: skip
    return 0


def _pull(store: ModelStore, args: argparse.Namespace) -> int:
    from ..model.reference import Reference

    if args.folder.exists() and (not args.folder.is_dir() or any(args.folder.iterdir())):
        raise ConfigError(f"--to {args.folder}: is there already; give a new folder")
    reference = store.resolve(Reference.parse(args.model))
    folder = store.fetch(reference)
    shutil.copytree(folder, args.folder, dirs_exist_ok=True)
    if card := store.card(reference.name, str(reference.version)):
        (args.folder / "card").mkdir(exist_ok=True)
        (args.folder / "card" / "card.md").write_text(card)
    print(f"{reference.version} is in {args.folder}")
    return 0


def _withdraw(store: ModelStore, args: argparse.Namespace) -> int:
    entry = store.withdraw(args.name, t=time.time(), by=socket.gethostname(), token=uuid.uuid4().hex, note=args.note)
    print(f"{entry.withdrawn} is withdrawn; {entry.version} is the latest again (entry {entry.number})")
    return 0


def _prune(store: ModelStore, args: argparse.Namespace) -> int:
    removed = store.prune(args.name, args.keep)
    print(f"{len(removed)} versions of {args.name} removed" + "".join(f"\n  {v}" for v in removed))
    return 0


def _as_dict(entry: LedgerEntry) -> dict[str, object]:
    return msgspec.structs.asdict(entry)
