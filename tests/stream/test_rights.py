"""Each command runs with exactly the rights of the table in docs/operator/security.md; without one of them it is one line with a code.

The broker has Kafka's own authorizer; every try has a user of its own, who may do what the table says and nothing else.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from functools import reduce
from operator import xor
from pathlib import Path

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from stream_operator import devbroker
from stream_operator.__main__ import MODULES, main
from stream_operator.kafka.control import Watermark, Zone
from stream_operator.kafka.control_writer import ControlWriter
from stream_operator.kafka.topics import Admin, wanted
from stream_operator.settings import Settings
from tests.stream.conftest import ROOT, own_settings, producer, wait_until
from tests.stream.test_exactness import rows, send
from tests.support.topic_reading import drain, messages

pytestmark = [pytest.mark.broker, pytest.mark.timeout(300)]

PAGE = ROOT / "docs" / "operator" / "security.md"
PASSWORD = "some-password"
HANGS_S = 90.0  # a missing right is told long before
OPERATIONS = {
    "Read": AclOperation.READ, "Write": AclOperation.WRITE, "Describe": AclOperation.DESCRIBE, "Create": AclOperation.CREATE,
    "DescribeConfigs": AclOperation.DESCRIBE_CONFIGS, "AlterConfigs": AclOperation.ALTER_CONFIGS,
}  # fmt: skip
KINDS = {"topic": ResourceType.TOPIC, "group": ResourceType.GROUP, "transactional id": ResourceType.TRANSACTIONAL_ID}
_numbers = itertools.count()


@dataclass(frozen=True)
class Right:
    operation: str
    kind: str
    name: str  # as on the page: with the default names of the topics; a star at the end is a prefix

    def __str__(self) -> str:
        return f"{self.operation} {self.kind} {self.name}"


def table() -> dict[str, list[Right]]:
    """Command -> its rights, as the page has them."""
    found: dict[str, list[Right]] = {}
    lines = PAGE.read_text().splitlines()
    begin = next(i for i, line in enumerate(lines) if line.startswith("| command | right |"))
    for line in itertools.takewhile(lambda line: line.startswith("|"), lines[begin + 2 :]):
        commands, operation, resources = (cell.strip() for cell in line.strip("|").split("|"))
        assert operation in OPERATIONS, line
        for kind, names in re.findall(r"(topic|group|transactional id)s? ((?:`[^`]+`(?:, )?)+)", resources):
            rights = [Right(operation, kind, name) for name in re.findall(r"`([^`]+)`", names)]
            for command in re.findall(r"`([^`]+)`", commands):
                found.setdefault(command, []).extend(rights)
    return found


TABLE = table()


def named(settings: Settings, name: str) -> str:
    """A name of the page as it is under these settings."""
    defaults = Settings()
    topics = ("topic", "alert_topic", "verdict_topic", "sample_topic", "dead_topic", "feedback_topic", "control_topic")
    for field in topics:
        if name == getattr(defaults, field):
            return str(getattr(settings, field))
    return name.replace("APP_ID", settings.app_id).replace("PREFIX", f"{settings.app_id}-again")


class Desk:
    """Makes users with rights."""

    def __init__(self, bootstrap: str) -> None:
        self.client = AdminClient({"bootstrap.servers": bootstrap})

    def user(self, settings: Settings, rights: list[Right]) -> str:
        name = f"u{next(_numbers)}"
        info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 4096)
        upsertion = UserScramCredentialUpsertion(name, info, PASSWORD.encode())
        for future in self.client.alter_user_scram_credentials([upsertion]).values():
            future.result()
        bindings = [
            AclBinding(
                KINDS[r.kind],
                named(settings, r.name).rstrip("*"),
                ResourcePatternType.PREFIXED if r.name.endswith("*") else ResourcePatternType.LITERAL,
                f"User:{name}",
                "*",
                OPERATIONS[r.operation],
                AclPermissionType.ALLOW,
            )
            for r in rights
        ]
        for future in (self.client.create_acls(bindings) if bindings else {}).values():
            future.result()
        mine = AclBindingFilter(
            ResourceType.ANY,
            None,
            ResourcePatternType.ANY,
            f"User:{name}",
            None,
            AclOperation.ANY,
            AclPermissionType.ANY,
        )
        wait_until(lambda: len(self.client.describe_acls(mine).result()) == len(set(bindings)), 20)
        return name


@pytest.fixture(scope="session")
def desk(broker) -> Desk:
    return Desk(broker.bootstrap)


@pytest.fixture(scope="session")
def prepared(broker) -> Settings:
    """Topics with something in each of them."""
    s = own_settings(broker.bootstrap)
    Admin(s).create()
    send(s, rows(200, 10))
    p = producer(s)
    p.produce(s.dead_topic, b"nope", b"1", headers=[("reason", b"bad_json")])
    p.flush()
    return s


def environment(settings: Settings, broker, authority, user: str) -> dict[str, str]:
    s = replace(
        settings, bootstrap_servers=broker.secure_bootstrap, security_protocol="SASL_SSL", sasl_username=user,
        sasl_password=PASSWORD, ssl_ca_location=str(authority[1]), outage_max_s=10.0, health_port=devbroker.free_port(),
        map_port=devbroker.free_port(), transaction_timeout_s=20.0,
    )  # fmt: skip
    values = {name.upper(): getattr(s, name) for name in Settings.__dataclass_fields__}
    return os.environ | {k: str(v) for k, v in values.items() if v not in (None, "")} | {"OMP_NUM_THREADS": "1"}


ARGUMENTS = {
    "topics": ["topics"],
    "topics --mend": ["topics", "--mend"],
    "feed": ["feed", "{csv}", "--quiet"],
    "feed --finish": ["feed", "{csv}", "--quiet", "--finish"],
    "alerts": ["alerts"],
    "dead --show": ["dead", "--show"],
    "dead --replay": ["dead", "--replay"],
    "control list": ["control", "list"],
    "control withdraw": ["control", "withdraw", "0"],
    "control watermark": ["control", "watermark", "2026-01-01"],
    "model": ["model", "brittany", "--from", "2026-01-01T12:00"],
    "zones list": ["zones", "list"],
    "feedback": ["feedback", "--once"],
    "zones put": ["zones", "put", "{zones}", "--from", "2026-01-01"],
    "zones end": ["zones", "end", "a", "--from", "2026-01-02"],
    "replay --out": ["replay", "--from", "2026-01-01", "--out", "{out}"],
    "replay --topics": ["replay", "--from", "2026-01-01", "--topics", "{prefix}"],
    "worker": ["worker"],
    "meetings": ["meetings"],
    "map": ["map"],
}
WRONG = {"unclean.leader.election.enable": "true"}
STAYS = ("worker", "meetings", "map")  # they run until they are told to end
STARTED = {"meetings": "watching all ships", "map": "the map is at"}
ZONE = {
    "type": "Feature", "geometry": {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]},
    "properties": {"name": "a", "rule": "enter"},
}  # fmt: skip


def words(command: str, app_id: str, folder: Path) -> list[str]:
    (folder / "zones.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [ZONE]}))
    header = (
        "MMSI,BaseDateTime,LAT,LON,SOG,COG,Heading,VesselName,IMO,CallSign,VesselType,Status,Length,Width,Draft,Cargo\n"
    )
    (folder / "a.csv").write_text(header + "227006760,2020-01-01T00:00:00,48.1,-5.2,10.0,90.0,91.0,MARION,,,70,0,,,,\n")
    places = {
        "csv": folder / "a.csv", "zones": folder / "zones.geojson", "out": folder / "out.jsonl", "prefix": f"{app_id}-again",
    }  # fmt: skip
    return [word.format(**places) for word in ARGUMENTS[command]]


def run(command: str, env: dict[str, str], folder: Path, monkeypatch, capfd) -> tuple[int, str]:
    """(exit code, what it printed) of a command that comes to its end by itself: in this process, which saves its start."""
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    handlers = [(n, signal.getsignal(n)) for n in (signal.SIGTERM, signal.SIGINT)]
    capfd.readouterr()
    try:
        monkeypatch.setattr(logging.root, "handlers", [])  # none of a command before, whose standard error is closed
        code = main(words(command, env["APP_ID"], folder))
    finally:
        for number, handler in handlers:
            signal.signal(number, handler)
    return code, "".join(capfd.readouterr())


@contextlib.contextmanager
def running(command: str, env: dict[str, str], log: Path):
    """A command that runs until it is told to end, as a process."""
    module = ["tests.support.worker", "counting"] if command == "worker" else ["stream_operator", command]
    with log.open("wb") as out:
        process = subprocess.Popen([sys.executable, "-m", *module], env=env, stdout=out, stderr=out, cwd=ROOT)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def rights_of(command: str, settings: Settings) -> Settings:
    """Topics that the command may work on."""
    if not (command.startswith("topics") or command in ("replay --topics", "zones end", "meetings")):
        return settings
    own = own_settings(settings.bootstrap_servers)
    if command == "replay --topics":  # which must not be there
        Admin(own).create()
        send(own, rows(20, 4))
        return own
    if command in (
        "zones end",
        "meetings",
    ):  # a zone to end; reports that are complete, so that there is something to write
        Admin(own).create()
        send(own, rows(200, 10))
        writer = ControlWriter(own)
        writer.send(Zone(name="a", since=rows(1, 1)[0][1], zone=ZONE))
        writer.send(Watermark(t=float(rows(200, 10)[-1][1]) + 7200.0, final=True))
    if command == "topics --mend":  # each has something to repair
        Admin(own).create([replace(t, config=t.config | WRONG) for t in wanted(own, own.partitions)])
    return own


SHORT = [c for c in ARGUMENTS if c not in STAYS]


@pytest.mark.parametrize("command", SHORT)
def test_a_command_runs_with_exactly_the_rights_of_the_table(
    command, broker, authority, desk, prepared, tmp_path, monkeypatch, capfd
):
    settings = rights_of(command, prepared)
    env = environment(settings, broker, authority, desk.user(settings, TABLE[command]))
    code, said = run(command, env, tmp_path, monkeypatch, capfd)
    assert code == 0, said
    if command == "feed":
        assert [m for m in messages(settings, settings.topic) if m.key() == b"227006760"]


@pytest.mark.parametrize("command", STAYS)
def test_a_process_runs_with_exactly_the_rights_of_the_table(command, broker, authority, desk, prepared, tmp_path):
    log = tmp_path / "log"
    env = environment(prepared, broker, authority, desk.user(prepared, TABLE[command]))
    with running(command, env, log) as process:
        if command == "worker":
            wait_until(lambda: process.poll() is not None or drain(prepared, prepared.alert_topic), 60)
        else:
            wait_until(lambda: process.poll() is not None or STARTED[command] in log.read_text(), 60)
            time.sleep(3.0)  # and goes on
        assert process.poll() is None, log.read_text()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0, log.read_text()


def test_a_feed_that_may_not_write_control_records_goes_on_without_watermarks_and_says_so(
    broker, authority, desk, prepared, tmp_path
):
    env = environment(prepared, broker, authority, desk.user(prepared, TABLE["feed"]))
    line = "\\c:{}*{}\\!AIVDM,1,1,,A,13JEhD7P1>w`ApbK`Q8K??w22@CD,0*12\n"
    times = [f"c:{1_700_000_000 + k}" for k in range(100)]
    lines = [line.format(t[2:], f"{reduce(xor, t.encode()):02X}") for t in times]
    done = subprocess.run(
        [sys.executable, "-m", "stream_operator", "feed", "--stdin", "--quiet"],
        input="".join(lines), capture_output=True, text=True, env=env, cwd=ROOT, timeout=HANGS_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "sent 100 reports" in done.stderr
    [said] = [line for line in done.stderr.splitlines() if line.startswith("no watermarks are sent")]
    assert f"Write on topic {prepared.control_topic}" in said


# What a process can do without, and says so: the map shows all, and answers are not kept. And what is not needed here: there is
# no answer that acts, so `feedback` writes nothing.
GOES_ON = {("map", "Write topic ais.feedback"), ("feedback", "Write topic ais.control")}
LACKING = [(c, i) for c, rights in TABLE.items() for i in range(len(rights)) if (c, str(rights[i])) not in GOES_ON]
# One right of each kind is tried in every run; all of them (`-m slow`) take minutes.
OFTEN = {
    ("worker", "Write topic ais.verdicts"), ("worker", "Read group APP_ID"), ("worker", "Write transactional id APP_ID-*"),
    ("worker", "DescribeConfigs topic ais.dynamic"), ("feed", "Write topic ais.dynamic"), ("alerts", "Read topic ais.alerts"),
    ("control list", "Read topic ais.control"), ("topics", "Create topic ais.control"), ("map", "Read topic ais.alerts"),
    ("meetings", "Read group APP_ID.meetings"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("command", "missing"),
    [
        pytest.param(c, i, id=f"{c}-{TABLE[c][i]}", marks=[] if (c, str(TABLE[c][i])) in OFTEN else pytest.mark.slow)
        for c, i in LACKING
    ],
)
def test_a_missing_right_is_one_line_with_operation_and_resource_and_a_code(
    command, missing, broker, authority, desk, prepared, tmp_path, monkeypatch, capfd
):
    settings = rights_of(command, prepared)
    right = TABLE[command][missing]
    env = environment(settings, broker, authority, desk.user(settings, [r for r in TABLE[command] if r != right]))
    if command in STAYS:
        with running(command, env, log := tmp_path / "log") as process:
            code = process.wait(HANGS_S)
        said = log.read_text()
    else:
        code, said = run(command, env, tmp_path, monkeypatch, capfd)
    assert code == 2, said
    assert "Traceback" not in said
    last = [line for line in said.splitlines() if not line.startswith("%")][-1]
    assert re.search(r"the broker refuses user 'u\d+' \w+ on ", last), said
    # Who may not even see a thing is told so: Read and Write hold Describe, AlterConfigs holds DescribeConfigs.
    held = {"AlterConfigs": "DescribeConfigs"}.get(right.operation, "Describe")
    assert f" {right.operation} on " in last or f" {held} on " in last, last
    assert named(settings, right.name).rstrip("*").rstrip("-") in last, last


def test_every_command_that_speaks_with_the_broker_is_in_the_table():
    without = {"broker"}  # is one
    assert {c.split()[0] for c in TABLE} == {*MODULES, "worker"} - without
    assert set(TABLE) == set(ARGUMENTS)


MAY_DESCRIBE = [
    ("control watermark", "ais.control"), ("control withdraw", "ais.control"), ("dead --replay", "ais.dynamic"),
    ("feed", "ais.dynamic"),
]  # fmt: skip


@pytest.mark.parametrize(("command", "topic"), MAY_DESCRIBE)
def test_who_may_see_a_topic_and_write_nowhere_is_told_so_too(
    command, topic, broker, authority, desk, prepared, tmp_path, monkeypatch, capfd
):
    rights = [r for r in TABLE[command] if r.operation != "Write"] + [Right("Describe", "topic", topic)]
    code, said = run(
        command, environment(prepared, broker, authority, desk.user(prepared, rights)), tmp_path, monkeypatch, capfd
    )
    assert code == 2, said
    last = [line for line in said.splitlines() if not line.startswith("%")][-1]
    assert re.search(rf"refuses user 'u\d+' Write on topic {named(prepared, topic)}", last), said
