"""Commands of the product, run in processes that end with the one that started them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from multitaskais.errors import MultitaskAISError

PR_SET_PDEATHSIG = 1


class StepFailed(MultitaskAISError):
    """A command of a step ended with an error; the message is its last line. Correct what it names."""


def dying_with_parent() -> Callable[[], None]:
    """For ``preexec_fn``: the kernel kills the child when the thread that starts it ends, also by ``kill -9``."""
    parent = os.getpid()

    def tie() -> None:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the kernel knew
            os._exit(1)

    return tie


def multitaskais(
    *words: str | Path,
    log: Path | None = None,
    env: Mapping[str, str] | None = None,
    started: Callable[[subprocess.Popen[bytes]], None] | None = None,
) -> None:
    """``multitaskais WORDS`` in a child; its standard error goes to ours when it has ended, or all that it writes to the end of ``log``.

    Args:
        started: is given the child, so that another thread can end it.

    Raises:
        StepFailed: it ended with another code than 0; the message is the last line that it wrote.
    """
    run([sys.executable, "-m", "multitaskais", *map(str, words)], str(words[0]), log, env, started)


def run(
    command: list[str],
    what: str,
    log: Path | None = None,
    env: Mapping[str, str] | None = None,
    started: Callable[[subprocess.Popen[bytes]], None] | None = None,
) -> None:
    """Any command, as ``multitaskais`` runs its own; no shell reads it. Raises ``StepFailed``, which begins with ``what``."""
    with contextlib.ExitStack() as open_files:
        file = None if log is None else open_files.enter_context(log.open("ab"))
        before = 0 if file is None else file.tell()
        child = open_files.enter_context(  # its pipe is closed, and it has ended, whatever happens here
            subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file or subprocess.DEVNULL,
                stderr=file or subprocess.PIPE,
                env=None if env is None else dict(env),
                preexec_fn=dying_with_parent(),
            )
        )
        try:
            if started is not None:
                started(child)
            errors = child.communicate()[1] or b""
        except BaseException:
            child.kill()
            child.wait()
            raise
    if log is None:
        said = errors.decode(errors="replace")
        sys.stderr.write(said)
    else:
        said = log.read_bytes()[before:].decode(errors="replace")
    if child.returncode:
        reason = f"ended by signal {-child.returncode}" if child.returncode < 0 else f"exit code {child.returncode}"
        lines = said.strip().splitlines() or [reason]
        raise StepFailed(f"{what}: {lines[-1]}" + (f" (all of it: {log})" if log else ""))
