"""The faults. Each is a function of the bed; it returns when the operator has gone on, and raises AssertionError when it did not."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from functools import reduce
from operator import xor
from pathlib import Path

from stream_operator.kafka.control import Watermark, Withdrawal
from stream_operator.kafka.control_writer import ControlWriter
from stream_operator.worker import fault_points as faultpoints
from tests.faults.bed import Bed
from tests.faults.traffic import FIRST_MMSI, T0
from tests.portable import variants
from tests.stream.conftest import Worker

FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")
SHIM = Path(__file__).with_name("cnd_timedwait.c")
_KEY, _MMSI = str(FIRST_MMSI).encode(), f'"mmsi":"{FIRST_MMSI}"'.encode()

POISON: list[tuple[bytes | None, bytes | None]] = [
    (_KEY, b"not json"), (_KEY, b""), (_KEY, b"[]"), (_KEY, b"{" * 5000), (_KEY, b"{%b,"  % _MMSI),
    (_KEY, b'{%b,"x":NaN,"tagblock_timestamp":1767225600}' % _MMSI), (_KEY, b'{%b,"x":1e999,"tagblock_timestamp":1767225600}' % _MMSI),
    (_KEY, b'{%b,"sog":"fast","tagblock_timestamp":1767225600}' % _MMSI), (_KEY, b'{%b,"x":[1],"tagblock_timestamp":1767225600}' % _MMSI),
    (_KEY, b'{%b,"tagblock_timestamp":null}' % _MMSI), (_KEY, b'{%b,"tagblock_timestamp":"noon"}' % _MMSI),
    (_KEY, b'{%b,"tagblock_timestamp":1767225600000}' % _MMSI), (_KEY, b'{%b,"tagblock_timestamp":-1}' % _MMSI),
    (_KEY, b'{%b,"y":91,"x":181,"sog":5,"tagblock_timestamp":%d}' % (_MMSI, T0)),
    (_KEY, b'{"mmsi":227000001,"tagblock_timestamp":1767225600}'), (_KEY, b'{"mmsi":"\xff"}'), (_KEY, b'{"mmsi":"\\ud800"}'),
    (_KEY, b'{"mmsi":"227000009","tagblock_timestamp":1767225600}'), (b"x", b'{"mmsi":"x","tagblock_timestamp":1767225600}'),
    (b"\xff\xfe", b'{"mmsi":"\xff\xfe"}'), (b"", b"{}"), (None, b"{}"), (None, None), (_KEY, None),
    (b"watermark", b"soon"), (b"watermark", b'{"watermark":NaN}'), (b"watermark", b'{"watermark":"2026"}'),
    (_KEY, b'"' + b"x" * 2_000_000 + b'"'), (_KEY, b"\0" * 900_000),
]  # fmt: skip


def kill(bed: Bed) -> None:
    """kill -9 at a random moment."""
    victim = bed.pick()
    time.sleep(bed.rng.uniform(0, 2))
    since = time.time()
    bed.end(victim, signal.SIGKILL)
    bed.takeovers.append(bed.went_on(since))


def kill_both(bed: Bed) -> None:
    """kill -9 of both workers at once."""
    bed.pick()
    since = time.time()
    for victim in list(bed.workers):
        bed.end(victim, signal.SIGKILL)
    bed.keep_two_workers()
    bed.went_on(since)


def kill_inside_a_checkpoint(bed: Bed) -> None:
    """kill -9 before, between and after the steps of a checkpoint, or while partitions are opened."""
    victim = bed.pick()
    bed.end(victim)
    point = bed.rng.choice(faultpoints.POINTS)
    armed = bed.worker(FAULT_POINT=f"{point}:{1 if point in faultpoints.AT_START else bed.rng.randint(1, 6)}")
    bed.expect_end(armed)
    try:
        armed.process.wait(60)
    except subprocess.TimeoutExpired:
        raise AssertionError(f"the worker did not come to the fault point {point}") from None
    since = time.time()
    bed.takeovers.append(bed.went_on(since))


def kill_while_the_broker_is_away(bed: Bed) -> None:
    """kill -9 of a worker in the middle of a broker's restart: two faults at once."""
    victim = bed.pick()
    bed.broker.kill()
    bed.end(victim, signal.SIGKILL)
    time.sleep(bed.rng.uniform(0, 3))
    bed.broker.start()
    bed.keep_two_workers()
    bed.went_on()


def sigterm(bed: Bed) -> None:
    """SIGTERM: checkpoint and leave in order within 10 s."""
    victim = bed.pick()
    start = time.monotonic()
    code = bed.end(victim)
    took = time.monotonic() - start
    assert code == 0, f"exit code {code}"
    assert took < 10, f"it took {took:.1f} s to leave"
    bed.went_on()


