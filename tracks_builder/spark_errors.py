"""A failure of Spark as the one line that the operator needs, where it is theirs to repair: a file, a folder, a disk, a right."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from py4j.protocol import Py4JError
from pyspark.errors import PySparkException

from multitaskais.errors import InputError

_OURS = re.compile(r"^multitaskais\.errors\.\w+: (.*)$", re.M)
# Whatever the file system and the codec, the innermost cause says it: "Caused by: java.io.FileNotFoundException: /x (Permission denied)".
_CAUSE = re.compile(
    r"(?:^|: )((?:java\.(?:io|nio|net|util\.zip)|org\.apache\.hadoop\.(?:fs|ipc|security|net))\.[\w.$]*Exception): (.*)$",
    re.M,
)
_ANY_CAUSE = re.compile(r"^Caused by: ([\w.$]+): (.*)$", re.M)
_FILE = re.compile(r"FAILED_READ_FILE\S* Encountered error while reading file (\S+?)\.? ")
_NO_FILE_SYSTEM = re.compile(r'(?:Class org\.apache\.hadoop\.fs\S+ not found|No FileSystem for scheme "\w+")')


def told(error: Exception) -> Exception:
    """An InputError where a task raised one, or where Java's input or output failed; any other error unchanged."""
    if not isinstance(error, Py4JError | PySparkException):
        return error
    text = str(error)
    if ours := _OURS.search(text):
        return InputError(ours[1])
    if found := _NO_FILE_SYSTEM.search(text):
        return InputError(f"{found[0]}: give spark-submit the jar of that file system (--packages or --jars)")
    file = _FILE.search(text)
    causes = _CAUSE.findall(text) or (_ANY_CAUSE.findall(text) if file is not None else [])
    if not causes:
        # The last net: whatever the JVM says, the operator gets one line of it. The first words after the last "Caused by" say most.
        last = _ANY_CAUSE.findall(text)
        said = (
            ": ".join(last[-1])
            if last
            else next((line for line in text.splitlines() if line.strip()), type(error).__name__)
        )
        return InputError(f"Spark could not do it: {said.strip()[:300]}")
    kind, message = causes[-1]
    where = f"{file[1]}: " if file is not None and file[1].removeprefix("file:").lstrip("/") not in message else ""
    return InputError(f"{where}{message.strip()} ({kind.rsplit('.', 1)[1]})")


@contextmanager
def telling() -> Iterator[None]:
    """Errors of the block, or of the function that it decorates, as ``told`` words them."""
    try:
        yield
    except Exception as e:
        if (instead := told(e)) is not e:
            raise instead from e
        raise
