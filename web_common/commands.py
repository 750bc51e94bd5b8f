"""What a command of a server ends with: one line in place of a traceback, and the exit code that says what to do."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from multitaskais.errors import MultitaskAISError, StoreUnavailable

USAGE, TEMPFAIL, INTERRUPTED = 2, 75, 130


def exit_code(run: Callable[[], int], try_again: tuple[type[Exception], ...] = (StoreUnavailable,)) -> int:
    """What ``run`` gives; 75 for what ``try_again`` names: it does not answer now, 2 for our other errors."""
    try:
        return run()
    except try_again as e:
        print(f"error: {e}", file=sys.stderr)
        return TEMPFAIL
    except MultitaskAISError as e:
        print(f"error: {e}", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # the reader has gone; Python would complain at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