def stop_past_the_session(bed: Bed) -> None:
    """SIGSTOP past the session, then SIGCONT: a zombie."""
    worker = bed.pick()
    worker.process.send_signal(signal.SIGSTOP)
    time.sleep(bed.settings.session_timeout_s + bed.rng.uniform(1, 4))
    worker.process.send_signal(signal.SIGCONT)
    bed.went_on()


def stop_inside_a_checkpoint(bed: Bed) -> None:
    """SIGSTOP past the session with a transaction open."""
    armed = bed.worker(FAULT_POINT=f"{bed.rng.choice(faultpoints.INSIDE)}:{bed.rng.randint(1, 5)}:STOP")
    give_up_at = time.monotonic() + 90
    while not _stopped(armed) and armed.process.poll() is None and time.monotonic() < give_up_at:
        time.sleep(0.2)
    assert _stopped(armed), "the worker did not come to the point at which it stops"
    time.sleep(bed.settings.session_timeout_s + bed.rng.uniform(1, 4))
    armed.process.send_signal(signal.SIGCONT)
    bed.went_on()
    bed.end(armed)


def _stopped(worker: Worker) -> bool:
    """Whether the process stands still (state T in /proc)."""
    try:
        return Path(f"/proc/{worker.process.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T"
    except OSError:
        return False


def kill_the_broker(bed: Bed) -> None:
    """kill -9 of the broker, and its start a few seconds later."""
    bed.broker.kill()
    time.sleep(bed.rng.uniform(0.5, 5))
    bed.broker.start()
    bed.returns.append(bed.went_on())


def restart_the_broker(bed: Bed) -> None:
    """An orderly restart of the broker."""
    bed.broker.stop()
    bed.broker.start()
    bed.returns.append(bed.went_on())


def broker_away_for_a_minute(bed: Bed) -> None:
    """The broker is away for 60 s."""
    bed.broker.stop()
    time.sleep(60)
    bed.broker.start()
    bed.returns.append(bed.went_on(within=90))


def cut_connections(bed: Bed) -> None:
    """All connections are reset, some times in a row."""
    for _ in range(bed.rng.randint(1, 5)):
        bed.proxy.cut()
        time.sleep(bed.rng.uniform(0, 1))
    bed.went_on()


def half_open_connections(bed: Bed) -> None:
    """Connections stay open and nothing comes through."""
    bed.proxy.hold()
    time.sleep(bed.rng.uniform(1, 12))
    bed.proxy.release()
    bed.went_on()


def slow_connections(bed: Bed) -> None:
    """Each piece of data is 0.1 s late."""
    bed.proxy.delay_s = 0.1
    time.sleep(5)
    bed.proxy.delay_s = 0.0
    bed.went_on()


def third_worker_joins_and_leaves(bed: Bed) -> None:
    third = bed.worker()
    time.sleep(bed.rng.uniform(3, 8))
    bed.end(third, bed.rng.choice((signal.SIGTERM, signal.SIGKILL)))
    bed.went_on()


def poison(bed: Bed) -> None:
    """Records of all sorts that are no reports."""
    bed.poison(bed.rng.sample(POISON, len(POISON)))
    bed.went_on()


def duplicates_and_shuffle(bed: Bed) -> None:
    """Reports shuffled and doubled, as two stations and a bad line deliver them."""
    bed.traffic.disorder(3000)
    time.sleep(3)
    bed.went_on()


def no_disk(bed: Bed) -> None:
    """A worker that may not write a single byte to a file (file-size limit 0)."""
    bed.end(bed.pick())
    worker = bed.worker(NO_FILES="1")
    time.sleep(8)
    bed.went_on()
    assert worker.process.poll() is None, f"it ended with exit code {worker.process.poll()}"


def other_cpu(bed: Bed) -> None:
    """Workers are killed in turns, and those that take over run as on other processors: other kernels, SIMD levels and threads."""
    kernels = [v for v in variants.ALL if v.kernel and not v.numba and not variants.lacking(v)]
    for processor in bed.rng.sample(kernels, min(3, len(kernels))):
        victim = bed.pick()
        since = time.time()
        bed.end(victim, signal.SIGKILL)
        bed.worker(**processor.processor())
        bed.takeovers.append(bed.went_on(since))


def clock_set_back(bed: Bed) -> None:
    """One worker's clock is set back by an hour while it runs (libfaketime)."""
    bed.end(bed.pick())
    shim, clock = bed.folder / "cnd_timedwait.so", bed.folder / "clock"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(shim), str(SHIM)], check=True)
    clock.write_text("+0\n")
    worker = bed.worker(
        LD_PRELOAD=f"{shim}:{FAKETIME}", FAKETIME_TIMESTAMP_FILE=str(clock), FAKETIME_CACHE_DURATION="1",
        FAKETIME_DONT_FAKE_MONOTONIC="1",
    )  # fmt: skip
    bed.opened(worker)
    clock.write_text("-1h\n")
    time.sleep(5)
    bed.went_on()
    code = bed.end(worker)  # its log has an hour less from here on
    assert code == 0, f"it ended with exit code {code}"


