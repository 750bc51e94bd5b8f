"""How the operator ends. All state is in Kafka, so ending at once is always safe: the next start goes on at the last checkpoint.

| code | meaning | what to do |
|---|---|---|
| 0 | stopped cleanly (SIGTERM, SIGINT) | nothing |
| 2 | settings, topics, model or state are wrong | read the last line, repair it, start again |
| 70 | an error in the program | start again, and report the traceback; the record it stands at is in the log |
| 75 | no broker answers at the start, the outcome of a checkpoint is unknown, or a call hung | start again (let the supervisor do it) |
"""

from __future__ import annotations

import logging
import os
import sys
from typing import NoReturn

from multitaskais.errors import MultitaskAISError, StoreUnavailable, TryAgain

USAGE = 2
SOFTWARE = 70  # EX_SOFTWARE
TEMPFAIL = 75  # EX_TEMPFAIL

log = logging.getLogger("stream_operator")


def of(error: MultitaskAISError) -> int:
    """The code that a process ends with for this error."""
    return TEMPFAIL if isinstance(error, TryAgain | StoreUnavailable) else USAGE


def end_now(code: int, message: str, error: BaseException | None = None) -> NoReturn:
    """Log, flush and end the process from any thread, without another word to the broker."""
    log.critical("%s (exit code %d)", message, code, exc_info=error if code == SOFTWARE else None)
    leave(code)


def leave(code: int) -> NoReturn:
    """Flush and end the process, without the interpreter's own way out.

    All is durable and the group was left. What remains are threads in the Kafka client's C code and a producer for each partition: to
    take them down one by one takes seconds.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
