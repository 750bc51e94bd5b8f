"""The server as a process: bad input, tokens, judges that die, versions that change under load, a store that is away."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import numpy as np
import pytest

from multitaskais.engine import batch
from multitaskais.model import folder
from multitaskais.model.objects import StoreSettings
from multitaskais.model.reference import Reference
from multitaskais.model.store import ModelStore
from tests.support import s3proxy
from tests.support.s3proxy import ROOT, free_port
from tests.support.serving import Serving
from web_common.connections import connections_max

from .conftest import HOW, as_json

ONE = {"mmsi": 227000001, "t": 1.7e9, "lat": 48.0, "lon": -5.5, "sog": 8.0, "cog": 90.0}


def wait_until(what, within: float = 120.0):
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if value := what():
            return value
        time.sleep(0.05)
    raise AssertionError(f"not within {within} s")


def version_of(place: Path) -> str:
    return folder.read_manifest(place)["version"]


def test_the_answer_over_http_is_what_batch_says(server, brittany, reports):
    status, answer = server.post("/v1/score", {"model": "mine", "reports": as_json(reports), "predicted": True})
    want = batch.run(brittany, reports)
    assert status == 200
    assert answer["status"] == "success"
    got = {a["alert"]["alert_id"]: a["alert"] | {"model_version": ""} for a in answer["anomalies"]}
    assert got == {a.alert_id: a.as_dict() | {"model_version": ""} for a in want.alerts}
    assert len(answer["predicted"]) == sum(t["samples"] for t in answer["tracks"])


# ---------------------------------------------------------------- bad input


def many(n: int) -> bytes:
    return json.dumps({"reports": [{"mmsi": 1, "t": 1.0}] * n}).encode()


WRONG = [
    (b"", 400, ""),
    (b"{", 400, ""),
    (b"[]", 400, "object"),
    (b"\xff\xfe", 400, ""),
    (b"[" * 100_000, 400, ""),
    (b'{"reports":' * 50_000, 400, ""),
    (b'{"reports":[{"mmsi":1,"t":NaN}]}', 400, ""),
    (b'{"reports":[{"mmsi":1,"t":1e999}]}', 400, ""),
    ({}, 400, "exactly one"),
    ({"reports": [ONE], "sentences": ["x"]}, 400, "exactly one"),
    ({"reports": []}, 400, "reports"),
    ({"reports": None}, 400, "reports"),
    ({"tracks": [{"mmsi": 1, "reports": []}]}, 400, "tracks[0].reports"),
    ({"reports": [ONE | {"lat": 95.0}]}, 400, "reports[0].lat"),
    ({"reports": [ONE, ONE | {"lon": "-5"}]}, 400, "reports[1].lon"),
    ({"reports": [ONE | {"t": 1.7e12}]}, 400, "reports[0].t"),
    ({"reports": [ONE | {"mmsi": 0}]}, 400, "reports[0].mmsi"),
    ({"reports": [ONE | {"mmsi": "12a"}]}, 400, "reports[0].mmsi"),
    ({"reports": [ONE | {"mmsi": None}]}, 400, "reports[0].mmsi"),
    ({"reports": [ONE | {"speed": 3}]}, 400, "speed"),
    ({"reports": [ONE], "modell": "mine"}, 400, "modell"),
    ({"reports": [ONE], "predicted": "yes"}, 400, "predicted"),
    ({"reports": [ONE], "model": "../../etc/passwd"}, 400, "model"),
    ({"reports": [ONE], "model": "atlantis"}, 404, "mine"),
    ({"reports": [ONE], "model": "mine@mine-000000000000"}, 404, "mine-000000000000"),
    ({"sentences": ["x" * 5000]}, 400, "sentences[0]"),
    ({"sentences": ["x", "!AIVDM\n!AIVDM"]}, 400, "sentences[1]"),
    ({"reports": [ONE], "model": "mine\n"}, 400, "model"),
    ({"reports": [ONE], "model": "mine@mine-00000000000g"}, 400, "model"),
    ({"reports": [ONE | {"mmsi": True}]}, 400, "reports[0].mmsi"),
    ({"reports": [ONE | {"mmsi": 227000001.5}]}, 400, "reports[0].mmsi"),
    ({"reports": [ONE | {"mmsi": 10**30}]}, 400, "reports[0].mmsi"),
    ({"reports": [ONE | {"ship_name": "x" * 65}]}, 400, "reports[0].ship_name"),
    (b'{"reports":[{"mmsi":1,"t":1700000000,"ship_name":"\\ud800"}]}', 400, ""),
    (b'{"reports":[{"mmsi":1,"t":1e-400}]}', 400, "reports[0].t"),
    (json.dumps({"reports": [ONE]}).encode("utf-16"), 400, ""),
    (b"\xef\xbb\xbf" + json.dumps({"reports": [ONE]}).encode(), 400, ""),
    (json.dumps({"reports": [ONE]}).encode() + b"{}", 400, ""),
    (many(100_001), 413, "100,000"),
    (b'{"reports": [' + b" " * (17 << 20) + b"]}", 413, ""),
]


@pytest.mark.parametrize(("body", "status", "named"), WRONG, ids=range(len(WRONG)))
def test_a_wrong_request_is_one_line_that_names_the_field_and_breaks_nothing(server, body, status, named):
    got, answer = server.post("/v1/score", body)
    assert got == status, answer
    assert answer["status"] == "error"
    assert named in answer["msg"]
    assert "Traceback" not in answer["msg"]
    wait_until(lambda: server.get("/ready")[0] == 200)


def test_a_crowd_at_one_place_that_no_judge_can_hold_is_refused_and_the_judge_goes_on(server):
    """Ships at one place are looked at pair by pair: 12,000 of them are 72 million pairs."""
    before = judges_of(server)
    rows = [{"mmsi": 227_000_000 + k, "t": 1.7e9, "lat": 48.3, "lon": -6.5, "sog": 0.1, "cog": 90.0} for k in range(12_000)]  # fmt: skip
    rows.append(rows[0] | {"t": 1.7e9 + 600.0})
    status, answer = server.post("/v1/score", {"reports": rows})
    assert (status, answer["status"]) == (400, "error")
    assert "1,024 MB" in answer["msg"]
    assert judges_of(server) == before
    assert server.post("/v1/score", {"reports": [ONE]})[0] == 200


def test_what_the_rules_leave_out_is_no_error_but_counted(server):
    rows = [ONE | {"sog": None}, ONE | {"lat": 91, "lon": 181}, ONE | {"lat": 0.0}, ONE, ONE]
    status, answer = server.post("/v1/score", {"reports": rows})
    assert status == 200
    assert answer["rejected"] == {"duplicate": 1, "no_position": 1, "out_of_region": 1, "sog_not_available": 1}


def test_of_a_field_that_is_there_twice_the_last_counts(server):
    body = b'{"reports":[{"mmsi":1,"mmsi":227000001,"t":1700000000,"lat":48,"lon":-5.5,"sog":8}]}'
    assert server.post("/v1/score", body)[1]["accepted"] == 1


@pytest.mark.parametrize("head", [b"Content-Length: 100000\r\n\r\n{", b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"])
def test_a_body_that_never_ends_is_cut_off(server, head):
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as s:
        s.sendall(b"POST /v1/score HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" + head)
        assert b" 408 " in s.recv(4096)


def test_a_body_in_chunks_beyond_the_limit_is_cut_off(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as s:
        s.sendall(b"POST /v1/score HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")  # fmt: skip
        chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
        answer = b""
        try:
            for _ in range(20):
                s.sendall(chunk)
            answer = s.recv(4096)
        except OSError:
            return  # the connection was closed upon us
        assert b" 413 " in answer or b" 408 " in answer


def test_half_requests_shut_nobody_out_and_heads_that_do_not_come_to_their_end_are_cut(server):
    starts = (
        b"",
        b"G",
        b"GET /health HTTP/1.1\r\nHost: x\r\nX-a: ",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\nGET",
    )
    halves = []
    for k in range(connections_max() * 3 // 4 + 20):  # what one address may hold, and more
        halves.append(socket.create_connection(("127.0.0.1", server.port), timeout=30))
        halves[-1].sendall(starts[k % len(starts)])
        if k % 60 == 0:
            assert server.get("/health")[0] == 200
    for s in (halves[0], *halves[-4:]):  # the oldest gave way, the last have had their time
        with contextlib.suppress(ConnectionResetError):
            while s.recv(4096):
                pass
    for s in halves:
        s.close()


ODD_HEADERS = [
    b"Host: [\r\n",
    b"Host: \xff\r\n",
    b"Host: localhost\r\nAuthorization: Bearer \xff\xfe\r\n",
    b"Host: localhost\r\nUpgrade: websocket\r\nConnection: upgrade\r\n",
    b"Host: localhost\r\nContent-Length: -1\r\n",
    b"Host: localhost\r\nContent-Type: multipart/form-data\r\nContent-Length: 1\r\n\r\n",
]


@pytest.mark.parametrize("head", ODD_HEADERS)
@pytest.mark.parametrize("path", [b"/v1/models", b"/v1/score", b"/schema/openapi.json"])
def test_headers_that_are_none_are_the_askers_error_and_not_ours(server, head, path):
    for method in (b"GET", b"POST"):
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as s:
            s.sendall(method + b" " + path + b" HTTP/1.1\r\n" + head + b"\r\n")
            s.shutdown(socket.SHUT_WR)
            answer = s.recv(4096)
        assert not answer or int(answer.split()[1]) < 500, answer
    assert "Traceback" not in server.text()


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/json; charset=utf-16", "nonsense", ""])  # fmt: skip
def test_a_body_is_read_as_json_whatever_it_calls_itself(server, kind):
    assert server.ask("POST", "/v1/score", {"reports": [ONE]}, {"Content-Type": kind})[0] == 200


def test_another_method_says_which_there_is_and_an_unknown_path_is_404(server):
    status, answer, headers = server.ask("DELETE", "/v1/score")
    assert (status, answer["status"]) == (405, "error")
    assert "POST" in headers["allow"]
    assert server.get("/nothing")[0] == 404
    assert server.get("/v1/models/Nothing")[0] == 400
    assert server.get("/v1/models/nothing")[0] == 404


# ---------------------------------------------------------------- who may ask


def test_without_a_token_only_names_of_this_machine_are_answered(server):
    assert server.get("/v1/models", Host="evil.example")[0] == 403
    assert server.get("/v1/models", Host=f"localhost:{server.port}")[0] == 200


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "http://localhost.evil.example", "null", "http://[", "file://"]
)
def test_without_a_token_a_page_of_another_site_is_not_answered_by_a_browser_of_this_machine(server, origin):
    assert server.post("/v1/score", {"reports": [ONE]}, Origin=origin)[0] == 403
    assert server.post("/v1/score", {"reports": [ONE]}, Origin="http://localhost:3000")[0] == 200


def test_with_a_token_nothing_but_health_is_answered_without_it(tmp_path):
    token = "0123456789abcdef"
    running = Serving("score_server", tmp_path / "log", {"SERVE_TOKEN": token, "MODELS": "anywhere", "JUDGES": "1"})
    try:
        for given in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": token}):
            assert running.get("/v1/models", **given)[0] == 401
            assert running.get("/metrics", **given)[0] == 401
            assert running.post("/v1/score", {"reports": [ONE]}, **given)[0] == 401
        assert running.get("/health")[0] == 200
        assert running.get("/v1/models", Authorization=f"Bearer {token}")[0] == 200
        assert running.post("/v1/score", {"reports": [ONE]}, Authorization=f"Bearer {token}")[0] == 200
        assert token not in running.text()
        assert running.end() == 0
    finally:
        running.end()


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"SERVE_BIND": "0.0.0.0"}, "SERVE_TOKEN"),
        ({"SERVE_TOKEN": "short"}, "16"),
        ({"SERVE_PORT": "many"}, "SERVE_PORT"),
        ({"JUDGES": "-1"}, "JUDGES"),
        ({"MODELS": "atlantis"}, "atlantis"),
    ],
)
def test_a_setting_that_cannot_be_right_is_one_line_and_exit_code_2(env, said):
    done = subprocess.run([sys.executable, "-m", "score_server", "serve"], env={**os.environ, **env}, cwd=ROOT, capture_output=True, text=True, timeout=60)  # fmt: skip
    assert done.returncode == 2
    assert said in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


# ---------------------------------------------------------------- judges


def judges_of(server: Serving) -> list[int]:
    out = subprocess.run(["pgrep", "-P", str(server.process.pid), "-f", "spawn_main"], capture_output=True, text=True)
    return [int(p) for p in out.stdout.split()]


def test_a_judge_that_is_killed_in_a_request_is_made_again_and_only_its_request_fails(server, reports):
    body = json.dumps({"reports": as_json(reports)}).encode()
    wait_until(lambda: len(judges_of(server)) == 2)
    with ThreadPoolExecutor(1) as pool:
        hit = pool.submit(server.post, "/v1/score", body)
        before = set(judges_of(server))
        busy = wait_until(lambda: next((p for p in before if _running(p)), None), 20)
        os.kill(busy, signal.SIGKILL)
        status, answer = hit.result(60)
    assert status in (200, 500)  # 200 when it was faster than the signal
    if status == 500:
        assert "in the log" in answer["msg"]
        assert answer["msg"].split()[4] in server.text()
    assert server.post("/v1/score", {"reports": [ONE]})[0] == 200
    wait_until(lambda: len(judges_of(server)) == 2)


def test_a_judge_that_dies_between_requests_fails_none(server):
    wait_until(lambda: len(judges_of(server)) == 2)
    one = judges_of(server)[0]
    os.kill(one, signal.SIGKILL)
    wait_until(lambda: one not in judges_of(server))
    body = json.dumps({"reports": [ONE]}).encode()
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: server.post("/v1/score", body)[0], range(8))) == {200}
    wait_until(lambda: len(judges_of(server)) == 2, 120)


def test_a_judge_that_is_at_one_run_beyond_the_deadline_is_made_again(tmp_path):
    env = {"MODELS": "anywhere", "JUDGES": "1", "DEADLINE_S": "4"}
    running = Serving("score_server", tmp_path / "log", env)
    try:
        (first,) = judges_of(running)
        os.kill(first, signal.SIGSTOP)
        status, answer = running.post("/v1/score", {"reports": [ONE]})
        assert (status, answer["status"]) == (504, "error")
        wait_until(lambda: judges_of(running) not in ([], [first]))
        wait_until(lambda: running.post("/v1/score", {"reports": [ONE]})[0] == 200, 120)
        assert "4 s at one run" in running.text()
    finally:
        running.end()


def _running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "R"
    except OSError:
        return False


def test_when_too_many_wait_the_next_is_told_when_to_come_back(tmp_path, reports):
    env = {"MODELS": "brittany", "JUDGES": "1", "WAITING_MAX": "1", "DEADLINE_S": "60"}
    running = Serving("score_server", tmp_path / "log", env)
    try:
        body = json.dumps({"reports": as_json(reports)}).encode()
        with ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(lambda _: running.ask("POST", "/v1/score", body), range(6)))
        statuses = [a[0] for a in answers]
        assert set(statuses) == {200, 503}
        assert all(a[2]["retry-after"] for a in answers if a[0] == 503)
    finally:
        running.end()


# ---------------------------------------------------------------- the store


def test_a_version_that_is_published_is_taken_under_load_without_a_failure(server, store, versions, reports):
    rows = as_json(reports[reports["mmsi"] == reports["mmsi"][0]][:60])
    body = json.dumps({"model": "mine", "reports": rows}).encode()
    stop = threading.Event()
    seen: list[tuple[int, str]] = []

    def load() -> None:
        while not stop.is_set():
            status, answer = server.post("/v1/score", body)
            seen.append((status, answer.get("model_version", answer.get("msg"))))

    threads = [threading.Thread(target=load) for _ in range(3)]
    for t in threads:
        t.start()
    try:
        for k in (1, 0, 2):
            store.publish(versions[k], **HOW)
            wait_until(lambda k=k: seen and seen[-1][1] == version_of(versions[k]), 120.0)
    finally:
        stop.set()
        for t in threads:
            t.join()
    assert {status for status, _ in seen} == {200}
    assert {version for _, version in seen} <= {version_of(v) for v in versions}
    pinned = server.post("/v1/score", {"model": f"mine@{version_of(versions[1])}", "reports": [ONE]})
    assert pinned[1]["model_version"] == version_of(versions[1])


def test_a_poisoned_version_is_refused_once_and_the_old_one_goes_on(server, store, versions, place, tmp_path, brittany):
    now = server.get("/v1/models/mine")[1]["version"]
    import dataclasses

    bad = tmp_path / "bad"
    version = folder.save(dataclasses.replace(brittany, name="mine", made_from={"k": "bad"}), bad).version
    elsewhere = ModelStore(StoreSettings(str(tmp_path / "elsewhere")), tmp_path / "c")
    elsewhere.publish(bad, **HOW)
    there = place / "store" / "mine" / "versions" / version
    shutil.copytree(tmp_path / "elsewhere" / "mine" / "versions" / version, there)
    (there / "thresholds.json").write_text("{}")
    number = store.latest_number("mine") + 1
    entry = {"version": version, "t": 1.0, "by": "evil"}
    (place / "store" / "mine" / "ledger" / f"{number:09d}.json").write_text(json.dumps(entry))
    wait_until(lambda: version in server.text())
    time.sleep(1.0)
    assert server.text().count(f"model {version} is refused") == 1
    assert "checksum" in server.text()
    assert server.get("/v1/models/mine")[1]["version"] == now
    wait_until(lambda: server.get("/ready")[0] == 200)
    assert "score_server_models_refused_total 1.0" in server.get("/metrics")[1]
    store.publish(versions[1], **HOW)
    wait_until(lambda: server.get("/v1/models/mine")[1]["version"] == version_of(versions[1]))


def test_while_the_store_is_away_the_models_go_on_and_ready_says_how_long_it_was_not_seen(tmp_path, versions):
    if (reason := s3proxy.missing()) is not None:
        pytest.skip(reason)
    with s3proxy.S3Proxy(tmp_path) as s3:
        ModelStore(s3.settings(), tmp_path / "c").publish(versions[0], **HOW)
        env = {**s3.environment(), "STORE_CACHE": str(tmp_path / "cache"), "JUDGES": "1", "SYNC_S": "0.3"}
        running = Serving("score_server", tmp_path / "log", env)
        try:
            assert running.get("/ready")[0] == 200
            s3.stop()
            _, answer = wait_until(lambda: (a := running.get("/ready"))[0] == 503 and a, 60)
            assert "not seen for" in answer["why_not"][0]
            assert running.post("/v1/score", {"reports": [ONE]})[0] == 200
            s3.start()
            wait_until(lambda: running.get("/ready")[0] == 200, 60)
            assert running.text().count("does not answer") < 5
            s3.stop()
            assert running.end() == 0
            for names in ("", "mine"):  # a start while the store is away
                again = Serving("score_server", tmp_path / "log2", env | {"MODELS": names})
                try:
                    status, answer = again.get("/ready")
                    assert (status, "not seen yet" in answer["why_not"][0]) == (503, True)
                    answer = again.post("/v1/score", {"reports": [ONE]})[1]
                    assert answer["model_version"] == version_of(versions[0])
                finally:
                    again.end()
        finally:
            running.end()


def test_while_the_store_refuses_its_key_the_models_go_on_and_ready_says_so(tmp_path, versions):
    if (reason := s3proxy.missing()) is not None:
        pytest.skip(reason)
    with s3proxy.S3Proxy(tmp_path) as s3:
        cache = tmp_path / "cache"
        store = ModelStore(s3.settings(), cache)
        store.publish(versions[0], **HOW)
        store.fetch(Reference("mine"))
        store.note_taken(Reference("mine", version_of(versions[0])))
        env = {**s3.environment(), "STORE_SECRET": "wrong", "STORE_CACHE": str(cache), "JUDGES": "1", "MODELS": "mine"}
        running = Serving("score_server", tmp_path / "log", env)
        try:
            status, answer = running.get("/ready")
            assert status == 503
            assert "STORE_SECRET" in answer["why_not"][0]
            assert running.post("/v1/score", {"reports": [ONE]})[0] == 200
        finally:
            running.end()


# ---------------------------------------------------------------- OpenAPI and other languages


def test_the_openapi_document_has_the_fields_and_limits_and_every_example_of_an_error(server):
    status, document = server.get("/schema/openapi.json")
    assert status == 200
    assert document["openapi"].startswith("3.1")
    schemas = document["components"]["schemas"]
    report = next(v for k, v in schemas.items() if k.endswith("Report") and "mmsi" in v.get("properties", {}))
    assert "maximum" in json.dumps(report["properties"]["lat"])
    assert set(document["paths"]["/v1/score"]["post"]["responses"]) >= {"200", "400", "401", "404", "413", "503", "504"}
    printed = subprocess.run([sys.executable, "-m", "score_server", "openapi"], cwd=ROOT, capture_output=True, text=True, timeout=60)  # fmt: skip
    assert json.loads(printed.stdout)["paths"].keys() == document["paths"].keys()


@pytest.mark.skipif(shutil.which("java") is None, reason="no Java runtime is installed")
def test_the_java_client_of_the_documentation_scores_a_track(server, tmp_path):
    page = (ROOT / "docs" / "serve-models.md").read_text()
    source = page.split("```java\n")[1].split("```")[0]
    (tmp_path / "Score.java").write_text(source)
    done = subprocess.run(["java", "-Xmx128m", "Score.java", server.url, "none"], cwd=tmp_path, capture_output=True, text=True, timeout=120)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert '"status":"success"' in done.stdout


@pytest.mark.slow
def test_two_judges_answer_more_than_one(tmp_path, reports):
    """Printed; no limit: machines differ."""
    ships = np.unique(reports["mmsi"])
    bodies = [msgspec.json.encode({"reports": as_json(reports[reports["mmsi"] == s])}) for s in ships] * 3
    rates = {}
    for n in (1, 2):
        running = Serving("score_server", tmp_path / f"log{n}", {"MODELS": "brittany", "JUDGES": str(n), "SERVE_PORT": str(free_port())})  # fmt: skip
        with ThreadPoolExecutor(4) as pool:
            start = time.perf_counter()
            assert {s for s, _ in pool.map(lambda b, r=running: r.post("/v1/score", b), bodies)} == {200}
            rates[n] = len(bodies) / (time.perf_counter() - start)
        running.end()
    print(rates)
