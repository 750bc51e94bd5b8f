"""The faults. Each is a function of the bed; it returns when the operator has gone on, and raises AssertionError when it did not."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

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
    clock_set_back: 4, other_cpu: 4,
}  # fmt: skip
