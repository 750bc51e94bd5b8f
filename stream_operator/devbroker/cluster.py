"""Several Kafka nodes on this machine, each broker and controller, 310 MB of memory each: for tests of what one broker cannot show."""

from __future__ import annotations

import base64
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import DevBroker, Member, fetch_jars, free_port


class DevCluster:
    """``nodes`` brokers under ``folder``; topics are copied to three of them. ``bootstrap`` names all.

    Args:
        folders: of some nodes' data another place, by the node's number (from 1 on).
        advertised_ports: of some nodes the port of a proxy before it.
    """

    def __init__(
        self,
        folder: Path,
        nodes: int = 3,
        *,
        heap_mb: int = 384,
        folders: dict[int, Path] | None = None,
        advertised_ports: dict[int, int] | None = None,
    ) -> None:
        cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[:22]
        ports = tuple(free_port() for _ in range(nodes))
        self.nodes = [
            DevBroker(
                (folders or {}).get(n, folder / f"node-{n}"),
                heap_mb=heap_mb,
                member=Member(n, ports, cluster_id),
                advertised_port=(advertised_ports or {}).get(n),
                # A broker that stands still is noticed within seconds, so that a test need not wait the usual half a minute.
                more=(
                    "replica.lag.time.max.ms=5000",
                    "broker.session.timeout.ms=4000",
                    "broker.heartbeat.interval.ms=500",
                ),
            )
            for n in range(1, nodes + 1)
        ]
        self.bootstrap = ",".join(node.bootstrap for node in self.nodes)

    def __enter__(self) -> DevCluster:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """All at once: a node alone has no majority of controllers."""
        fetch_jars()
        with ThreadPoolExecutor(len(self.nodes)) as pool:
            for started in [pool.submit(node.start) for node in self.nodes]:
                started.result()

    def stop(self) -> None:
        with ThreadPoolExecutor(len(self.nodes)) as pool:
            for stopped in [pool.submit(node.stop) for node in self.nodes]:
                stopped.result()
