"""Claim: a store is asked for a new version within 2 ms, and a model of 6 MB is published, fetched and checked within 0.2 s; beside it, ``cp -r`` of the same folder.

On a folder, and on a real S3 server (S3Proxy) where Java is. Each publication is a version that the store does not have, each fetch goes
into an empty cache.
"""

from __future__ import annotations

import dataclasses
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from multitaskais.model import folder as modelfolder
from multitaskais.model.objects import StoreSettings
from multitaskais.model.reference import Reference
from multitaskais.model.store import ModelStore
from tests.support import s3proxy

from .harness import Result, figure, require
from .workload import MODEL

GOAL_POLL_MS, GOAL_PUBLISH_S = 2.0, 0.2
POLLS, QUICK_POLLS = 300, 20
ROUNDS, QUICK_ROUNDS = 7, 2


def wall(work: Callable[[], Any]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def copied(source: Path, place: Path) -> float:
    """Seconds of ``cp -r``."""
    took = wall(lambda: subprocess.run(["cp", "-r", str(source), str(place / "copy")], check=True))
    shutil.rmtree(place / "copy")
    return took


def of_store(kind: str, settings: StoreSettings, versions: list[Path], place: Path, polls: int) -> list[Result]:
    store, took, references = ModelStore(settings, place / "publisher"), [], []
    for number, source in enumerate(versions):
        cache = place / f"cache{number}"
        reader = ModelStore(settings, cache)

        def publish_and_fetch(source: Path = source, reader: ModelStore = reader) -> None:
            entry = store.publish(source, t=time.time(), by="bench", token="0123abcd")
            reader.fetch(Reference("bench", entry.version))

        took.append(wall(publish_and_fetch))
        references.append(copied(source, place))
        at = reader.fetch(Reference("bench", modelfolder.read_manifest(source)["version"]))
        require(modelfolder.read_manifest(at)["version"] == modelfolder.read_manifest(source)["version"], "the version")
        shutil.rmtree(cache)
    size = sum(f.stat().st_size for f in versions[0].rglob("*") if f.is_file())
    polled = [1e3 * wall(lambda: store.latest_number("bench")) for _ in range(polls)]
    copy = statistics.median(references)
    return [
        figure(
            f"store/poll, {kind}",
            work=f"is there a new version? {kind}, a ledger of {len(versions)}",
            unit="ms",
            value=statistics.median(polled),
            goal=GOAL_POLL_MS,
            reference="the clock",
            notes=(f"p99 {sorted(polled)[int(0.99 * len(polled))]:.2f} ms",),
        ),
        figure(
            f"store/publish and fetch, {kind}",
            work=f"publish, fetch into an empty cache and check {size / 1e6:.1f} MB, {kind}",
            unit="s",
            value=statistics.median(took),
            goal=GOAL_PUBLISH_S,
            reference="`cp -r` of the same folder",
            notes=(
                f"{statistics.median(took) / copy:.1f} times as long as `cp -r`, which takes {1e3 * copy:.0f} ms and checks nothing",
            ),
        ),
    ]


def run(quick: bool = False) -> list[Result]:
    base = modelfolder.load(MODEL)
    results = []
    with tempfile.TemporaryDirectory() as name, ExitStack() as open_:
        place = Path(name)
        versions = []
        for k in range(QUICK_ROUNDS if quick else ROUNDS):
            versions.append(place / f"version{k}" / "bench")
            modelfolder.save(dataclasses.replace(base, name="bench", made_from={"k": k}), versions[-1])
        polls = QUICK_POLLS if quick else POLLS
        (place / "on_folder").mkdir()
        settings = StoreSettings(str(place / "store"))
        results += of_store("a folder", settings, versions, place / "on_folder", polls)
        if not s3proxy.missing():
            (place / "s3").mkdir()
            server = open_.enter_context(s3proxy.S3Proxy(place / "s3"))
            results += of_store("S3", server.settings("bench"), versions, place / "s3", polls)
    return results
