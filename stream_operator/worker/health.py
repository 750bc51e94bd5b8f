"""Is the worker alive, and is it of use? A green answer must mean that reports become alerts."""

from __future__ import annotations

import math
import time
from typing import Any

from ..settings import Settings
from .consumer import KafkaSource

BEAT_S = 60.0  # a loop turn takes 0.1 s; opening partitions takes seconds


def alive(source: KafkaSource) -> tuple[bool, dict[str, Any]]:
    """The consumer's thread goes round."""
    age = time.monotonic() - source.heart.last
    return age < BEAT_S, {"alive": age < BEAT_S, "beat_age_s": round(age, 1)}


def ready(source: KafkaSource, settings: Settings) -> tuple[bool, dict[str, Any]]:
    """Partitions are assigned and restored, and nothing has waited long for a checkpoint."""
    partitions = source.assignment.all()
    why = []
    if not partitions:
        why.append("no partition is assigned")
    if opening := dict(source.assignment.opening):
        since = time.monotonic() - min(opening.values())
        why.append(f"partitions {sorted(opening)} are being restored since {since:.0f} s")
    if closed := [p.number for p in partitions if p.closed]:
        why.append(f"partitions {closed} were fenced and wait to be opened again")
    if (grown := source.watch.grown_to) is not None:
        why.append(f"{settings.topic} has {grown} partitions, more than the state: those that were added are not read")
    now = time.monotonic()
    for p in partitions:
        held_s = 0.0 if p.held_since is None else now - p.held_since
        stalled_s = now - p.moved_at
        if p.ends is not None and p.held_since is not None and held_s > settings.ready_age_s:
            why.append(
                f"partition {p.number}: held at offset {p.ends.stable} of {p.ends.high} by an open transaction since {held_s:.0f} s"
            )
        elif stalled_s > settings.ready_age_s and p.ends is not None:
            why.append(f"partition {p.number}: stands at offset {p.position} of {p.ends.high} since {stalled_s:.0f} s")
    waiting = max((p.waiting_s for p in partitions), default=0.0)
    if waiting > settings.ready_age_s:
        why.append(f"results have waited {waiting:.0f} s for a checkpoint")
    ok = not why and alive(source)[0]
    return ok, {
        "ready": ok,
        "why_not": why,
        "warnings": source.watch.peers.warnings(),
        "partitions": {
            str(p.number): {
                "position": p.position,
                "durable": p.durable,
                "log_end": None if p.ends is None else p.ends.high,
                "event_time": p.now if math.isfinite(p.now) else None,
                "idle_s": round(now - p.heard_at, 1),
                "stalled_s": round(now - p.moved_at, 1),
            }
            for p in partitions
        },
        "checkpoint_age_s": round(waiting, 2),
    }
