"""``make lock``: the packages of each image, pinned and with hashes, from pyproject.toml and constraints.txt.

Each list is whole: what the image needs and what that needs, for Linux on x86-64 and Debian's Python 3.11, so that pip with
``--require-hashes`` takes exactly these files or none. The index that is asked is the one that uv is set up with; it is not written down.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

DOCKER = Path(__file__).resolve().parent
ROOT = DOCKER.parent
# list -> extras of pyproject.toml. The images on top of base have base's packages in their list too: the versions are then one.
LISTS = {
    "base/requirements.lock": "",
    "base/requirements-plot.lock": "plot",
    "base/requirements-train.lock": "train",
    "stream/requirements.lock": "stream,store",
    "tracks/requirements.lock": "tracks",
    "score/requirements.lock": "serve",
    "trainer/requirements.lock": "train,jobs,mysql,postgres",
}
BUILD = "base/build.lock"  # what builds our wheel, and packages that come as source
AIRFLOW = "airflow/requirements.lock"  # an environment of its own, with versions of its own
PLATFORM = ("--python-version", "3.11", "--python-platform", "x86_64-manylinux_2_36")
HEAD = "# Made by `make lock` from pyproject.toml{of} and constraints.txt; do not edit.\n"


def compile_list(requirements: str, output: Path, head: str, constraints: str = "constraints.txt") -> None:
    """Write the list of what ``requirements`` (one a line) need, in the versions of ``constraints``.

    Raises:
        SystemExit: uv found no versions; its words are on standard error.
    """
    command = [str(Path(sys.executable).with_name("uv")), "pip", "compile", "--quiet", "--generate-hashes"]
    command += [*PLATFORM, "--no-header", "--no-annotate", "--constraints", str(ROOT / constraints), "-"]
    env = os.environ | ({"SSL_CERT_FILE": os.environ["PIP_CERT"]} if "PIP_CERT" in os.environ else {})
    done = subprocess.run(command, input=requirements, stdout=subprocess.PIPE, text=True, env=env, cwd=ROOT)
    if done.returncode:
        sys.exit(f"{output.relative_to(ROOT)} was not made")
    output.write_text(head + done.stdout)


def main() -> int:
    for name, extras in LISTS.items():
        script = [sys.executable, str(DOCKER / "base" / "requirements.py"), str(ROOT / "pyproject.toml"), extras]
        wanted = subprocess.run(script, stdout=subprocess.PIPE, text=True, check=True).stdout
        compile_list(wanted, DOCKER / name, HEAD.format(of=f" ({extras})" if extras else ""))
    compile_list("setuptools>=77\nwheel\n", DOCKER / BUILD, HEAD.format(of=" (build-system)"))
    versions = "docker/airflow/constraints.txt"
    compile_list(
        "apache-airflow\n", DOCKER / AIRFLOW, f"# Made by `make lock` from {versions}; do not edit.\n", versions
    )
    print(f"{len(LISTS) + 2} lists in docker/*/*.lock")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
