"""A real S3 server (S3Proxy over a folder) for tests: jars from Maven, no image."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from multitaskais.model.objects import StoreSettings

POM = Path(__file__).with_name("s3proxy_pom.xml")
ROOT = POM.parents[2]
KEY, SECRET, BUCKET = "local", "local-secret", "models"
START_TIMEOUT_S = 60.0
# S3Proxy sends what goes to standard error into its own logger; without this a start that fails prints nothing.
LOGBACK = (
    '<configuration><appender name="out" class="ch.qos.logback.core.ConsoleAppender"><target>System.out</target>'
    "<encoder><pattern>%d %-5level %msg%n</pattern></encoder></appender>"
    '<root level="WARN"><appender-ref ref="out"/></root></configuration>'
)


def missing() -> str | None:
    """What this machine lacks; None when nothing."""
    if shutil.which("java") is None:
        return "no Java runtime: install Java 17 (Debian: apt-get install openjdk-17-jre-headless)"
    if not _complete() and shutil.which("mvn") is None:
        return "no Maven to fetch S3Proxy with: install it (Debian: apt-get install maven)"
    return None


def _libs() -> Path:
    cache = Path(os.environ.get("S3PROXY_CACHE", ROOT / ".cache" / "s3proxy")).absolute()
    return cache / hashlib.sha256(POM.read_bytes()).hexdigest()[:12]


def _complete() -> bool:
    return (_libs() / ".complete").is_file()


def fetch_jars() -> Path:
    libs = _libs()
    if not _complete():
        libs.parent.mkdir(parents=True, exist_ok=True)
        part = libs.with_name(f"{libs.name}.{os.getpid()}.part")
        command = ["mvn", "-q", "-B", "-f", POM, "dependency:copy-dependencies", f"-DoutputDirectory={part}"]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, f"Maven could not fetch S3Proxy: {done.stdout[-2000:]}"
        (part / ".complete").touch()
        if _complete():
            shutil.rmtree(part)
        else:
            part.rename(libs)
    return libs


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class S3Proxy:
    """``with S3Proxy(folder) as s3``: a bucket ``models``. ``open_to_all`` asks for no signature."""

    def __init__(self, folder: Path, *, open_to_all: bool = False) -> None:
        self.folder = folder
        self.port = free_port()
        self._open_to_all = open_to_all
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def settings(self, prefix: str = "", **more) -> StoreSettings:
        return StoreSettings(
            f"s3://{BUCKET}/{prefix}", **{"endpoint": self.endpoint, "key": KEY, "secret": SECRET} | more
        )

    def environment(self, prefix: str = "") -> dict[str, str]:
        return {
            "STORE_URL": f"s3://{BUCKET}/{prefix}",
            "STORE_ENDPOINT": self.endpoint,
            "STORE_KEY": KEY,
            "STORE_SECRET": SECRET,
        }

    def __enter__(self) -> S3Proxy:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        libs = fetch_jars()
        (self.folder / "data" / BUCKET).mkdir(parents=True, exist_ok=True)
        (self.folder / "logback.xml").write_text(LOGBACK)
        identity = [] if self._open_to_all else [f"s3proxy.identity={KEY}", f"s3proxy.credential={SECRET}"]
        lines = [
            f"s3proxy.endpoint={self.endpoint}",
            f"s3proxy.authorization={'none' if self._open_to_all else 'aws-v2-or-v4'}",
            *identity,
            "jclouds.provider=filesystem-nio2",
            f"jclouds.filesystem.basedir={self.folder / 'data'}",
        ]
        (self.folder / "s3proxy.conf").write_text("\n".join(lines) + "\n")
        java = ["java", "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", f"-Dlogback.configurationFile={self.folder / 'logback.xml'}",
                "-cp", f"{libs}/*", "org.gaul.s3proxy.Main", "--properties", str(self.folder / "s3proxy.conf")]  # fmt: skip
        with (self.folder / "s3proxy.out").open("ab") as out:
            self._process = subprocess.Popen(java, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            assert self._process.poll() is None, (self.folder / "s3proxy.out").read_text()
            try:
                urllib.request.urlopen(self.endpoint, timeout=2).close()
                return
            except urllib.error.HTTPError as e:
                e.close()
                return  # it answers; that it wants a signature is as it should be
            except OSError:
                time.sleep(0.05)
        raise AssertionError(f"S3Proxy did not answer within {START_TIMEOUT_S} s")

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class DropsIfNoneMatch(ThreadingHTTPServer):
    """Passes requests on to an S3 server that asks for no signature, without the header ``If-None-Match``: such stores exist."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _PassOn)
        self.to_port = port
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _PassOn(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _pass_on(self) -> None:
        assert isinstance(self.server, DropsIfNoneMatch)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)) or None
        headers = {k: v for k, v in self.headers.items() if k.lower() not in ("if-none-match", "host", "connection")}
        headers.setdefault("Content-Type", "application/octet-stream")  # else urllib says that it is a form
        url = f"http://127.0.0.1:{self.server.to_port}{self.path}"
        request = urllib.request.Request(url, body, headers, method=self.command)
        try:
            answer = urllib.request.urlopen(request, timeout=30)
        except urllib.error.HTTPError as e:
            answer = e
        with answer:
            content = answer.read()
        self.send_response(answer.status)
        for k, v in answer.headers.items():
            if k.lower() not in ("transfer-encoding", "connection", "content-length"):
                self.send_header(k, v)
        self.send_header("Content-Length", answer.headers.get("Content-Length") or str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_PUT = do_DELETE = do_HEAD = do_POST = _pass_on

    def log_message(self, *_: object) -> None:
        pass
