"""Who may see the map, and what its answers allow a browser to do. A real server on a real socket."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys

import aiohttp
import pytest
from aiohttp import web
from hypothesis import example, given
from hypothesis import strategies as st

from multitaskais.errors import ConfigError
from stream_operator.devbroker import free_port
from stream_operator.map.feedback import Answers
from stream_operator.map.guard import Guard
from stream_operator.map.rate import Rate
from stream_operator.map.server import ANSWERS_PER_MINUTE, BODY_MAX, STATIC, Server
from stream_operator.map.state import MapState
from stream_operator.settings import Settings
from tests.map.conftest import ROOT
from tests.map.test_picture import ALERT, T, feed, raw, value

TOKEN = "a-token-of-some-length"


def serve(guard: Guard, talk):
    """Run ``talk(session, url)`` against a server with one ship and one alert; its broker is away."""

    async def main():
        picture = feed(MapState(), [raw(227000001, T)])
        picture.alert(value(ALERT))
        answers = Answers(Settings(bootstrap_servers=f"127.0.0.1:{free_port()}"), kept_within_s=1.0)
        runner = web.AppRunner(Server(picture, answers, guard, lambda: 1.0).app(), access_log=None, shutdown_timeout=1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", port := free_port())
        await site.start()
        try:
            async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
                return await talk(session, f"http://127.0.0.1:{port}")
        finally:
            await runner.cleanup()

    return asyncio.run(main())


OPEN = Guard("127.0.0.1", "")
CLOSED = Guard("0.0.0.0", TOKEN)


def test_another_address_than_this_machine_needs_a_token_of_some_length():
    for bind in ("0.0.0.0", "::", "192.0.2.1", "map.example"):
        with pytest.raises(ConfigError, match="MAP_TOKEN"):
            Guard(bind, "")
        Guard(bind, TOKEN)
    with pytest.raises(ConfigError, match="too short"):
        Guard("0.0.0.0", "short")
    for bind in ("127.0.0.1", "localhost", "::1"):
        Guard(bind, "")


def test_every_answer_forbids_frames_sniffing_and_foreign_or_inline_code():
    async def talk(session, url):
        for path in (
            "/",
            "/static/main.js",
            "/api/state",
            "/api/coast",
            "/nowhere",
            "/api/alert/none",
            "/login",
            "/api/stream",
        ):
            async with session.get(url + path) as answer:
                policy = answer.headers["Content-Security-Policy"]
                assert "default-src 'none'" in policy
                assert "unsafe" not in policy
                assert "frame-ancestors 'none'" in policy
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
                assert answer.headers["X-Frame-Options"] == "DENY"

    serve(OPEN, talk)


def test_pages_hold_no_inline_code_and_name_no_other_host():
    for page in STATIC.iterdir():
        text = page.read_text()
        assert "https://" not in text, page.name
        assert "http://" not in text.replace("http://www.w3.org/2000/svg", ""), page.name
        if page.suffix == ".html":
            assert "<script>" not in text
            assert "style=" not in text
            assert not re.search(r"\son\w+\s*=", text), page.name
        if page.suffix == ".js":
            for dangerous in (
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "new Function",
                "DOMParser",
                "srcdoc",
            ):
                assert dangerous not in text, f"{page.name}: {dangerous}"


def test_without_a_token_only_this_machine_s_own_names_are_answered():
    async def talk(session, url):
        for host, status in (
            ("evil.example", 421),
            ("127.0.0.1:1", 200),
            ("localhost", 200),
            ("[::1]:80", 200),
            ("", 421),
        ):
            async with session.get(url + "/api/state", headers={"Host": host}) as answer:
                assert answer.status == status, host

    serve(OPEN, talk)


def test_with_a_token_nothing_is_shown_before_it_is_presented():
    async def talk(session, url):
        for path in ("/api/state", "/api/stream", "/api/coast", "/api/alert/a-1", "/api/replay?from=1&to=2"):
            async with session.get(url + path) as answer:
                assert answer.status == 401
        async with session.get(url + "/", allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"]) == (303, "/login")
        async with session.post(url + "/api/feedback", json={}) as answer:
            assert answer.status == 401
        async with session.post(url + "/login", data={"token": "wrong" * 5}, allow_redirects=False) as answer:
            assert answer.headers["Location"].startswith("/login")
            assert not answer.cookies
        async with session.get(url + "/api/state", headers={"Authorization": f"Bearer {TOKEN}"}) as answer:
            assert answer.status == 200
        async with session.post(url + "/login", data={"token": TOKEN}, allow_redirects=False) as answer:
            (cookie,) = answer.cookies.values()
            assert cookie["httponly"]
            assert cookie["samesite"] == "Strict"
            assert TOKEN not in cookie.value
        async with session.get(url + "/api/state") as answer:
            assert answer.status == 200
            assert len((await answer.json())["ships"]) == 1

    serve(CLOSED, talk)


def test_answers_from_other_sites_too_long_or_unknown_are_refused():
    good = {"alert_id": "a-1", "answer": "real", "word": "", "who": ""}

    async def talk(session, url):
        async def send(body, **headers):
            data = body if isinstance(body, str | bytes) else json.dumps(body)
            async with session.post(
                url + "/api/feedback", data=data, headers={"Content-Type": "application/json", **headers}
            ) as answer:
                return answer.status

        assert await send(good, Origin="https://evil.example") == 403
        assert await send(good, **{"Content-Type": "text/plain"}) == 415
        assert await send({**good, "word": "x" * BODY_MAX}) == 413
        assert await send({**good, "alert_id": "unknown"}) == 404
        for bad in (
            "",
            "{",
            "[]",
            b"\xff",
            {},
            {**good, "answer": "maybe"},
            {**good, "alert_id": "<script>"},
            {**good, "more": 1},
            {**good, "word": 5},
        ):
            assert await send(bad) == 400, bad

    serve(OPEN, talk)


def test_an_answer_that_the_broker_did_not_take_is_not_said_to_be_kept():
    async def talk(session, url):
        async with session.post(url + "/api/feedback", json={"alert_id": "a-1", "answer": "real"}) as answer:
            assert answer.status == 503
            assert "not kept" in await answer.text()
        async with session.get(url + "/api/alert/a-1") as answer:
            assert (await answer.json())["answers"] == []

    serve(OPEN, talk)


def test_a_person_who_answers_without_end_is_told_when_to_come_again_and_no_other_is():
    async def talk(session, url):
        async def answers(who: str) -> tuple[int, str]:
            async with session.post(url + "/api/feedback", json={"alert_id": "a-1", "answer": "real", "who": who}) as a:
                return a.status, a.headers.get("Retry-After", "")

        got = await asyncio.gather(*(answers("flood") for _ in range(ANSWERS_PER_MINUTE + 5)))
        assert sorted(status for status, _ in got) == [429] * 5 + [503] * ANSWERS_PER_MINUTE  # its broker is away
        assert all(1 <= int(after) <= 60 for status, after in got if status == 429)
        assert (await answers("officer"))[0] == 503

    serve(OPEN, talk)


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xyz"), st.floats(0, 40)), max_size=80),
    st.integers(1, 4),
    st.integers(4, 8),
)
@example([("a", "x", 5e-324), ("a", "x", 60.0)], 1, 4)  # the rest of the minute is rounded away
@example([("a", "x", 4.222653504633152), ("a", "x", 0.0)], 1, 4)  # or more than a minute is left
def test_in_no_minute_does_a_person_or_an_address_answer_more_often_than_it_may(said, of_person, of_address):
    now, heard = 0.0, []
    rate = Rate(of_person, of_address, clock=lambda: now)
    for address, person, later in said:
        now += later
        recent = [(a, p) for a, p, t in heard if t > now - 60.0]
        free = recent.count((address, person)) < of_person and sum(a == address for a, _ in recent) < of_address
        wait = rate.wait_s((address, person))
        assert (wait == 0.0) == free
        if free:
            heard.append((address, person, now))
        else:
            assert 0.0 < wait <= 60.0


def test_questions_out_of_range_get_an_answer_and_not_an_error():
    async def talk(session, url):
        for path, status in (
            ("/api/replay", 400), ("/api/replay?from=a&to=b", 400), ("/api/replay?from=nan&to=nan", 400), ("/api/replay?from=0&to=1e9", 400),
            ("/api/replay?from=-1e300&to=1", 400), ("/api/ship/abc", 400), ("/api/ship/1", 404), ("/api/ship/227000001", 200),
            ("/api/alert/%3Cscript%3E", 404), ("/static/../server.py", 404), ("/static/%2e%2e%2fserver.py", 404), ("/api/state", 200),
        ):  # fmt: skip
            async with session.get(url + path) as answer:
                assert answer.status == status, path

    serve(OPEN, talk)


ODD_HEADS = [
    b"Host: [\r\n",
    b"Host: \xff\xfe\r\n",
    b"Host: localhost\r\nOrigin: http://[\r\n",
    b"Host: localhost\r\nOrigin: \xff\r\n",
    b"Host: localhost\r\nAuthorization: Bearer \xff\xfe\r\n",
    b"Host: localhost\r\nCookie: map_session=\xff\r\n",
    b"Host: localhost\r\nContent-Type: multipart/form-data\r\n",
    b"Host: localhost\r\nContent-Type: application/x-www-form-urlencoded; charset=none\r\n",
    b"Host: localhost\r\nContent-Type: application/json; charset=\xff\r\n",
    b"Host: localhost\r\nAccept-Encoding: \xff\r\nIf-None-Match: \xff\r\nLast-Event-ID: \xff\r\n",
    b"Host: localhost\r\nUpgrade: websocket\r\nConnection: upgrade\r\n",
]


@pytest.mark.parametrize("guard", [OPEN, CLOSED], ids=["open", "closed"])
def test_whatever_a_request_holds_is_answered_and_no_error_of_ours(guard, caplog, monkeypatch):
    monkeypatch.setattr("stream_operator.map.guard.WRONG_TOKEN_DELAY_S", 0.0)

    async def talk(session, url):
        port = int(url.rpartition(":")[2])
        for head in ODD_HEADS:
            for line in (b"GET /", b"GET /health", b"GET /api/state", b"GET /static/%ff", b"GET /api/alert/%ff", b"POST /login", b"POST /api/feedback"):  # fmt: skip
                body = b"token=%ff&\xff" if line.startswith(b"POST") else b""
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(
                    line
                    + b" HTTP/1.1\r\nConnection: close\r\n"
                    + head
                    + b"Content-Length: %d\r\n\r\n" % len(body)
                    + body
                )
                answer = await asyncio.wait_for(reader.readline(), 20)
                writer.close()
                assert int(answer.split()[1]) < 500, (line, head, answer)

    serve(guard, talk)
    assert not [r for r in caplog.records if r.levelname == "ERROR" or r.exc_info]


def test_a_wrong_setting_stops_the_start_with_one_line():
    done = subprocess.run(
        [sys.executable, "-m", "stream_operator", "map", "--bind", "0.0.0.0"], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "MAP_TOKEN" in done.stderr
