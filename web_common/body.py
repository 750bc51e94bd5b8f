"""A JSON body -> a Struct, strictly: text is no number, and what is wrong is named by its path."""

from __future__ import annotations

import re
from typing import TypeVar

import msgspec

from .errors import Refused

T = TypeVar("T")
_AT = re.compile(r"^(.*?)(?: - at `(?:key in )?\$\.?([^`]*)`)?$", re.S)


def decode(body: bytes, kind: type[T]) -> T:
    """Raises ``Refused`` (400)."""
    if not body:
        raise Refused(400, "the body is empty: send JSON")
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as e:
        found = _AT.match(str(e))
        assert found is not None
        raise Refused(400, f"{found[2]}: {found[1]}" if found[2] else found[1]) from None
    except RecursionError:
        raise Refused(400, "the body is nested too deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as e:
        raise Refused(400, f"the body is no JSON: {e}") from None
