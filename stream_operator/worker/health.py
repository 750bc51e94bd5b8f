"""Is the worker alive, and is it of use? A green answer must mean that reports become alerts."""

from __future__ import annotations

import errno
import socket
import time
from typing import Any

from multitaskais.errors import OperatorError

from ..settings import Settings
from .consumer import KafkaSource

BEAT_S = 60.0  # a loop turn takes 0.1 s; opening partitions takes seconds


def require_port(settings: Settings) -> None:
    """Raise unless the pages can be shown: Faust would begin its work first, and then end with a traceback."""
    at = f"{settings.health_bind}:{settings.health_port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.health_bind, settings.health_port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except OSError as e:
        if e.errno == errno.EADDRINUSE:
            raise OperatorError(
                f"HEALTH_PORT: {at} is taken by another program (another worker?); give this one a HEALTH_PORT of its own"
            ) from None
        raise OperatorError(f"HEALTH_BIND, HEALTH_PORT: {at} cannot be listened on ({e.strerror})") from None


def alive(source: KafkaSource) -> tuple[bool, dict[str, Any]]:
    """The consumer's thread goes round."""
    age = time.monotonic() - source.last_heartbeat
    return age < BEAT_S, {"alive": age < BEAT_S, "beat_age_s": round(age, 1)}


def ready(source: KafkaSource, settings: Settings) -> tuple[bool, dict[str, Any]]:
    """Partitions are assigned and restored, and nothing has waited long for a checkpoint."""
    partitions = list(source.partitions.values())
    why = []
    if not partitions:
        why.append("no partition is assigned")
    if source.rebalancing:
        why.append("partitions are being restored")
    if closed := [p.number for p in partitions if p.closed]:
        why.append(f"partitions {closed} were fenced and wait to be opened again")
    waiting = max((p.waiting_s for p in partitions), default=0.0)
    if waiting > settings.ready_age_s:
        why.append(f"results have waited {waiting:.0f} s for a checkpoint")
    ok = not why and alive(source)[0]
    return ok, {
        "ready": ok,
        "why_not": why,
        "partitions": {str(p.number): {"position": p.position, "durable": p.durable} for p in partitions},
        "checkpoint_age_s": round(waiting, 2),
    }