def broker_stands_still(bed: Bed) -> None:
    """SIGSTOP of the broker for some seconds: connections stay, nothing answers."""
    os.kill(bed.broker.pid, signal.SIGSTOP)
    time.sleep(bed.rng.uniform(5, 12))
    os.kill(bed.broker.pid, signal.SIGCONT)
    bed.returns.append(bed.went_on())


def workers_come_and_go(bed: Bed) -> None:
    """Three workers join and leave, one after the other, before the group has settled."""
    more = []
    for _ in range(3):
        more.append(bed.worker())
        time.sleep(bed.rng.uniform(1, 4))
    for worker in more:
        bed.end(worker, bed.rng.choice((signal.SIGTERM, signal.SIGKILL)))
    bed.went_on()


def worker_with_another_model(bed: Bed) -> None:
    """A third worker has another MODEL; the states that it takes over name the right one. All workers say so."""
    bed.pick()
    other = bed.worker(MODEL="gulf")
    give_up_at = time.monotonic() + 60
    while "another MODEL" not in other.text() and time.monotonic() < give_up_at:
        time.sleep(0.2)
    assert "another MODEL" in other.text(), "it did not say that the others have another model"
    bed.end(other)
    bed.went_on()


def control_records(bed: Bed) -> None:
    """Watermarks while reports come in: one that holds, one of 2099 that is refused, one that is withdrawn before it acts."""
    writer = ControlWriter(bed.settings)
    now = bed.traffic.now - 600.0
    # As a feed does: it acts where all that had been sent before it has been read.
    writer.send(Watermark(t=now, after=bed.log_ends()))
    writer.send(Watermark(t=4_070_908_800.0, by="somebody"))
    waits = writer.send(Watermark(t=now + 7000.0, after=dict.fromkeys(range(bed.settings.partitions), 10**12)))
    bed.decided(writer.send(Withdrawal(number=waits)))


def flood_of_one_vessel(bed: Bed) -> None:
    """20,000 reports of one ship in a minute of its time; the others go on."""
    t, mmsi = bed.traffic.now - 60.0, b"227999999"
    row = b'{"mmsi":"227999999","x":-5.2,"y":48.3,"sog":10,"cog":90,"tagblock_timestamp":%.3f}'
    bed.send((mmsi, row % (t + i / 400)) for i in range(20_000))
    bed.went_on()


def transactional_feeder(bed: Bed) -> None:
    """A second feeder writes in transactions, every other one of which is aborted."""
    feeder = bed.producer(transactional_id=f"{bed.settings.app_id}-feeder")
    feeder.init_transactions(30)
    for k in range(20):
        t = bed.traffic.now
        feeder.begin_transaction()
        for i in range(20):
            mmsi = 227_900_000 + i
            report = {"mmsi": str(mmsi), "x": -5.1, "y": 48.2, "sog": 8, "cog": 180, "tagblock_timestamp": t + i}
            feeder.produce(bed.settings.topic, json.dumps(report).encode(), str(mmsi).encode())
        (feeder.commit_transaction if k % 2 else feeder.abort_transaction)(30)
    bed.went_on()


def open_transaction(bed: Bed) -> None:
    """A feeder begins a transaction and is silent for some seconds: nothing behind it can be read."""
    feeder = bed.producer(transactional_id=f"{bed.settings.app_id}-hangs")
    feeder.init_transactions(30)
    feeder.begin_transaction()
    feeder.produce(bed.settings.topic, b"{}", b"1", bed.rng.randrange(bed.settings.partitions))
    feeder.flush(30)
    time.sleep(bed.rng.uniform(3, 8))
    feeder.abort_transaction(30)
    bed.went_on()


