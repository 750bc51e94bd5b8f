"""Text that came from the air, a topic or another program, made safe to show: in a log, a terminal, a page or a file alike.

What would confuse a reader even as text is taken out: control characters (an escape sequence can erase the line above it, a line
end can forge one), right-to-left overrides, invisible characters, towers of accents.
"""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any

TEXT_CHARS = 1000  # an alert's sentence has some 300
_UNWANTED = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Mn", "Me", "Zl", "Zp"})
_MOVES = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_UNSEEN = re.compile("[\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
_SPACES = re.compile(r"\s+")


def plain(text: str | None, chars: int = TEXT_CHARS) -> str:
    """One line of visible text: composed, without controls, format characters (bidi, zero width), surrogates and loose accents."""
    if not text:
        return ""
    text = unicodedata.normalize("NFC", text[: 4 * chars])
    kept = "".join(
        " " if c in "\t\r\n" else c for c in text if c in "\t\r\n" or unicodedata.category(c) not in _UNWANTED
    )
    # What was taken out may have stood between two letters that compose, and the cut may end at a space.
    return _SPACES.sub(" ", unicodedata.normalize("NFC", kept)).strip()[:chars].rstrip()


def escaped(text: str) -> str:
    """Text of several lines in which nothing moves a terminal's cursor: controls but line ends and tabs, and direction marks, as ``\\x1b``."""
    return _MOVES.sub(lambda m: f"\\x{ord(m[0]):02x}", text)


def json_line(value: Any) -> str:
    """JSON on one line that can be shown: what moves a cursor, hides or turns text round is ``\\uXXXX``, which readers of JSON undo."""
    return _UNSEEN.sub(lambda m: f"\\u{ord(m[0]):04x}", json.dumps(value, ensure_ascii=False))
