"""A real Apache Kafka of one node for tests, the demo and development: jars from Maven, no image, no script.

    with DevBroker(tmp_path) as broker:
        ...  # broker.bootstrap is "127.0.0.1:PORT"

It binds to 127.0.0.1 on free ports, so several run side by side. Needs Java 17 and, once, Maven. Not for production.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shlex
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from multitaskais.errors import OperatorError

POM = Path(__file__).with_name("pom.xml")
START_TIMEOUT_S = 120.0  # it is ready in about 3 s; a loaded machine takes longer, the more so with three of them
LOG4J2 = """\
rootLogger.level = WARN
rootLogger.appenderRef.file.ref = file
appender.file.type = File
appender.file.name = file
appender.file.fileName = {log}
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d{{ISO8601}} %p %c: %m%n
"""


@dataclass(frozen=True, slots=True)
class Security:
    """A listener with TLS and SASL/SCRAM-SHA-256 for one user. The PEM files are the broker's."""

    user: str
    password: str
    certificate_chain_and_key: Path  # PKCS#8 key, then the certificate chain, PEM
    ca: Path


def cache_folder() -> Path:
    """Where the jars are kept: ``KAFKA_CACHE`` or ``.cache/kafka`` under the current folder."""
    return Path(os.environ.get("KAFKA_CACHE", ".cache/kafka")).absolute()


def missing() -> str | None:
    """What this machine lacks to run the broker, with the remedy; None when nothing."""
    if shutil.which("java") is None:
        return "no Java runtime: install Java 17 (Debian: apt-get install openjdk-17-jre-headless)"
    if not _complete(_libs()) and shutil.which("mvn") is None:
        return "no Maven to fetch Apache Kafka with: install it (Debian: apt-get install maven)"
    return None


def _libs() -> Path:
    return cache_folder() / hashlib.sha256(POM.read_bytes()).hexdigest()[:12]


def _complete(libs: Path) -> bool:
    return (libs / ".complete").is_file()