def feed_told_to_end(bed: Bed) -> None:
    """A feed of a receiver gets SIGTERM, or SIGKILL, in the middle of a stream of sentences."""
    line = b"!AIVDM,1,1,,A,13JEhD7P1>w`ApbK`Q8K??w22@CD,0*12"
    variables = {n.upper(): getattr(bed.settings, n) for n in ("bootstrap_servers", "topic", "app_id", "control_topic")}
    feed = subprocess.Popen(
        [sys.executable, "-m", "stream_operator", "feed", "--stdin", "--quiet", "--no-watermarks"],
        stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, env=os.environ | variables,
    )  # fmt: skip
    number = bed.rng.choice((signal.SIGTERM, signal.SIGKILL))
    try:
        t = int(bed.traffic.now)
        for k in range(3000):
            tag = b"c:%d" % (t + k // 100)
            feed.stdin.write(b"\\%b*%02X\\%b\n" % (tag, reduce(xor, tag), line))
        feed.stdin.flush()
        time.sleep(bed.rng.uniform(2, 5))
        feed.send_signal(number)
        code = feed.wait(20)
    finally:
        feed.kill()
    assert code == (-9 if number == signal.SIGKILL else 0), f"exit code {code}"
    bed.went_on()


def half_requests(bed: Bed) -> None:
    """Strangers hold 600 half requests on a worker's pages; /health answers throughout."""
    worker = bed.pick()
    where = ("127.0.0.1", worker.settings.health_port)
    held = []
    try:
        for k in range(600):
            held.append(socket.create_connection(where, timeout=10))
            held[-1].sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-a: ")
            if k % 100 == 99:
                with urllib.request.urlopen(f"{worker.url}/health", timeout=10) as answer:
                    assert answer.status == 200
    except OSError as e:
        raise AssertionError(f"/health did not answer: {e}") from None
    finally:
        for s in held:
            s.close()
    bed.went_on()


# ---------------------------------------------------------------- three brokers, replication 3, two in sync to acknowledge


def leader_killed(bed: Bed) -> None:
    """kill -9 of the broker that leads a partition of the source, and its start some seconds later."""
    node = bed.leader(bed.rng.randrange(bed.settings.partitions))
    since = time.time()
    node.kill()
    bed.returns.append(bed.went_on(since))
    node.start()
    bed.in_sync()


def rolling_restart(bed: Bed) -> None:
    """All brokers are restarted, one after the other, each when all replicas are in sync again."""
    for node in bed.cluster.nodes:
        node.stop()
        node.start()
        bed.in_sync()
    bed.went_on()


def one_broker_paused(bed: Bed) -> None:
    """SIGSTOP of one broker until the others have given it up, then SIGCONT: it believes that it still leads."""
    node = bed.leader(bed.rng.randrange(bed.settings.partitions))
    os.kill(node.pid, signal.SIGSTOP)
    try:
        bed.returns.append(bed.went_on(within=90))
    finally:
        os.kill(node.pid, signal.SIGCONT)
    bed.in_sync()
    bed.went_on()


def one_disk_full(bed: Bed) -> None:
    """One broker can write no more (its file-size limit is taken away); it ends, and comes back when it can."""
    node = bed.leader(bed.rng.randrange(bed.settings.partitions))
    resource.prlimit(node.pid, resource.RLIMIT_FSIZE, (4096, 4096))
    bed.returns.append(bed.went_on(time.time() + 1.0, within=90))
    node.kill()
    node.start()
    bed.in_sync()
    bed.went_on()


def impossible(fault: Callable) -> str | None:
    """Why this machine cannot make the fault; None when it can."""
    if fault is clock_set_back:
        if not FAKETIME.exists():
            return f"{FAKETIME} is not there (Debian: apt-get install libfaketime)"
        if shutil.which("cc") is None:
            return "no C compiler for the shim that libfaketime needs"
    return None


QUICK = [kill_inside_a_checkpoint, poison, duplicates_and_shuffle, kill_the_broker, cut_connections]
# How often each comes in a run, as shares: what is likely and what is delicate comes more often, the long outage least.
WEIGHTS = {
    kill: 9, kill_inside_a_checkpoint: 14, kill_both: 3, kill_while_the_broker_is_away: 3, sigterm: 6, stop_past_the_session: 6,
    stop_inside_a_checkpoint: 6, kill_the_broker: 6, restart_the_broker: 5, broker_away_for_a_minute: 2, cut_connections: 7,
    half_open_connections: 6, slow_connections: 4, third_worker_joins_and_leaves: 6, poison: 6, duplicates_and_shuffle: 5, no_disk: 4,
    clock_set_back: 4, other_cpu: 4, broker_stands_still: 4, workers_come_and_go: 3, worker_with_another_model: 3, control_records: 5,
    flood_of_one_vessel: 4, transactional_feeder: 4, open_transaction: 4, feed_told_to_end: 4, half_requests: 3,
}  # fmt: skip
OF_SEVERAL = {leader_killed: 6, rolling_restart: 2, one_broker_paused: 4, one_disk_full: 3}
OF_ONE = {
    kill_while_the_broker_is_away, kill_the_broker, restart_the_broker, broker_away_for_a_minute, cut_connections, half_open_connections,
    slow_connections, broker_stands_still,
}  # fmt: skip


def of(brokers: int) -> dict[Callable, int]:
    """The kinds and their weights on so many brokers."""
    if brokers == 1:
        return dict(WEIGHTS)
    return {k: w for k, w in WEIGHTS.items() if k not in OF_ONE} | OF_SEVERAL
