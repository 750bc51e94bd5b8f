"""``.ci/run``: it gets what its tests need where it may, and says in its last line what was skipped where it may not."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import LONGEST, group_of_file

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ("bash", "dirname", "mktemp", "rm", "tee", "sed", "awk")
NEEDED = "chromium docker-compose mariadb-server-core mariadb-client-core haproxy postgresql"
PROGRAMS = "chromium docker-compose mariadbd mariadb-install-db haproxy initdb"
SAYS = "SKIPPED [25] tests/map/conftest.py:122: no browser\nSKIPPED [1] tests/docker/test_recipes.py:214: no docker-compose\n"


def program(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(f"#!{shutil.which('bash')}\n{text}\n")
    (folder / name).chmod(0o755)


def test_the_groups_of_tests_that_go_first_exist():
    files = (ROOT / "tests").rglob("test_*.py")
    assert set(LONGEST) <= {group_of_file(str(file.relative_to(ROOT))) for file in files}


@pytest.fixture
def run(tmp_path):
    """``.ci/run`` where nothing is installed, and ``make``, ``id`` and ``apt-get`` are played."""
    tools, house = tmp_path / "bin", tmp_path / "house"
    (house / ".ci").mkdir(parents=True)
    tools.mkdir()
    shutil.copy(ROOT / ".ci" / "run", house / ".ci" / "run")
    for name in TOOLS:
        (tools / name).symlink_to(str(shutil.which(name)))
    (tmp_path / "debian_version").write_text("12.11\n")

    def run(*, root: bool, said: str = SAYS, code: int = 0, apt: str = "", debian: bool = True) -> tuple[int, str, str]:
        program(tools, "id", f"echo {0 if root else 1000}")
        program(tools, "make", f"printf '%s' '{said}'; exit {code}")
        program(tools, "apt-get", f'echo "$@" >> {tmp_path}/apt; {apt}')
        version = tmp_path / ("debian_version" if debian else "no_such_file")
        env = {"PATH": str(tools), "DEBIAN_VERSION_FILE": str(version), "TMPDIR": str(tmp_path)}
        done = subprocess.run([house / ".ci" / "run"], env=env, capture_output=True, text=True, cwd=os.sep)
        asked = (tmp_path / "apt").read_text() if (tmp_path / "apt").exists() else ""
        return done.returncode, done.stdout.splitlines()[-1], asked

    return run


def test_as_root_on_debian_it_installs_what_is_missing(run, tmp_path):
    tools = tmp_path / "bin"
    installs = (
        f"case $1 in install) for p in {PROGRAMS}; do {tools}/bash -c 'echo > {tools}/'$p; chmod_x $p; done;; esac"
    )
    program(tools, "chmod_x", f"{shutil.which('chmod')} +x {tools}/$1")
    code, last, asked = run(root=True, said="", apt=installs)
    assert f"install -qy --no-install-recommends {NEEDED}" in asked
    assert (code, last) == (0, "0 tests were skipped")


@pytest.mark.parametrize(("root", "debian", "apt"), [(False, True, ""), (True, False, ""), (True, True, "exit 100")])
def test_where_it_may_not_or_cannot_its_last_line_says_how_many_were_skipped_and_what_to_install(
    run, root, debian, apt
):
    code, last, asked = run(root=root, debian=debian, apt=apt)
    assert code == 0
    assert last == f"26 tests were skipped (reasons above, after SKIPPED); to run more: apt-get install {NEEDED}"
    assert bool(asked) == (root and debian)


def test_it_fails_when_the_tests_fail(run):
    assert run(root=False, code=2)[0] == 2
