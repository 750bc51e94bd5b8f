"""The images, built by the documented commands; and containers that are gone after the test."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("base", "stream", "tracks", "broker", "score", "trainer")
BASE_IMAGE = os.environ.get("BASE_IMAGE", "debian:bookworm-slim")
BUILD_S = 1500
_numbers = itertools.count()


def docker(*args: str | Path, timeout: float = 300, check: bool = True, **more) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        ["docker", *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        **more,
    )
    if check and done.returncode:
        raise AssertionError(f"docker {' '.join(map(str, args))} ended with {done.returncode}:\n{done.stdout[-4000:]}")
    return done


def inspect(what: str, form: str) -> str:
    return docker("inspect", "-f", form, what).stdout.strip()


@dataclass(frozen=True)
class Images:
    namespace: str
    ref: str

    @property
    def own_base(self) -> tuple[str, ...]:
        """What a build from the bare system is told where its name is another."""
        return () if BASE_IMAGE == "debian:bookworm-slim" else ("--build-arg", f"BASE_IMAGE={BASE_IMAGE}")

    def __getitem__(self, name: str) -> str:
        return f"{self.namespace}/multitaskais_{name}:{self.ref}"


def lacking() -> str | None:
    """Why images cannot be built here; None when they can."""
    if shutil.which("docker") is None:
        return "no docker client"
    if docker("info", "-f", "{{.ServerVersion}}", check=False).returncode:
        return "no docker daemon answers"
    if docker("image", "inspect", BASE_IMAGE, check=False).returncode:
        pulled = docker("pull", "-q", BASE_IMAGE, check=False)
        if pulled.returncode:
            return f"no base image {BASE_IMAGE}, and it cannot be pulled (docs/images.md says how to make one)"
    return None


@pytest.fixture(scope="session")
def images() -> Images:
    """All images, built by the commands of docs/images.md. BASE_IMAGE, NAMESPACE and TARGET_REF come from the environment, as there.

    With IMAGES_BUILT=1 those that are there already are tested.
    """
    images = Images(os.environ.get("NAMESPACE", "test"), os.environ.get("TARGET_REF", "test"))
    if (reason := lacking()) is not None:
        pytest.skip(reason)
    if os.environ.get("IMAGES_BUILT") == "1":
        return images
    names = ("--build-arg", f"NAMESPACE={images.namespace}", "--build-arg", f"TARGET_REF={images.ref}")
    for name in NAMES:
        arguments = names if name in ("stream", "tracks", "score", "trainer") else images.own_base
        docker("build", *arguments, "-f", f"docker/{name}/Dockerfile", ".", "-t", images[name], cwd=ROOT, timeout=BUILD_S)  # fmt: skip
        print(f"{images[name]}: {int(inspect(images[name], '{{.Size}}')) / 1e6:.0f} MB")
    return images


Start = Callable[..., str]


@pytest.fixture
def start() -> Iterator[Start]:
    """``start(image, *command, options=[...])`` -> name of a container in the background."""
    names = []

    def run(image: str, *command: str | Path, options: list[str | Path] | None = None) -> str:
        names.append(f"multitaskais-test-{os.getpid()}-{next(_numbers)}")
        docker("run", "-d", "--name", names[-1], *(options or []), image, *command)
        return names[-1]

    yield run
    for name in names:
        docker("rm", "-f", "-v", name, check=False)