def fetch_jars() -> Path:
    """Fetch the jars of ``pom.xml`` once; return their folder."""
    if (reason := missing()) is not None:
        raise OperatorError(reason)
    libs = _libs()
    if _complete(libs):
        return libs
    libs.parent.mkdir(parents=True, exist_ok=True)
    part = libs.with_name(f"{libs.name}.{os.getpid()}.part")  # two processes may fetch at once; the first rename wins
    command = ["mvn", "-q", "-B", "-f", str(POM), "dependency:copy-dependencies", f"-DoutputDirectory={part}"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        shutil.rmtree(part, ignore_errors=True)
        lines = (done.stdout + done.stderr).strip().splitlines()
        raise OperatorError(
            f"Maven could not fetch Apache Kafka: {lines[0] if lines else 'no output'}; try: {' '.join(command)}"
        )
    (part / ".complete").touch()
    try:
        part.rename(libs)
    except OSError:
        if not _complete(libs):
            raise
        shutil.rmtree(part)
    return libs


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Member:
    """A node of several (``devbroker.cluster``); each is broker and controller."""

    node: int  # from 1 on
    controller_ports: tuple[int, ...]  # of all nodes, in order
    cluster_id: str


class DevBroker:
    """One Kafka node, its data under ``folder``. ``stop`` and ``start`` again keep ports and data; ``kill`` is SIGKILL.

    Args:
        advertised_port: another one than ``port`` when clients come through a proxy.
        member: of several nodes; alone when None.
        more: further lines of ``server.properties``; a later one of the same name holds.
    """

    def __init__(
        self,
        folder: Path,
        *,
        port: int | None = None,
        security: Security | None = None,
        advertised_port: int | None = None,
        heap_mb: int = 512,
        member: Member | None = None,
        more: Sequence[str] = (),
    ) -> None:
        self.folder = Path(folder)
        self.port = port or free_port()
        self.secure_port = free_port() if security else None
        self.advertised_port = advertised_port or self.port
        self.bootstrap = f"127.0.0.1:{self.advertised_port}"
        self.secure_bootstrap = f"localhost:{self.secure_port}" if security else None
        self._member = member or Member(1, (free_port(),), base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[:22])
        self._more = more
        self._security = security
        self._heap_mb = heap_mb
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        if self._process is None:
            raise OperatorError("the development broker is not running")
        return self._process.pid

    def __enter__(self) -> DevBroker:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Format the storage when it is new, start, and wait until it takes connections."""
        if _answers(self.port):  # it would be taken for ours
            raise OperatorError(
                f"port {self.port} of 127.0.0.1 is taken by another program (a Kafka that runs already?): use that one, or give another --port"
            )
        libs = fetch_jars()
        self.folder.mkdir(parents=True, exist_ok=True)
        log = self.folder / "broker.log"
        properties = self.folder / "server.properties"
        (self.folder / "log4j2.properties").write_text(LOG4J2.format(log=log))
        properties.write_text("\n".join(self._properties()) + "\n")
        java = [
            "java",
            # As Kafka's own scripts: by this variable. The collector that is set starts faster and leaves the other core to the rest.
            *shlex.split(os.environ.get("KAFKA_JVM_PERFORMANCE_OPTS", "-XX:+UseSerialGC")),
            f"-Xmx{self._heap_mb}m",
            f"-Dlog4j2.configurationFile={self.folder / 'log4j2.properties'}",
            "-cp",
            f"{libs}/*",
        ]
        if not (self.folder / "data" / "meta.properties").is_file():
            cluster = f"--cluster-id={self._member.cluster_id}"
            format_ = [*java, "kafka.tools.StorageTool", "format", cluster, "-c", str(properties)]
            if self._security:
                format_ += [
                    "--add-scram",
                    f"SCRAM-SHA-256=[name={self._security.user},password={self._security.password}]",
                ]
            done = subprocess.run(format_, capture_output=True, text=True)
            if done.returncode:
                raise OperatorError(
                    f"the broker's storage could not be formatted: {done.stdout.strip()} {done.stderr.strip()}"
                )
        with (self.folder / "broker.out").open("ab") as out:
            # Its own process group: Ctrl-C in a terminal reaches its owner, who stops it in order.
            self._process = subprocess.Popen(
                [*java, "kafka.Kafka", str(properties)],
                stdout=out,
                stderr=out,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise OperatorError(
                    f"the broker ended with {self._process.returncode}; see {log} and {self.folder / 'broker.out'}"
                )
            if _answers(self.port):
                return
            time.sleep(0.1)
        self.kill()
        raise OperatorError(
            f"the broker did not listen on 127.0.0.1:{self.port} within {START_TIMEOUT_S:.0f} s; see {log}"
        )

    def stop(self) -> None:
        """SIGTERM, and SIGKILL when it has not gone after 15 s."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(15)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _properties(self) -> list[str]:
        node, controllers = self._member.node, self._member.controller_ports
        voters = ",".join(f"{i}@127.0.0.1:{port}" for i, port in enumerate(controllers, 1))
        copies = min(3, len(controllers))
        listeners = [f"PLAINTEXT://127.0.0.1:{self.port}"]
        protocols = ["PLAINTEXT:PLAINTEXT", "CONTROLLER:PLAINTEXT"]
        extra = []
        if (s := self._security) is not None:
            listeners.append(f"SASL_SSL://localhost:{self.secure_port}")
            protocols.append("SASL_SSL:SASL_SSL")
            extra = [
                "sasl.enabled.mechanisms=SCRAM-SHA-256",
                "listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;",
                "ssl.keystore.type=PEM",
                f"ssl.keystore.location={s.certificate_chain_and_key}",
                "ssl.truststore.type=PEM",
                f"ssl.truststore.location={s.ca}",
            ]
        return [
            "process.roles=broker,controller",
            f"node.id={node}",
            f"controller.quorum.voters={voters}",
            f"listeners={','.join([*listeners, f'CONTROLLER://127.0.0.1:{controllers[node - 1]}'])}",
            f"advertised.listeners={','.join([f'PLAINTEXT://127.0.0.1:{self.advertised_port}', *listeners[1:]])}",
            f"listener.security.protocol.map={','.join(protocols)}",
            "controller.listener.names=CONTROLLER",
            "inter.broker.listener.name=PLAINTEXT",
            f"log.dirs={self.folder / 'data'}",
            f"offsets.topic.replication.factor={copies}",
            "offsets.topic.num.partitions=4",
            f"transaction.state.log.replication.factor={copies}",
            f"transaction.state.log.min.isr={max(1, copies - 1)}",
            "transaction.state.log.num.partitions=4",
            "group.initial.rebalance.delay.ms=0",
            "group.min.session.timeout.ms=1000",  # tests do not wait 6 s for the end of each worker they kill
            "auto.create.topics.enable=false",
            *extra,
            *self._more,
        ]
