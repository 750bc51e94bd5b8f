"""A trainer: takes a job, has it done by a child, keeps its lease meanwhile, and publishes what was accepted.

The child is killed when the job is no longer ours, and by the kernel when we die. Checkpoints of the training go to the store with the beats,
so the trainer that takes the job over goes on where this one was. Just before a model becomes the latest the lease is kept once more:
a trainer that was stopped for longer than its lease publishes nothing.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from multitaskais.errors import (
    ModelError,
    MultitaskAISError,
    OperatorError,
    StoreError,
    StoreRefused,
    StoreUnavailable,
)
from multitaskais.model.reference import Reference
from multitaskais.model.store import ModelStore

from .child import dying_with_parent
from .database import DatabaseAway
from .jobs import Claim, Jobs

log = logging.getLogger("model_trainer")

IDLE_S = 0.5  # between two looks for a job
CHECKPOINT = Path("model") / "training" / "checkpoint.npz"

Command = Callable[[Claim, Path], list[str]]


class JobLost(Exception):
    """The job is another's now, or was cancelled."""


class Trainer:
    """``run`` takes jobs until it is told to stop.

    Args:
        command: what the child runs, given the job and its folder (tests put another in its place).
    """

    def __init__(
        self, jobs: Jobs, store: ModelStore, work_dir: Path | None = None, owner: str = "", command: Command | None = None
    ) -> None:  # fmt: skip
        self._jobs, self._store, self._work_dir = jobs, store, work_dir
        self.owner = owner or f"{socket.gethostname()}:{os.getpid()}"
        self._command = command or (lambda _, folder: [sys.executable, "-m", "model_trainer.work", str(folder)])
        self._stop = False
        self._kept = b""  # sha256 of the checkpoint that the store has
        self._measured_against: str | None = (
            None  # the version that was the latest when the job began, "" without one; None: not known
        )

    def stop(self, *_: object) -> None:
        """Leave in order: the job is given back."""
        self._stop = True

    def run(self, once: bool = False) -> None:
        """Raises ``DatabaseAway`` when the database was away for longer than a lease."""
        last_seen = time.monotonic()
        while not self._stop:
            try:
                self._jobs.submit_due()
                claim = self._jobs.claim(self.owner)
                last_seen = time.monotonic()
            except DatabaseAway:
                if time.monotonic() - last_seen > self._jobs.lease_s:
                    raise
                claim = None
            if claim is None:
                if once:
                    return
                time.sleep(min(IDLE_S, self._jobs.lease_s / 6))
                continue
            self.do(claim)
            if once:
                return

    def do(self, claim: Claim) -> None:
        """One job to its end, or until it is lost."""
        log.info("job %s (%s): attempt %d", claim.id, claim.name, claim.attempt)
        folder: Path | None = None
        try:
            folder = Path(tempfile.mkdtemp(prefix=f"job-{claim.id[:8]}-", dir=self._work_dir))
            self._do(claim, folder)
        except JobLost:
            log.warning("job %s: no longer ours", claim.id)
        except DatabaseAway as e:
            log.error("job %s: given up, the next trainer goes on: %s", claim.id, e)
        except MultitaskAISError as e:  # the next trainer would meet the same
            log.error("job %s: %s", claim.id, e)
            self._jobs.finish(claim, "failed", error=str(e))
        except OSError as e:  # this machine cannot do it: another may
            self._jobs.release(claim)
            raise OperatorError(f"job {claim.id} is given back, no job can be done here ({e}): make room, or set WORK_DIR") from None  # fmt: skip
        finally:
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)

    def _do(self, claim: Claim, folder: Path) -> None:
        self._measured_against = None
        try:
            self._prepare(claim, folder)
        except ModelError as e:
            log.warning("job %s: begins without what the store may have: %s", claim.id, e)
        code, last_line = self._watch(claim, folder)
        if code is None:
            self._jobs.release(claim)
            return
        if code != 0:
            state = "failed"
            if code < 0:
                last_line = f"the job's process ended by signal {-code}"
            if not self._jobs.finish(claim, state, error=last_line or f"exit code {code}"):
                raise JobLost
            self._forget(claim)
            return
        result = json.loads((folder / "result.json").read_text())
        if not result.get("accepted", True):
            if not self._jobs.finish(claim, "refused", result, "not published: " + "; ".join(result["why_not"])):
                raise JobLost
            self._forget(claim)
            return
        try:
            result |= self._publish(claim, folder, result)
        except ModelError as e:  # what the store holds is not as it should be: trying again changes nothing
            if not self._jobs.finish(claim, "failed", result, f"trained, and cannot be published: {e}"):
                raise JobLost from None
            self._forget(claim)
            return
        if not self._jobs.finish(claim, "done", result):
            raise JobLost
        self._forget(claim)
        log.info("job %s: done, %s", claim.id, result.get("version"))

    # ------------------------------------------------------------ before

    def _prepare(self, claim: Claim, folder: Path) -> None:
        """The conf, the last checkpoint of an equal job, and the version that is the latest now."""
        (folder / "conf.json").write_text(json.dumps(claim.conf))
        checkpoint = self._store.newest_checkpoint(claim.conf_key[:32])
        if checkpoint is not None:
            (folder / CHECKPOINT).parent.mkdir(parents=True)
            (folder / CHECKPOINT).write_bytes(checkpoint)
            self._kept = hashlib.sha256(checkpoint).digest()
            log.info("job %s: goes on from a checkpoint of %d bytes", claim.id, len(checkpoint))
        entry = self._store.latest(claim.name)
        if entry is not None:
            shutil.copytree(self._store.fetch(Reference(claim.name, entry.version)), folder / "latest")
        self._measured_against = entry.version if entry is not None else ""

    # ------------------------------------------------------------ meanwhile

    def _watch(self, claim: Claim, folder: Path) -> tuple[int | None, str]:
        """The child's exit code and last line; None when we are told to stop. Raises ``JobLost`` and ``DatabaseAway``."""
        every = self._jobs.lease_s / 3
        with (folder / "output.txt").open("wb") as out:
            child = subprocess.Popen(self._command(claim, folder), stdin=subprocess.DEVNULL, stdout=out, stderr=out, preexec_fn=dying_with_parent())  # fmt: skip
        kept_until = time.monotonic() + self._jobs.lease_s
        try:
            while True:
                try:
                    code = child.wait(every)
                    return code, _last_line(folder / "output.txt")
                except subprocess.TimeoutExpired:
                    pass
                if self._stop:
                    self._keep_checkpoint(claim, folder)
                    return None, ""
                progress, note = _progress(folder, claim.conf)
                try:
                    if not self._jobs.beat(claim, progress, note):
                        raise JobLost
                    kept_until = time.monotonic() + self._jobs.lease_s
                except DatabaseAway:
                    if time.monotonic() > kept_until:
                        raise  # another may have it by now
                    continue
                self._keep_checkpoint(claim, folder)
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()

    def _keep_checkpoint(self, claim: Claim, folder: Path) -> None:
        try:
            content = (folder / CHECKPOINT).read_bytes()
        except OSError:
            return
        digest = hashlib.sha256(content).digest()
        if digest == self._kept:
            return
        try:
            self._store.put_checkpoint(claim.conf_key[:32], content)
            self._kept = digest
        except StoreError as e:
            log.warning("job %s: the checkpoint was not kept: %s", claim.id, e)

    # ------------------------------------------------------------ after

    def _publish(self, claim: Claim, folder: Path, result: dict[str, Any]) -> dict[str, Any]:
        """Into the store, when the job is still ours; while the store is away or refuses us the result is kept, and the lease with it.

        Raises ``ModelError`` when the store holds what cannot be gone on with.
        """
        model = folder / "model"
        if not (model / "manifest.json").is_file():
            return {}
        publish, better = claim.conf["publish"], result["better_than_latest"]
        if publish.get("when") == "needed" and not better:
            return {"kept": "the latest version keeps its budget, or this one is no better"}
        latest = publish["rollout"] == "latest" and better and not result.get("doubts")

        def ours() -> None:
            if not self._jobs.beat(claim, 1.0, "publish"):
                raise JobLost

        while True:
            ours()
            try:
                unmeasured = self._not_measured_against(claim, model) if latest else None
                if unmeasured or not latest:
                    reference = self._store.put(model, token=uuid.uuid4().hex)
                    doubts = [*result.get("doubts", []), *([unmeasured] if unmeasured else [])]
                    return {"version": reference.version, "proposed": str(reference), "doubts": doubts}
                more: dict[str, Any] = {
                    "t": time.time(),
                    "by": self.owner,
                    "token": uuid.uuid4().hex,
                    "note": f"job {claim.id}",
                }
                entry = self._store.publish(model, confirm=ours, **more)
                return {"version": entry.version, "entry": entry.number}
            except (StoreUnavailable, StoreRefused) as e:
                log.warning("job %s: trained, and waits for the store: %s", claim.id, e)
                if self._stop:
                    self._jobs.release(claim)
                    raise JobLost from None
                time.sleep(self._jobs.lease_s / 3)

    def _not_measured_against(self, claim: Claim, model: Path) -> str | None:
        """Why this model must not take over from the latest version of now; None where it was measured against it, or is it."""
        entry = self._store.latest(claim.name)
        own = json.loads((model / "manifest.json").read_text())["version"]
        if entry is None or entry.version in (self._measured_against, own):
            return None
        return f"the latest version, {entry.version}, is not the one that this model was measured against"

    def _forget(self, claim: Claim) -> None:
        self._kept = b""
        try:
            self._store.remove_checkpoints(claim.conf_key[:32])
        except StoreError as e:
            log.warning("job %s: its checkpoints were not removed: %s", claim.id, e)


def _progress(folder: Path, conf: dict[str, Any]) -> tuple[float | None, str | None]:
    """Of the child's file; within the training by its step."""
    try:
        said = json.loads((folder / "progress.json").read_text())
        progress, note = float(said["progress"]), str(said["note"])
    except (OSError, ValueError, KeyError):
        return None, None
    if note == "train":
        try:
            step = int((folder / "model" / "training" / "log.csv").read_text().splitlines()[-1].split(",")[0])
            steps = conf["train"]["steps"]
            progress, note = 0.05 + 0.55 * step / steps, f"train: step {step} of {steps}"
        except (OSError, ValueError, IndexError, KeyError):
            pass
    return progress, note


def _last_line(file: Path) -> str:
    lines = file.read_text(errors="replace").strip().splitlines()
    return "".join(c if c.isprintable() else "?" for c in lines[-1][:500]) if lines else ""


def end_on_signals(trainer: Trainer) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, trainer.stop)
