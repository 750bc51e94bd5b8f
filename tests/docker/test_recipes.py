"""Laws of the Dockerfiles, the compose file and what they call, that need no docker."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import metadata
from pathlib import Path
from threading import Thread

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from multitaskais import __version__
from stream_operator.settings import Settings

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed: pip install '.[test]'")

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
RECIPES = {p.parent.name: p.read_text() for p in sorted(DOCKER.glob("*/Dockerfile"))}


def last_stage(recipe: str) -> str:
    return recipe[recipe.rindex("\nFROM ") :]


def load(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_seven_images_have_a_recipe():
    assert set(RECIPES) == {"base", "stream", "tracks", "broker", "score", "trainer", "airflow"}


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_ends_with_an_unprivileged_user_on_top_of_a_stage_that_leaves_the_user_open(name):
    end = last_stage(RECIPES[name])
    assert end.startswith("\nFROM any-user\n")
    assert re.search(r"^ARG UID=[1-9]\d*$", end, re.M)
    assert end.rstrip().endswith("USER $UID")


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_has_labels_a_health_check_and_a_first_process_that_hears_signals(name):
    recipe = RECIPES[name]
    assert ("org.opencontainers.image.version=$VERSION" in recipe) == (name in ("base", "broker"))  # others inherit it
    assert "org.opencontainers.image.revision=$REVISION" in recipe
    assert "\nHEALTHCHECK " in recipe
    assert 'ENTRYPOINT ["tini", "--", ' in recipe


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_can_be_read_by_the_old_builder_and_names_no_host(name):
    assert "--mount" not in RECIPES[name]  # BuildKit's alone
    assert "://" not in RECIPES[name]


@pytest.mark.parametrize("name", ["base", "stream", "tracks", "score", "trainer"])
def test_pip_installs_files_whose_hashes_are_known_and_keeps_no_cache(name):
    text = (RECIPES[name] + (DOCKER / "base" / "extra.sh").read_text()).replace(
        "$pip ", "python3 -m pip --no-cache-dir "
    )
    assert 'pip="/usr/bin/python3 -m pip --no-cache-dir"' in text
    installs = [line for line in text.splitlines() if re.search(r"-m pip .*\b(install|wheel|download)\b", line)]
    assert len(installs) >= 2
    for line in installs:
        assert "--no-cache-dir" in line
        ours = re.search(r"--no-deps (/wheel/\*\.whl|-w /wheel \.)", line)
        assert ours or re.search(r"--require-hashes .*-r (build\.lock|\"\$(list|1)\")", line), line
    assert (
        "-m pip --no-cache-dir wheel --no-build-isolation" in RECIPES["base"]
    )  # an isolated build fetches its tools unchecked


LOCKS = load(DOCKER / "lock.py")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
TARGET = {"python_version": "3.11", "python_full_version": "3.11.2", "sys_platform": "linux", "platform_system": "Linux",
          "os_name": "posix", "platform_machine": "x86_64", "platform_python_implementation": "CPython",
          "implementation_name": "cpython"}  # fmt: skip


def needed(requirements: list[str], extras: set[str]) -> list[Requirement]:
    """Those that hold on the images' Python and machine."""
    found = [Requirement(r) for r in requirements]
    return [
        r for r in found if r.marker is None or any(r.marker.evaluate({**TARGET, "extra": e}) for e in (extras or {""}))
    ]


def locked(name: str) -> dict[str, str]:
    """Package -> version. A line that is neither a pinned package with hashes nor a comment is refused."""
    text = (DOCKER / name).read_text().replace("\\\n", " ")
    found = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            package = re.fullmatch(r"([\w.-]+)==([\w.+!-]+)(\s+--hash=sha256:[0-9a-f]{64})+\s*", line)
            assert package, f"{name}: {line[:80]}"
            assert found.setdefault(canonicalize_name(package[1]), package[2]) == package[2]
    return found


@pytest.mark.parametrize("name", LOCKS.LISTS)
def test_a_locked_list_is_whole_and_of_the_versions_that_are_tested(name):
    lock = locked(name)
    tested = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split())
    tested = {canonicalize_name(package): version for package, version in tested.items()}
    assert {p: v for p, v in lock.items() if tested.get(p) != v} == {}, "make lock"
    extras = [e for e in LOCKS.LISTS[name].split(",") if e]
    wanted = needed(
        [*PROJECT["dependencies"], *(r for e in extras for r in PROJECT["optional-dependencies"][e])], set()
    )
    seen: set[str] = set()
    while wanted:
        requirement = wanted.pop()
        package = canonicalize_name(requirement.name)
        assert package in lock, f"{requirement} is not in {name}: make lock"
        assert requirement.specifier.contains(lock[package], prereleases=True), f"{requirement}: make lock"
        if (key := f"{package}{sorted(requirement.extras)}") not in seen:
            seen.add(key)
            wanted += needed(metadata.requires(package) or [], requirement.extras)
    assert {key.partition("[")[0] for key in seen} == set(lock), f"{name} has more than it needs: make lock"


