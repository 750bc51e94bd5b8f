"""A real broker, the map as a process of its own, and a real browser. Pictures of the page go to ``out/screenshots``."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from stream_operator import devbroker
from stream_operator.kafka.topics import Admin
from stream_operator.settings import Settings
from tests.support.map_scene import Scene, publish, scene

ROOT = Path(__file__).resolve().parent.parent.parent
SCREENSHOTS = ROOT / "out" / "screenshots"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER_ARGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
_numbers = itertools.count()


@pytest.fixture(scope="session")
def map_broker(tmp_path_factory):
    """A real Kafka of one node; its own, because tests of the map stop it."""
    if (reason := devbroker.missing()) is not None:
        pytest.skip(reason)
    os.environ.setdefault("KAFKA_CACHE", str(ROOT / ".cache" / "kafka"))
    with devbroker.DevBroker(tmp_path_factory.mktemp("map-kafka")) as b:
        yield b


def own_settings(bootstrap: str) -> Settings:
    """Topics of their own, created."""
    n = f"{os.getpid()}-{next(_numbers)}"
    settings = Settings(
        app_id=f"map-{n}", bootstrap_servers=bootstrap, topic=f"dynamic-{n}", alert_topic=f"alerts-{n}",
        verdict_topic=f"verdicts-{n}", sample_topic=f"samples-{n}", dead_topic=f"dead-{n}", feedback_topic=f"feedback-{n}", map_port=devbroker.free_port(),
    )  # fmt: skip
    Admin(settings).create()
    return settings


class Map:
    """``python -m stream_operator map`` as a process."""

    def __init__(self, settings: Settings, log: Path, **env: str) -> None:
        self.settings = settings
        self.log = log
        self.url = f"http://127.0.0.1:{settings.map_port}/"
        self._env = env
        self.start()

    def start(self) -> None:
        names = (
            "app_id",
            "bootstrap_servers",
            "topic",
            "alert_topic",
            "verdict_topic",
            "sample_topic",
            "dead_topic",
            "feedback_topic",
            "map_port",
        )
        variables = {n.upper(): str(getattr(self.settings, n)) for n in names}
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "stream_operator", "map"],
                env={**os.environ, **variables, "OMP_NUM_THREADS": "1", **self._env}, stdout=out, stderr=out, cwd=ROOT,
            )  # fmt: skip

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
        return self.process.wait()

    def get(self, path: str) -> dict:
        with urllib.request.urlopen(self.url + path.lstrip("/"), timeout=10) as answer:
            return json.load(answer)

    def wait(self, what, within: float = 30.0) -> dict:
        """The first ``/api/state`` for which ``what(state)`` holds."""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            try:
                if what(state := self.get("/api/state")):
                    return state
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.2)
        raise AssertionError(f"not within {within} s; the map said: {self.log.read_text()[-2000:]}")


@pytest.fixture(scope="session")
def start_map(tmp_path_factory):
    folder = tmp_path_factory.mktemp("map")
    started: list[Map] = []

    def start(settings: Settings, **env: str) -> Map:
        started.append(Map(settings, folder / f"map-{len(started)}.log", **env))
        return started[-1]

    yield start
    for m in started:
        m.stop()


@pytest.fixture(scope="session")
def day() -> Scene:
    return scene(time.time())


@pytest.fixture(scope="session")
def live_map(map_broker, start_map, day) -> Map:
    """The map with the day off Brittany in it."""
    settings = own_settings(map_broker.bootstrap)
    publish(settings, day)
    m = start_map(settings)
    m.wait(lambda s: s["health"]["caught_up"] and len(s["alerts"]) >= len({a.alert_id for a in day.alerts}))
    return m


@pytest.fixture(scope="module")  # its event loop runs in this thread as long as it is open, and no other can then
def browser():
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f"no browser on this machine: none of {', '.join(BROWSERS)} is in the PATH")
    from playwright.sync_api import sync_playwright

    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as p:
        b = p.chromium.launch(executable_path=path, args=BROWSER_ARGS)
        yield b
        b.close()


def until(page, expression: str, within: float = 10.0) -> None:
    """Wait until an expression is true in the page. (Playwright's own way needs ``eval`` there, which the page forbids.)"""
    deadline = time.monotonic() + within
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, f"not within {within} s: {expression}"
        page.wait_for_timeout(50)


@pytest.fixture
def open_page(browser):
    """``open_page(url, **context)`` -> page; complaints of the page (errors, violated policy) fail the test."""
    contexts, complaints = [], []

    def open_(url: str, ships: bool = True, **context):
        c = browser.new_context(**{"viewport": {"width": 1440, "height": 900}, **context})
        contexts.append(c)
        page = c.new_page()
        page.on("pageerror", lambda e: complaints.append(str(e)))
        page.on(
            "console",
            lambda m: (
                complaints.append(m.text)
                if m.type == "error" and "net::ERR" not in m.text and "Failed to load" not in m.text
                else None
            ),
        )
        page.on("dialog", lambda d: (complaints.append(f"dialog: {d.message}"), d.dismiss()))
        page.goto(url)
        if ships:
            until(page, "window.map && map.sea.ships.size > 0", within=20)
        return page

    yield open_
    for c in contexts:
        c.close()
    assert not complaints
