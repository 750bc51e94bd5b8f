"""Every command of every program: its help has an example and its exit codes, and wrong use gets one line and exit code 2."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from multitaskais.cli import COMMANDS
from multitaskais.cli import main as multitaskais
from stream_operator.__main__ import MODULES
from stream_operator.__main__ import main as operator

ROOT = Path(__file__).resolve().parents[2]
CORE = [(c,) for c in COMMANDS] + [("region", "list"), ("region", "new")]
CORE += [("store", action) for action in ("push", "list", "pull", "withdraw", "prune")]
CORE += [("pipeline", action) for action in ("run", "step", "runs", "show", "graph", "schema", "dags")]
LIVE = [(c,) for c in ("worker", "settings", *MODULES)]
PROGRAMS = {"multitaskais": multitaskais, "python -m stream_operator": operator}
ALL = [("multitaskais", c) for c in CORE] + [("python -m stream_operator", c) for c in LIVE]
every_command = pytest.mark.parametrize(
    ("program", "command"), ALL, ids=lambda x: x if isinstance(x, str) else " ".join(x)
)


@pytest.fixture
def call(capsys, monkeypatch, tmp_path):
    """``call(program, *words)`` -> (exit code, standard output, standard error), in an empty folder."""
    monkeypatch.chdir(tmp_path)
    heard = signal.getsignal(signal.SIGTERM)  # the worker listens to it

    def call_(program: str, *words: str) -> tuple[int, str, str]:
        try:
            code = PROGRAMS[program](list(words))
        except SystemExit as e:
            code = int(e.code or 0)
        return code, *capsys.readouterr()

    yield call_
    signal.signal(signal.SIGTERM, heard)


def told(answer: tuple[int, str, str]) -> str:
    """The one line of a refusal."""
    code, out, wrong = answer
    assert code == 2
    assert out == ""
    (line,) = wrong.splitlines()
    return line


@every_command
def test_help_has_an_example_of_this_command_and_the_exit_codes(call, program, command):
    code, out, _ = call(program, *command, "--help")
    assert code == 0
    (example,) = re.findall(r"^example: (.*)$", out, re.M)
    assert f"{program} {' '.join(command[:1])}" in example
    assert re.search(r"^exit codes: 0 .*\b2 ", out, re.M)


@every_command
def test_the_example_uses_options_that_there_are(call, program, command):
    _, out, _ = call(program, *command, "--help")
    (example,) = re.findall(r"^example: (.*)$", out, re.M)
    for option in re.findall(r"(?<= )--[a-z-]+", example):
        assert re.search(rf"^\s+{option}\b", out, re.M), f"{example}: no {option}"


@every_command
def test_an_unknown_option_is_named_in_one_line(call, program, command):
    needed = {"region": ["list"], "store": ["list"], "pipeline": ["schema"], "zones": ["list"]}.get(
        " ".join(command), []
    )
    assert "--no-such-thing" in told(
        call(program, *command, *needed, *required(call, program, command), "--no-such-thing")
    )


def required(call, program: str, command: tuple[str, ...]) -> list[str]:
    """Words for everything without which a command does not look further."""
    usage = re.sub(
        r"\[.*?\]|\s+", lambda m: " " if m[0].isspace() else "", call(program, *command, "--help")[1].split("\n\n")[0]
    )
    found = re.findall(r"(--[a-z-]+)((?: [A-Z]+\b| \{\S+\})*)", usage)
    return [w for option, values in found for w in (option, *("1" for _ in values.split()))] + (
        ["1"] if re.search(r"[A-Z]{3,}\s*$|name$", usage.strip()) else []
    )


@pytest.mark.parametrize("program", PROGRAMS)
def test_an_unknown_command_is_one_line_with_those_that_there_are(call, program):
    line = told(call(program, "sail"))
    assert "sail" in line
    for command in ("detect", "decode") if program == "multitaskais" else ("worker", "alerts"):
        assert command in line


WRONG = [
    ("multitaskais", "decode nothing-here.cdv", "nothing-here.cdv"),
    ("multitaskais", "decode a.cdv --at yesterday", "yesterday"),
    ("multitaskais", "decode --format csv a.cdv", "csv"),
    ("multitaskais", "simulate", "--out"),
    ("multitaskais", "simulate --vessels many --out x", "many"),
    ("multitaskais", "simulate --kinds flying --out x", "flying"),
    ("multitaskais", "train nothing-here --region brittany --out m", "nothing-here"),
    ("multitaskais", "train a --region atlantis --out m", "atlantis"),
    ("multitaskais", "calibrate nothing-here --region brittany --model m", "nothing-here"),
    ("multitaskais", "detect nothing-here --model brittany", "nothing-here"),
    ("multitaskais", "detect a --model atlantis", "atlantis"),
    ("multitaskais", "inject nothing-here --seed 1 --out x", "nothing-here"),
    ("multitaskais", "evaluate nothing-here --model brittany --out x", "nothing-here"),
    ("multitaskais", "region new here --box 2 1 0 1 --tracks a --out x", "lat"),
    ("multitaskais", "region", "ACTION"),
    ("multitaskais", "pipeline run nothing.toml", "nothing.toml"),
    ("multitaskais", "pipeline step train --conf-env NOTHING", "NOTHING"),
    ("multitaskais", "pipeline show 123", "pipeline runs"),
    ("multitaskais", "pipeline graph 123 --to x.png", "pipeline runs"),
    ("multitaskais", "pipeline runs --database oracle://x", "oracle"),
    ("python -m stream_operator", "worker --settings nothing.toml", "nothing.toml"),
    ("python -m stream_operator", "topics --settings nothing.toml", "nothing.toml"),
    ("python -m stream_operator", "topics --partitions many", "many"),
    ("python -m stream_operator", "feed", "--stdin"),
    ("python -m stream_operator", "feed --speed fast a.cdv", "--speed"),
    ("python -m stream_operator", "feed --tcp nowhere", "HOST:PORT"),
    ("python -m stream_operator", "alerts --since yesterday", "--since"),
    ("python -m stream_operator", "alerts --format xml", "xml"),
    ("python -m stream_operator", "replay --from yesterday --out x", "--from"),
    ("python -m stream_operator", "replay --from 2026-01-01", "--out"),
    ("python -m stream_operator", "dead --show --replay", "--replay"),
    ("python -m stream_operator", "broker --port here", "here"),
    ("python -m stream_operator", "map --bind 0.0.0.0", "MAP_TOKEN"),
    ("python -m stream_operator", "map --hours 1000", "--hours"),
]  # fmt: skip


@pytest.mark.parametrize(("program", "words", "named"), WRONG, ids=lambda x: x)
def test_wrong_use_is_one_line_that_names_what_is_wrong(call, monkeypatch, program, words, named):
    monkeypatch.delenv("MAP_TOKEN", raising=False)
    assert named in told(call(program, *shlex.split(words)))


@pytest.mark.parametrize("wrong", ["MODEL=atlantis", "PARTITIONS=many", "BOOTSTRAP_SERVERS="])
def test_a_setting_that_cannot_be_right_is_one_line(call, monkeypatch, wrong):
    monkeypatch.setenv(*wrong.split("="))
    name = wrong.partition("=")[0]
    assert name.lower() in told(call("python -m stream_operator", "worker")).lower()


def test_a_broker_that_is_not_there_is_one_line_for_each_command_that_needs_it():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{s.getsockname()[1]}"

    def run(words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "stream_operator", *words.split()]
        env = {**os.environ, "BOOTSTRAP_SERVERS": nobody, "OMP_NUM_THREADS": "1"}
        return subprocess.run(
            command, env=env, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120
        )

    commands = ["topics", "alerts", "dead", "replay --from 2026-01-01 --out /dev/null", "worker"]
    with ThreadPoolExecutor(len(commands)) as pool:
        for words, done in zip(commands, pool.map(run, commands), strict=True):
            assert done.returncode == 75, f"{words}: {done.stderr}"  # try again: nothing that was typed is wrong
            assert nobody in done.stderr.splitlines()[-1], f"{words}: {done.stderr}"
            assert "Traceback" not in done.stderr