def test_each_image_installs_its_own_list_and_base_each_of_its_own():
    for name in ("stream", "tracks", "score", "trainer"):
        assert f"COPY docker/{name}/requirements.lock " in RECIPES[name]
        assert "RUN sh extra.sh requirements.lock /added" in RECIPES[name]
    assert "COPY docker/base/*.lock ./" in RECIPES["base"]
    assert "COPY pyproject.toml README.md docker/base/build.lock ./" in RECIPES["base"]
    assert {p.relative_to(DOCKER).as_posix() for p in DOCKER.rglob("*.lock")} == {
        *LOCKS.LISTS,
        LOCKS.BUILD,
        LOCKS.AIRFLOW,
    }
    assert {"setuptools", "wheel"} <= set(locked(LOCKS.BUILD))


def test_the_operator_needs_neither_spark_nor_tensorflow_and_the_tracks_no_tensorflow():
    engines = {
        "faust-streaming",
        "confluent-kafka",
        "pyspark",
        "tensorflow-cpu",
        "litestar",
        "sqlalchemy",
        "pytest",
        "pip",
    }
    has = {
        image: engines & set(locked(f"{image}/requirements.lock"))
        for image in ("base", "stream", "tracks", "score", "trainer")
    }
    assert has == {
        "base": set(),
        "stream": {"faust-streaming", "confluent-kafka"},
        "tracks": {"pyspark"},
        "score": {"litestar"},
        "trainer": {"litestar", "sqlalchemy", "tensorflow-cpu"},
    }


def test_an_image_on_top_of_base_replaces_no_package_of_base():
    base = locked("base/requirements.lock")
    for name in LOCKS.LISTS:
        assert base.items() <= locked(name).items(), name


def test_the_version_stands_once_in_the_recipes_and_is_inherited():
    stated = {name: re.findall(r"^ARG VERSION=(.*)$", recipe, re.M) for name, recipe in RECIPES.items()}
    pom = (ROOT / "stream_operator" / "devbroker" / "pom.xml").read_text()
    kafka = re.search(r"<artifactId>kafka_2\.13</artifactId>\s*<version>(.*)</version>", pom)
    assert kafka
    assert {name: found for name, found in stated.items() if found} == {"base": [__version__], "broker": [kafka[1]]}
    for name in set(RECIPES) - {"base", "broker"}:
        below = "trainer" if name == "airflow" else "base"
        assert f"\nFROM $NAMESPACE/multitaskais_{below}:$TARGET_REF AS any-user\n" in RECIPES[name]


def test_the_context_leaves_out_what_images_are_not_made_of():
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    let_in = {line[1:] for line in lines if line.startswith("!")}
    assert let_in == {
        "multitaskais", "stream_operator", "tracks_builder", "score_server", "model_trainer", "web_common", "docker", "pyproject.toml", "README.md",
        ".git/HEAD", ".git/packed-refs", ".git/refs/heads",
    }  # fmt: skip


# ---------------------------------------------------------------- what the recipes call


def commit(git: Path) -> str:
    done = subprocess.run(["sh", DOCKER / "base" / "commit.sh", git], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path) -> Path:
    who = ["-c", "user.name=n", "-c", "user.email=e@e", "-c", "core.hooksPath=/dev/null"]
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    subprocess.run(["git", *who, "commit", "-q", "--allow-empty", "-m", "one"], cwd=tmp_path, check=True)
    return tmp_path


def head(repository: Path) -> str:
    return subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=repository, text=True).strip()


@pytest.mark.parametrize("then", [[], ["git", "pack-refs", "--all"], ["git", "checkout", "-q", "--detach"]])
def test_the_commit_is_found_on_a_branch_in_packed_refs_and_detached(repository, then):
    if then:
        subprocess.run(then, cwd=repository, check=True)
    assert commit(repository / ".git") == head(repository)


def test_sources_without_history_have_an_unknown_commit(tmp_path):
    assert commit(tmp_path) == "unknown"


def requirements(extras: str) -> subprocess.CompletedProcess[str]:
    script = [sys.executable, DOCKER / "base" / "requirements.py", ROOT / "pyproject.toml", extras]
    return subprocess.run(script, capture_output=True, text=True)


def test_an_extra_adds_its_packages_and_nothing_else():
    plain, train = (requirements(e).stdout.splitlines() for e in ("", "train"))
    assert any(line.startswith("numpy") for line in plain)
    assert [line for line in train if line not in plain] == [
        *tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["train"]
    ]


def test_an_unknown_extra_stops_the_build_with_the_list_of_extras():
    done = requirements("trian")
    assert done.returncode == 1
    assert "'trian'" in done.stderr
    assert "train" in done.stderr


healthcheck = load(DOCKER / "stream" / "healthcheck.py")


