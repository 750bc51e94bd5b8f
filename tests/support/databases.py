"""Real databases for tests: SQLite, MariaDB and PostgreSQL, each on free ports under a folder."""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .s3proxy import free_port


def _postgres_bin() -> str | None:
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
    return found[-1] if found else (os.path.dirname(shutil.which("initdb") or "") or None)


def missing(kind: str) -> str | None:
    if kind == "mariadb" and not (shutil.which("mariadbd") and shutil.which("mariadb-install-db")):
        return "no MariaDB server (Debian: apt-get install mariadb-server-core mariadb-client-core)"
    if kind == "postgresql" and _postgres_bin() is None:
        return "no PostgreSQL server (Debian: apt-get install postgresql)"
    return None


@contextmanager
def running(kind: str, folder: Path) -> Iterator[str]:
    """The URL of an empty database."""
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'jobs.db'}"
    elif kind == "mariadb":
        yield from _mariadb(folder)
    else:
        yield from _postgresql(folder)


def _mariadb(folder: Path) -> Iterator[str]:
    data, sock, port = folder / "data", folder / "s", free_port()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    me = subprocess.check_output(["id", "-un"], text=True).strip()
    subprocess.run(["mariadb-install-db", "--no-defaults", f"--user={me}", f"--datadir={data}", "--auth-root-authentication-method=normal", "--skip-test-db"], check=True, **quiet)  # fmt: skip
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            ["mariadbd", "--no-defaults", f"--user={me}", f"--datadir={data}", f"--socket={sock}", f"--pid-file={folder / 'pid'}", "--bind-address=127.0.0.1",
             f"--port={port}", "--skip-log-bin", "--innodb-buffer-pool-size=64M", "--innodb-flush-log-at-trx-commit=2"], stdout=log, stderr=log
        )  # fmt: skip
    try:
        for _ in range(300):
            asked = subprocess.run(["mariadb", "--no-defaults", "-S", sock, "-uroot", "-e", "create database if not exists jobs"], **quiet)  # fmt: skip
            if asked.returncode == 0:
                break
            assert server.poll() is None, (folder / "log").read_text()
            time.sleep(0.1)
        yield f"mysql+pymysql://root@127.0.0.1:{port}/jobs"
    finally:
        server.kill()
        server.wait()


def _postgresql(folder: Path) -> Iterator[str]:
    bin_, port = _postgres_bin(), free_port()
    as_user: list[str] = []
    if os.geteuid() == 0:  # it refuses root
        shutil.chown(folder, "postgres")
        for parent in folder.parents:
            if parent.owner() == "root" and parent.stat().st_mode & 0o001 == 0:
                parent.chmod(parent.stat().st_mode | 0o011)
        as_user = ["runuser", "-u", "postgres", "--"]
    run = {"check": True, "stdout": subprocess.DEVNULL, "cwd": "/"}
    data = folder / "data"
    subprocess.run([*as_user, f"{bin_}/initdb", "-D", data, "-A", "trust", "-E", "UTF8", "--no-sync", "-U", "postgres"], **run)  # fmt: skip
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
    subprocess.run([*as_user, f"{bin_}/pg_ctl", "-D", data, "-l", folder / "log", "-w", "-o", options, "start"], **run)
    try:
        yield f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres"
    finally:
        subprocess.run([*as_user, f"{bin_}/pg_ctl", "-D", data, "-m", "immediate", "stop"], **(run | {"check": False}))
