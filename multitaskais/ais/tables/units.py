"""Units that the name of a column states: ``Speed (m/s)``, ``sog_kmh``, ``SPEED (KNOTSX10)``, ``lat_e7`` -> a factor to our field's unit.

What a name states in brackets or behind its last word is converted where it is clear, and refused where it looks like a unit or a zone of time
that is not known. Without a word the unit is ours: knots, degrees, UTC.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection

from ...errors import FormatError
from ...units import KNOT_MPS

_KMH, _MPH, _FPS = 1.0 / (3.6 * KNOT_MPS), 0.44704 / KNOT_MPS, 0.3048 / KNOT_MPS
_RAD = 180.0 / math.pi

# unit, in lower case without blanks, underscores and points -> factor
_SPEED = dict.fromkeys(("kn", "kns", "kt", "kts", "knot", "knots", "nm/h", "nmi/h", "nmph", "kn/h", "inknots"), 1.0)
_SPEED |= dict.fromkeys(("m/s", "ms", "mps", "ms-1", "ms^-1", "m*s-1", "m/sec", "mpersec", "meters/second", "metres/second"), 1 / KNOT_MPS)  # fmt: skip
_SPEED |= dict.fromkeys(("km/h", "kmh", "kph", "kmph", "km/hr", "kmh-1", "kmh^-1"), _KMH)
_SPEED |= dict.fromkeys(("mph", "mi/h", "miles/h", "miles/hour"), _MPH)
_SPEED |= dict.fromkeys(("ft/s", "fps", "ft/sec"), _FPS)
_SPEED |= {f"cm/{s}": 0.01 / KNOT_MPS for s in ("s", "sec")} | {f"mm/{s}": 0.001 / KNOT_MPS for s in ("s", "sec")}
_TENTHS = ("1/10", "x10", "*10", "10x", "10*", "/10", "tenths", "tenth", "tenthsof")
_ANGLE = dict.fromkeys(("deg", "degree", "degrees", "\u00b0", "degt", "degtrue", "true"), 1.0)
_ANGLE |= dict.fromkeys(("rad", "rads", "radian", "radians"), _RAD)
_PLACE = dict.fromkeys(("deg", "degree", "degrees", "\u00b0", "decimaldegrees", "dd", "wgs84"), 1.0)
_PLACE |= dict.fromkeys(("rad", "rads", "radian", "radians"), _RAD)
_PLACE |= dict.fromkeys(("e7", "1e7", "1e-7", "1e-7deg", "dege7", "deg*1e7", "x1e7", "*1e7"), 1e-7)
_PLACE |= dict.fromkeys(("1/10000min", "1/10000'", "min/10000", "1/600000deg"), 1.0 / 600_000.0)
_TIME = dict.fromkeys(
    ("utc", "gmt", "z", "zulu", "iso", "iso8601", "unix", "epoch", "s", "sec", "secs", "seconds", "ms", "msec", "millis", "milliseconds", "us", "ns"),
    1.0,
)  # fmt: skip

UNITS: dict[str, dict[str, float]] = {
    "sog": _SPEED, "cog": _ANGLE, "heading": _ANGLE, "lat": _PLACE, "lon": _PLACE, "t": _TIME, "time_of_day": _TIME,
}  # fmt: skip
_SHOWN = {
    "sog": "kn, m/s, km/h, mph, ft/s, 1/10 kn", "cog": "deg, rad, 1/10 deg", "heading": "deg, rad, 1/10 deg",
    "lat": "deg, rad, 1e-7 deg, 1/10000 min", "lon": "deg, rad, 1e-7 deg, 1/10000 min",
}  # fmt: skip
_ZONES = frozenset(
    {
        "local", "localtime", "lt", "cet", "cest", "met", "mest", "wet", "west", "eet", "eest", "msk", "bst", "ist", "est", "edt", "cst", "cdt",
        "mst", "mdt", "pst", "pdt", "akst", "akdt", "hst", "jst", "kst", "sgt", "hkt", "awst", "acst", "aest", "aedt", "nzst", "nzdt", "wib",
    }
)  # fmt: skip
SHORTEST = 3  # letters of a name before a unit without brackets: ``tz`` is no time
_BRACKETS = re.compile(r"[(\[](.*?)[)\]]\s*$|[(\[](.*?)[)\]]")
_JUNK = re.compile(r"[\s_.]")
_LOOKS_LIKE_ONE = re.compile(r"[/*^]|\bper\b|^x?\d+[ex]?\d*$")


def split_unit(name: str) -> tuple[str, str]:
    """A column's name without what stands in brackets, and that; empty where there is none."""
    m = _BRACKETS.search(name)
    if m is None:
        return name, ""
    return name[: m.start()], (m[1] if m[1] is not None else m[2]).strip()


def factor(field: str, unit: str) -> float | None:
    """To our unit of ``field`` from a unit as a person writes it; None where it is not known."""
    known = UNITS.get(field, {})
    text = _JUNK.sub("", unit.lower())
    if text in known:
        return known[text]
    if field in ("sog", "cog", "heading"):
        for tenth in _TENTHS:
            for rest in (text.removeprefix(tenth), text.removesuffix(tenth)):
                if rest != text and known.get(rest or next(iter(known))) == 1.0:
                    return 0.1
        if text.startswith("01") and known.get(text[2:]) == 1.0:  # 0.1 kn
            return 0.1
    return None


def bare_of(field: str, plain: str, aliases: Collection[str]) -> str | None:
    """Of a name in lower case without blanks and the like, such as ``speedkmh``: the alias before its unit; None where it is none of both."""
    for alias in aliases:
        if len(alias) < SHORTEST:
            continue
        rest = plain.removeprefix(alias).removeprefix("in")
        if rest and plain.startswith(alias) and not rest.isdigit() and factor(field, rest) is not None:
            return alias
    return None


def is_refused(field: str, unit: str) -> bool:
    """Whether what stands in brackets is a unit or a zone of time that cannot be read; remarks (``over ground``) are passed over."""
    text = unit.strip().lower()
    if not text or field not in UNITS or factor(field, unit) is not None:
        return False
    if field in ("t", "time_of_day"):
        zone = _JUNK.sub("", text)
        return zone in _ZONES or bool(re.search(r"[+-]\s*\d|/", text)) or zone.endswith(("localtime", "local"))
    return bool(_LOOKS_LIKE_ONE.search(text)) or any(
        _JUNK.sub("", text) in other for f, other in UNITS.items() if f not in ("t", "time_of_day", field)
    )


def refusal(field: str, column: str, unit: str) -> FormatError:
    """The one line for a unit that is not read."""
    if field in ("t", "time_of_day"):
        return FormatError(
            f"column {column!r}: its times are not UTC ({unit}); write them with their offset (2024-05-01T12:00:00+02:00), or name another column with --columns t=..."
        )
    return FormatError(
        f"column {column!r}: the unit {unit!r} is not read; convert it, or say what it is: --columns '{field}={split_unit(column)[0].strip()}[UNIT]' with UNIT one of {_SHOWN[field]}"
    )