@pytest.mark.parametrize(
    ("words", "variables", "url"),
    [
        (["worker"], {}, "http://127.0.0.1:6066/health"),
        (["worker"], {"HEALTH_BIND": "0.0.0.0", "HEALTH_PORT": "7000"}, "http://127.0.0.1:7000/health"),
        (["worker"], {"HEALTH_BIND": "::1"}, "http://[::1]:6066/health"),
        (["map"], {"MAP_BIND": "0.0.0.0"}, "http://127.0.0.1:8080/health"),
        (["map", "--port", "81", "--bind", "10.0.0.5"], {}, "http://10.0.0.5:81/health"),
        (["alerts", "--follow"], {}, None),
        (["feed", "/data"], {}, None),
    ],
)
def test_the_health_check_asks_the_page_of_the_command(monkeypatch, words, variables, url):
    for name in ("HEALTH_BIND", "HEALTH_PORT", "MAP_BIND", "MAP_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert healthcheck.page(words) == url


def test_the_health_check_knows_the_defaults_of_the_settings():
    for name, default in ((port, default) for _, port, default in healthcheck.PAGES.values()):
        assert str(getattr(Settings(), name.lower())) == default


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1), (None, 1)])
def test_the_health_check_is_well_only_when_the_page_says_so(status, code):
    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Page) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/health"
        if status is None:
            server.shutdown()
            server.server_close()
        assert healthcheck.ask(url) == code
        server.shutdown()


# ---------------------------------------------------------------- compose


def test_compose_runs_hardened_containers_with_settings_that_the_operator_takes():
    compose = yaml.safe_load((DOCKER / "compose.yml").read_text())
    services = compose["services"]
    assert {"broker", "topics", "worker", "feed", "map"} <= set(services)
    known = {name.upper() for name in Settings.__dataclass_fields__}
    for name, service in services.items():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        if name != "broker":
            assert set(service["environment"]) <= known
    # What the host opens is open to the host alone.
    assert [p for s in services.values() for p in s.get("ports", [])] == ["127.0.0.1:${MAP_PORT:-8080}:8080"]


@pytest.mark.skipif(shutil.which("docker-compose") is None, reason="docker-compose is not installed")
def test_compose_says_that_the_map_needs_a_token():
    command = ["docker-compose", "-f", DOCKER / "compose.yml", "config"]
    env = {k: v for k, v in os.environ.items() if k != "MAP_TOKEN"}
    without = subprocess.run(command, env=env, capture_output=True, text=True)
    assert without.returncode != 0
    assert "MAP_TOKEN" in without.stderr
    with_it = subprocess.run(command, env={**env, "MAP_TOKEN": "0123456789abcdef"}, capture_output=True, text=True)
    assert with_it.returncode == 0, with_it.stderr


def test_airflow_is_open_to_this_machine_alone_and_keeps_to_a_frozen_list():
    compose = yaml.safe_load((DOCKER / "compose.airflow.yml").read_text())["services"]
    assert [p for s in compose.values() for p in s.get("ports", [])] == ["127.0.0.1:18080:18080"]
    assert compose["airflow"]["read_only"] is True
    assert compose["airflow"]["cap_drop"] == ["ALL"]
    assert compose["airflow"]["environment"]["DATABASE_URL"].startswith("mysql+pymysql://")
    lines = (DOCKER / "airflow" / "constraints.txt").read_text().splitlines()
    assert all(re.fullmatch(r"[\w.-]+==[\w.+!-]+", line) for line in lines)
    assert "apache-airflow==3.3.2" in lines
    frozen = {canonicalize_name(package): version for package, version in (line.split("==") for line in lines)}
    lock = locked(LOCKS.AIRFLOW)
    assert lock["apache-airflow"] == "3.3.2"
    assert lock.items() <= frozen.items(), "make lock"
    assert re.search(r"-m pip --no-cache-dir install --require-hashes .*-r requirements\.lock", RECIPES["airflow"])
    script = (DOCKER / "airflow" / "run.sh").read_text()
    assert "bind=${AIRFLOW_BIND:-127.0.0.1}" in script
    assert "scheduler --skip-serve-logs" in script  # its log server would listen on all addresses
    assert subprocess.run(["sh", "-n", DOCKER / "airflow" / "run.sh"]).returncode == 0


# ---------------------------------------------------------------- the package that goes in


def test_the_wheel_holds_every_file_of_the_packages(tmp_path):
    names = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).splitlines()
    inside = [
        n
        for n in names
        if n.split("/")[0]
        in ("multitaskais", "stream_operator", "tracks_builder", "score_server", "model_trainer", "web_common")
    ]
    source = tmp_path / "source"
    for name in [*inside, "pyproject.toml", "README.md"]:
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, source / name)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", tmp_path, source]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    for_the_checkout = {n for n in inside if n.endswith("/card/curves.png")}  # how a training went; no program reads it
    wanted = {n for n in inside if (ROOT / n).is_file()} - for_the_checkout
    assert wanted <= set(zipfile.ZipFile(wheel).namelist())
