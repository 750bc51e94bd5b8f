"""A trainer whose jobs take some tenths of a second: ``python -m tests.support.job_worker DATABASE STORE LEASE_S OWNER LOG [MODEL]``.

Its child copies MODEL, where one is given, as what was trained; each end of a job that was ours is a line of LOG.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from model_trainer.database import Database
from model_trainer.jobs import Claim, Jobs
from model_trainer.trainer import Trainer, end_on_signals
from multitaskais.model.objects import StoreSettings
from multitaskais.model.store import ModelStore

CHILD = """
import json, shutil, sys, time
folder, seconds, model = sys.argv[1], float(sys.argv[2]), sys.argv[3]
if model: shutil.copytree(model, folder + "/model")
time.sleep(seconds)
json.dump({"accepted": True, "better_than_latest": True}, open(folder + "/result.json", "w"))
"""


class Noting(Jobs):
    log: Path

    def finish(self, claim: Claim, state: str, result=None, error=None) -> bool:
        won = super().finish(claim, state, result, error)
        fd = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(fd, f"{claim.conf['n']} {claim.attempt} {state} {'won' if won else 'late'}\n".encode())
        os.close(fd)
        return won


def main() -> None:
    database, store, lease, owner, log, *model = sys.argv[1:]
    jobs = Noting(Database(database), float(lease))
    jobs.log = Path(log)

    def command(claim: Claim, folder: Path) -> list[str]:
        return [sys.executable, "-S", "-c", CHILD, str(folder), str(claim.conf["seconds"]), model[0] if model else ""]

    trainer = Trainer(jobs, ModelStore(StoreSettings(store), Path(store) / "cache"), owner=owner, command=command)
    end_on_signals(trainer)
    print("ready", flush=True)
    trainer.run()


if __name__ == "__main__":
    main()
