"""What a log says of its times beyond its lines: the year of stamps without one, and time lines that stand behind their sentences.

**Year.** Syslog writes ``May  1 12:00:00 host ...``. The year is told by the user, by another time in the log (RMC, ZDA, a tag block), or by
the name of the file; from the first such stamp on, each is of the year in which it lies nearest to the one before.

**Order.** A Gatehouse line (``$PGHP``) belongs before its sentence. Some archives have it behind: there it is put in front again, which changes
the order of lines and not their number.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePath
from typing import NamedTuple

from .. import times
from ..errors import FormatError

NAN = float("nan")
HEAD_LINES = 500  # of a log, in which a stamp without a year or a time line is looked for
FOLDERS = 3  # above the file that are looked at
_SENTENCE = re.compile(rb"!..VD[MO],(\d),(\d),.*\*([0-9A-Fa-f]{2})")
_DATE_IN_NAME = re.compile(r"(?<!\d)((?:19|20)\d\d)([-_.]?)(0[1-9]|1[0-2])(?:\2(0[1-9]|[12]\d|3[01]))?(?!\d)")
_YEAR_IN_NAME = re.compile(r"(?<!\d)(19[89]\d|20\d\d)(?!\d)")


class Year(NamedTuple):
    """What is known of the year of a log."""

    year: int | None = None  # of its first stamp
    near: float = NAN  # or a moment from which its first stamp is less than half a year away, Unix s


def year_of_name(path: str) -> Year:
    """From a date or a year in the name of the file, or that is the name of a folder."""
    name, *folders = list(reversed(PurePath(path).parts))[: FOLDERS + 1] or [""]
    found = [_DATE_IN_NAME.search(name), *map(_DATE_IN_NAME.fullmatch, folders)]
    # Six digits alone may be a number.
    if (m := next((m for m in found if m and (m[4] or m[2])), None)) is not None:
        return Year(near=times.unix_time(int(m[1]), int(m[3]), int(m[4] or 15), 12, 0, 0))
    found = [_YEAR_IN_NAME.search(name), *map(_YEAR_IN_NAME.fullmatch, folders)]
    m = next((m for m in found if m), None)
    return Year() if m is None else Year(int(m[1]))


def asked_year(columns: Mapping[str, str] | None) -> Year:
    """Of ``--columns year=2024``. Raises ``FormatError``."""
    text = (columns or {}).get("year")
    if text is None:
        return Year()
    if not re.fullmatch(r"(19|20)\d\d", text):
        raise FormatError(f"--columns year={text}: give the year of the first line, such as year=2024")
    return Year(int(text))


def lacks_year(head: bytes) -> bool:
    """Whether the first lines of a log have stamps without a year before their sentences."""
    return any(
        b"!" in line and times.without_year(line[: line.index(b"!")]) is not None
        for line in head.split(b"\n")[:HEAD_LINES]
    )


def _sentence_checksums(line: bytes) -> list[int]:
    return [int(m[3], 16) for m in [_SENTENCE.search(line)] if m]


def _time_line_checksum(line: bytes) -> int | None:
    """Of the sentence that a ``$PGHP`` line belongs to; -1 where it does not say; None for any other line."""
    if not line.lstrip().startswith(b"$PGHP,"):
        return None
    fields = line.partition(b"*")[0].split(b",")
    try:
        return int(fields[-1], 16) if len(fields) > 9 and fields[-1] else -1
    except ValueError:
        return -1


def time_lines_follow(head: bytes) -> bool:
    """Whether the first lines show ``$PGHP`` lines behind the sentences whose checksum they name, and not before them."""
    if b"$PGHP," not in head:
        return False
    lines = head.split(b"\n")[:HEAD_LINES]
    before = behind = 0
    for i, line in enumerate(lines):
        if (of := _time_line_checksum(line)) is None or of < 0:
            continue
        before += i + 1 < len(lines) and of in _sentence_checksums(lines[i + 1])
        behind += i > 0 and of in _sentence_checksums(lines[i - 1])
    return behind > before


def time_lines_first(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The same whole lines, each ``$PGHP`` line before the sentence (or the parts of a message) that it stands behind."""
    held: list[bytes] = []
    for block in blocks:
        out: list[bytes] = []
        lines = block.split(b"\n")
        open_end = lines.pop()
        for line in [*lines, open_end] if open_end else lines:
            if (of := _time_line_checksum(line)) is not None:
                own = not held or of < 0 or len(held) > 1 or of in _sentence_checksums(held[0])
                out += [line, *held] if own else [*held, line]
                held = []
            elif m := _SENTENCE.search(line):
                if held and int(m[2]) > 1:
                    held.append(line)
                else:
                    out += held
                    held = [line]
            else:
                out += [*held, line]
                held = []
        if out:
            yield b"".join(line + b"\n" for line in out)
    if held:
        yield b"".join(line + b"\n" for line in held)
