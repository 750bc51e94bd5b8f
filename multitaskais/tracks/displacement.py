"""Whether one report can follow another: what the uncertainty of times and positions explains, and what it does not.

Two reports of a ship name two places and two moments, and neither is exact:

- **Position.** A position fix, the antenna's place, datum and rounding together stay well below ``jump_min_m``. A message of type 27 has
  1/10 minute (ITU-R M.1371-5, message 27), a decoded table as many decimals as its maker kept: half a step of each is added (a whole one
  together).
- **Time.** A stamp is the moment of reception, by the clock of a station, behind a network: minutes late or early is life
  (``stamp_error_s``). Such a report lies on the ship's own course, ahead of or behind its place, by its speed times the error.
- **Speed.** A ship may sail ``jump_excess_knots`` faster than it reports.

So a report is displaced when no speed, no course and no stamp within these bounds brings the ship there.

**Reading errors.** A checksum of 16 bits lets some garbled messages through: one bit of latitude or longitude flipped, or everything
behind some bit replaced by another ship's. ``may_be_garbled`` is true of a report that shows such a trace; alone it proves nothing of the ship.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..config import TrackRules
from ..exact import scalars
from ..units import KNOT_MPS, M_PER_DEG
from .geometry import great_circle_m

COARSE_DECIMALS, COARSE_STEP_DEG = (
    2,
    0.01,
)  # of degrees (1.1 km); with one more, rounding is small beside ``jump_min_m``
TYPE_27_STEP_DEG = 0.1 / 60.0
WELL_WITHIN = 0.999  # of a squared distance: no rounding reaches from there to the limit
# Latitude and longitude are sent in 1/10000 minute; bits whose flip moves a ship by more than 1 km: 13 (0.8 nautical miles) to 27.
FLIP_DEG = tuple((1 << bit) / 600_000.0 for bit in range(13, 28))
COPY_KNOTS = 1.0  # at this speed a ship passes several steps of 1/10000 minute in a second
COPY_GRID = 1000.0  # positions on a grid of 0.001 deg (111 m) may be equal though the ship moves
TURN_DEG = 20.0  # course and heading of a ship do not both change by more between two reports, nearly always
MAKES_WAY_KNOTS = 2.0
# A clock in another zone (``is_station_clock``): how alike the two reports must be.
HALF_HOUR_S, HALF_HOURS_MAX = 1800.0, 28
SAME_COURSE_DEG, SAME_SPEED_KNOTS = 10.0, 1.0
CLOCK_ACROSS_M, CLOCK_ACROSS_SHARE = 300.0, 0.02
CLOCK_SPARE_S, CLOCK_SPARE_SHARE = 60.0, 0.01
_T, _LAT, _LON, _SOG, _COG, _HEADING, _TYPE = 1, 2, 3, 4, 5, 6, 8  # places in a report's tuple


def is_jump(before: tuple[Any, ...], after: tuple[Any, ...], rules: TrackRules) -> bool:
    """Whether ``after`` cannot follow ``before`` (tuples in the field order of ``REPORT_DTYPE``)."""
    dt = after[1] - before[1]
    reach_m = rules.jump_min_m + (after[4] + rules.jump_excess_knots) * KNOT_MPS * dt
    # The distance is never more than on a flat chart without the cosine: that settles nearly all.
    dlat = (after[2] - before[2]) * M_PER_DEG
    dlon = (after[3] - before[3]) * M_PER_DEG
    if dlat * dlat + dlon * dlon <= reach_m * reach_m * WELL_WITHIN:
        return False
    made_m = great_circle_m(before[2], before[3], after[2], after[3])
    if made_m <= reach_m:
        return False
    step_m = resolution_m(before, after)
    return made_m > reach_m + step_m and not _is_stamp_error(before, after, made_m, rules, step_m)


def surely_follow(before: NDArray[np.float64], after: NDArray[np.float64], rules: TrackRules) -> NDArray[np.bool_]:
    """(n,) where ``is_jump`` is false by its first look, the flat chart; (4, n) t, lat, lon, sog of the two reports. Elsewhere ask it."""
    reach_m = rules.jump_min_m + (after[3] + rules.jump_excess_knots) * KNOT_MPS * (after[0] - before[0])
    dlat = (after[1] - before[1]) * M_PER_DEG
    dlon = (after[2] - before[2]) * M_PER_DEG
    sure: NDArray[np.bool_] = dlat * dlat + dlon * dlon <= reach_m * reach_m * WELL_WITHIN
    return sure


def is_copy(report: tuple[Any, ...]) -> bool:
    """Whether a report equal to this one can only be the same transmission: the ship moves and its position is fine."""
    if report[_SOG] < COPY_KNOTS:
        return False
    lat, lon = report[_LAT] * COPY_GRID, report[_LON] * COPY_GRID
    found: bool = abs(lat - round(lat)) > 1e-6 or abs(lon - round(lon)) > 1e-6
    return found


def are_copies(lat: NDArray[np.float64], lon: NDArray[np.float64], sog: NDArray[np.float64]) -> NDArray[np.bool_]:
    """``is_copy`` of (n,) reports."""
    y, x = lat * COPY_GRID, lon * COPY_GRID
    return (sog >= COPY_KNOTS) & ((np.abs(y - np.rint(y)) > 1e-6) | (np.abs(x - np.rint(x)) > 1e-6))


def resolution_m(before: tuple[Any, ...], after: tuple[Any, ...]) -> float:
    """Least step of the two positions in metres, as message types or decimals show it; 0 when both are fine."""
    if before[_TYPE] == 27 or after[_TYPE] == 27:
        return TYPE_27_STEP_DEG * M_PER_DEG
    if all(round(x, COARSE_DECIMALS) == x for x in (*before[_LAT : _LON + 1], *after[_LAT : _LON + 1])):
        return M_PER_DEG * COARSE_STEP_DEG
    return 0.0


def _is_stamp_error(
    before: tuple[Any, ...], after: tuple[Any, ...], made_m: float, rules: TrackRules, step_m: float
) -> bool:
    """Whether the ship was there at another moment: on its course, ahead or behind, by its speed times an error of the stamp."""
    speed = max(before[_SOG], after[_SOG]) * KNOT_MPS
    dt = after[_T] - before[_T]
    spare_m = rules.jump_min_m + step_m + rules.jump_excess_knots * KNOT_MPS * dt
    if made_m > spare_m + speed * (dt + rules.stamp_error_s):
        return False
    courses = [c for c in (before[_COG], after[_COG]) if c == c]
    if not courses:
        return True  # somewhere on the circle that its speed reaches
    east = north = 0.0
    for course in courses:
        sin, cos = scalars.sin_cos(course)
        east, north = east + sin, north + cos
    length = scalars.hypot(east, north)
    if length < 1e-9:  # it turned back
        return True
    cosine = scalars.cos(0.5 * (before[_LAT] + after[_LAT]))
    dx = math.remainder(after[_LON] - before[_LON], 360.0) * M_PER_DEG * cosine
    dy = (after[_LAT] - before[_LAT]) * M_PER_DEG
    along = (dx * east + dy * north) / length
    across = abs(dx * north - dy * east) / length
    beyond = max(0.0, along - speed * (dt + rules.stamp_error_s), speed * (dt - rules.stamp_error_s) - along)
    found: bool = scalars.hypot(across, beyond) <= spare_m
    return found


def is_station_clock(before: tuple[Any, ...], after: tuple[Any, ...], rules: TrackRules) -> bool:
    """Whether a displaced report lies where the ship was, or will be, whole half hours ago or ahead: a station's clock is in another zone, and
    the ship is where it should be. Same speed, same course, on the line of it; narrow, so that hardly any real displacement looks like it."""
    turned = _turn(before[_COG], after[_COG])
    speed_knots = 0.5 * (before[_SOG] + after[_SOG])
    if (
        not turned <= SAME_COURSE_DEG
        or abs(before[_SOG] - after[_SOG]) > SAME_SPEED_KNOTS
        or speed_knots < MAKES_WAY_KNOTS
    ):
        return False
    along, across = _along_and_across(before, after)
    if across > CLOCK_ACROSS_M + CLOCK_ACROSS_SHARE * abs(along):
        return False
    offset_s = along / (speed_knots * KNOT_MPS) - (after[_T] - before[_T])
    zones = round(offset_s / HALF_HOUR_S)
    spare_s = CLOCK_SPARE_S + CLOCK_SPARE_SHARE * abs(offset_s)
    found: bool = 0 < abs(zones) <= HALF_HOURS_MAX and abs(offset_s - zones * HALF_HOUR_S) <= spare_s
    return found


def along_course_s(before: tuple[Any, ...], after: tuple[Any, ...]) -> float:
    """By how many seconds the stamp of ``after`` is off, when its ship only sailed on along its course; NaN where course or speed do not tell."""
    speed_mps = 0.5 * (before[_SOG] + after[_SOG]) * KNOT_MPS
    if not (_turn(before[_COG], after[_COG]) <= TURN_DEG and speed_mps >= MAKES_WAY_KNOTS * KNOT_MPS):
        return math.nan
    along, across = _along_and_across(before, after)
    if across > CLOCK_ACROSS_M + 0.1 * abs(along):
        return math.nan
    ahead_s: float = along / speed_mps - (after[_T] - before[_T])
    return ahead_s


def _along_and_across(before: tuple[Any, ...], after: tuple[Any, ...]) -> tuple[float, float]:
    """Metres along the mean course of the two and (unsigned) across it; both have a course."""
    (sin_a, cos_a), (sin_b, cos_b) = scalars.sin_cos(before[_COG]), scalars.sin_cos(after[_COG])
    east, north = sin_a + sin_b, cos_a + cos_b
    length = scalars.hypot(east, north)
    cosine = scalars.cos(0.5 * (before[_LAT] + after[_LAT]))
    dx = math.remainder(after[_LON] - before[_LON], 360.0) * M_PER_DEG * cosine
    dy = (after[_LAT] - before[_LAT]) * M_PER_DEG
    return (dx * east + dy * north) / length, abs(dx * north - dy * east) / length


def may_be_garbled(before: tuple[Any, ...], after: tuple[Any, ...], rules: TrackRules) -> bool:
    """Whether a displaced report shows the trace of a message that was received wrong.

    One bit of latitude or of longitude flipped, all else where it should be; or another course and another heading at once, as
    when the rest of the message is another ship's.
    """
    turned = _turn(before[_COG], after[_COG])
    swung = _turn(before[_HEADING], after[_HEADING])
    # A ship that lies still has any course; whether it sends a heading depends on its equipment and does not change.
    makes_way = max(before[_SOG], after[_SOG]) >= MAKES_WAY_KNOTS and swung != swung
    if turned > TURN_DEG and (swung > TURN_DEG or makes_way or _only_one_missing(before[_HEADING], after[_HEADING])):
        return True
    dt = after[_T] - before[_T]
    speed_deg = max(before[_SOG], after[_SOG]) * KNOT_MPS * dt / M_PER_DEG
    sin, cos = scalars.sin_cos(after[_COG] if after[_COG] == after[_COG] else 0.0)
    cosine = max(scalars.cos(before[_LAT]), 0.01)
    dlat = after[_LAT] - before[_LAT] - speed_deg * cos
    dlon = math.remainder(after[_LON] - before[_LON] - speed_deg * sin / cosine, 360.0)
    # Narrow, so that hardly any real displacement looks like it: some tens of metres, and a tenth of the ship's way.
    slack = 0.0003 + 0.1 * speed_deg
    if abs(dlat) <= slack:
        return any(abs(abs(dlon) - flip) <= slack / cosine for flip in FLIP_DEG)
    if abs(dlon) <= slack / cosine:
        return any(abs(abs(dlat) - flip) <= slack for flip in FLIP_DEG)
    return False


def _turn(a: float, b: float) -> float:
    """Angle between two directions in degrees; NaN where one is missing."""
    return abs(math.remainder(a - b, 360.0))


def _only_one_missing(a: float, b: float) -> bool:
    return (a != a) != (b != b)
