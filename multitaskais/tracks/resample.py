"""Samples from reports: positions along the WGS84 geodesic, speed linear, course along the shorter arc. docs/method.md#samples.

``interpolate`` serves the stream (many lines, the samples that are due now), ``resample_track`` a whole line as arrays; both end in
the same element-wise arithmetic and give the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..ais.sentinels import MOORED_STATUS
from ..config import STEP_S, DetectionRules
from ..records import SAMPLE_DTYPE
from ..row_bytes import take
from ..types import Reports, Rows, Samples
from ..units import KNOTS_PER_DEG_S
from . import geodesic
from .chain import apart
from .geodesic import SECOND_ECCENTRICITY_SQUARED
from .geometry import cos_lats, flat_m, velocities
from .sampler import PAIR_DT_S, PAIRS_MAX, Due

COG_BASE_M = 50.0  # contract: a missing course is derived when the vessel made so much
RING = 3  # slots of the 30 minutes that moored looks at (docs/method.md#moored)

# What a line must remember for ``complete``: the positions of its last samples, oldest first, and how many of them there are.
TARGET_DTYPE = np.dtype([("lat", "f8", (RING,)), ("lon", "f8", (RING,)), ("count", "i4")])

# Legs short enough for two terms of the geodesic: within 1e-10 deg of GeographicLib (measured on 400,000 random legs).
SHORT_DEG, SHORT_LAT_MAX = 0.01, 70.0

_Floats = NDArray[np.float64]
_ONE = np.ones(1)
PAIRS_AT_ONCE = 16384  # their columns stay in the second-level cache


def interpolate(dues: Sequence[Due]) -> Samples:
    """(n,) rows of ``SAMPLE_DTYPE`` of n due samples; ``made_30min`` and ``moored`` are left to ``complete``."""
    samples = np.zeros(len(dues), SAMPLE_DTYPE)
    if not dues:
        return samples
    # Columns t, lat, lon, sog, cog of the reports on both sides.
    a = np.array([d.before[1:6] for d in dues], np.float64).T
    b = np.array([d.after[1:6] for d in dues], np.float64).T
    samples["mmsi"] = [d.before[0] for d in dues]
    samples["t"] = [d.t for d in dues]
    samples["n"] = [d.n for d in dues]
    samples["mismatch"] = [d.mismatch for d in dues]
    samples["nav_status"] = [d.before[7] for d in dues]
    samples["ship_type"] = [d.before[9] for d in dues]
    _between(samples, a, b)
    return samples


def between(before: Reports, after: Reports, t: _Floats, n: NDArray[np.int64], mismatch: _Floats) -> Samples:
    """``interpolate`` of (m,) samples at grid times ``t`` with numbers ``n``, each between two reports of ``REPORT_DTYPE``."""
    samples = np.zeros(len(before), SAMPLE_DTYPE)
    samples["t"], samples["n"], samples["mismatch"] = t, n, mismatch
    for name in ("mmsi", "nav_status", "ship_type"):
        samples[name] = before[name]
    _between(samples, _columns(before), _columns(after))
    return samples


def _between(samples: Samples, a: _Floats, b: _Floats) -> None:
    """Fill position, speed and course; a, b (5, n) t, lat, lon, sog, cog. Element-wise: no row depends on another."""
    ta, lat_a, lon_a, sog_a, cog_a = a
    tb, lat_b, lon_b, sog_b, cog_b = b
    w = (samples["t"] - ta) / (tb - ta)  # [0, 1): t_a <= t < t_b
    samples["lat"], samples["lon"] = _on_geodesic(lat_a, lon_a, lat_b, lon_b, w)
    samples["sog"] = sog_a + (sog_b - sog_a) * w
    has_cog = (cog_a >= 0.0) & (cog_a < 360.0) & (cog_b >= 0.0) & (cog_b < 360.0)
    turn = (np.where(has_cog, cog_b - cog_a, 0.0) + 180.0) % 360.0 - 180.0
    cog = _to_compass(np.where(has_cog, cog_a, 0.0) + turn * w)
    if not has_cog.all():
        m = np.flatnonzero(~has_cog)
        azimuth, distance = geodesic.inverse(lat_a[m], lon_a[m], lat_b[m], lon_b[m])
        cog[m] = np.where(distance >= COG_BASE_M, _to_compass(azimuth), np.nan)
    samples["cog"] = cog


def _on_geodesic(lat_a: _Floats, lon_a: _Floats, lat_b: _Floats, lon_b: _Floats, w: _Floats) -> tuple[_Floats, _Floats]:
    """(lat, lon) at the share w of the way from a to b.

    Legs of up to ``SHORT_DEG`` (nearly all) by the geodesic's equations to second order about the leg's middle: within 1e-10 deg.
    """
    dlat, dlon = lat_b - lat_a, lon_b - lon_a
    short = (np.abs(dlat) <= SHORT_DEG) & (np.abs(dlon) <= SHORT_DEG) & (np.abs(lat_a) <= SHORT_LAT_MAX)
    middle = (lat_a + lat_b) * 0.5
    s, c = velocities(_ONE, np.abs(middle))  # sine and cosine, from the table: the same bits in any batch
    s = np.copysign(s, middle)
    bend = (w - w * w) * (0.5 * math.pi / 180.0)
    # Geodesic equations on the ellipsoid, with v = 1 + e'^2 cos^2 phi and the length of the way as parameter:
    # phi'' = -sin phi cos phi (v lambda'^2 + 3 e'^2 / v phi'^2), lambda'' = 2 tan phi / v phi' lambda'.
    v = 1.0 + SECOND_ECCENTRICITY_SQUARED * c * c
    lat = lat_a + (dlat * w + s * c * (v * dlon * dlon + 3.0 * SECOND_ECCENTRICITY_SQUARED / v * dlat * dlat) * bend)
    lon = lon_a + (dlon * w - 2.0 * s / (c * v) * dlat * dlon * bend)
    far = np.flatnonzero(~short)
    if len(far):
        a_lon, a_lat, share = lon_a[far], lat_a[far], w[far]
        azimuth, distance = geodesic.inverse(a_lat, a_lon, lat_b[far], lon_b[far])
        far_lat, far_lon = geodesic.direct(a_lat, a_lon, azimuth, distance * share)
        still = (share == 0.0) | (distance == 0.0)
        lat[far], lon[far] = np.where(still, a_lat, far_lat), np.where(still, a_lon, far_lon)
    return lat, lon


def _to_compass(deg: _Floats) -> _Floats:
    """Into [0, 360); a tiny negative angle would round to 360."""
    deg = deg % 360.0
    return np.where(deg >= 360.0, 0.0, deg)


def complete(rows: Rows, samples: Samples, rules: DetectionRules) -> tuple[Rows, Samples]:
    """What needs the line's last samples: distance made, moored, and a course still missing.

    Args:
        rows: (n,) of ``TARGET_DTYPE``, one a line; zeros for a line without samples.
        samples: (T * n,) of ``SAMPLE_DTYPE``, the next T samples of each of these lines, the first of every line before the second of any.

    Returns:
        The lines' new rows, and the samples with ``made_30min`` and ``moored`` set, and with ``cog`` derived from the sample before
        where it was missing and the vessel made 50 m since.
    """
    samples = samples.copy()
    new = rows.copy()
    n = len(rows)
    n_steps = len(samples) // max(n, 1)
    count = np.minimum(
        rows["count"] + np.arange(n_steps)[:, None], RING
    )  # (T, n) samples of the line in its ring before each
    step, line = np.arange(n_steps)[:, None], np.arange(n)
    old, last = {}, {}
    for name in ("lat", "lon"):
        # Places (RING + T, n), oldest first. Before its first sample a line is where it is: it made nothing.
        places = np.concatenate([rows[name].T, samples[name].reshape(n_steps, n)])
        old[name] = places[step + RING - count, line].reshape(-1)
        last[name] = places[step + RING - np.minimum(count, 1), line].reshape(-1)
        new[name] = places[n_steps:].T
    new["count"] = np.minimum(rows["count"] + n_steps, RING)
    _finish(samples, old["lat"], old["lon"], last["lat"], last["lon"], rules)
    return new, samples


def _finish(
    samples: Samples,
    lat_old: _Floats,
    lon_old: _Floats,
    lat_last: _Floats,
    lon_last: _Floats,
    rules: DetectionRules,
) -> None:
    """Set made_30min, moored, and missing courses; positions of 30 min (or the start) before, and of the sample before."""
    lat, lon = samples["lat"], samples["lon"]
    samples["made_30min"] = flat_m(lat_old, lon_old, lat, lon)
    m = np.flatnonzero(np.isnan(samples["cog"]))
    if len(m):
        azimuth, distance = geodesic.inverse(lat_last[m], lon_last[m], lat[m], lon[m])
        samples["cog"][m] = np.where(distance >= COG_BASE_M, _to_compass(azimuth), np.nan)
    status = samples["nav_status"]
    still = (samples["sog"] < rules.moored_sog_knots) & (samples["made_30min"] < rules.moored_made_m)
    samples["moored"] = still | (status == MOORED_STATUS[0]) | (status == MOORED_STATUS[1])


def resample_track(reports: Reports, rules: DetectionRules, new_track: NDArray[np.bool_] | None = None) -> Samples:
    """All samples (m,) of ``SAMPLE_DTYPE`` of one line; the same bits as feeding its reports one by one.

    Args:
        reports: (n,) of ``REPORT_DTYPE``, the accepted reports of one line in time order.
        rules: for ``moored``.
        new_track: (n,) marks the first report of each track of the line (the grid starts again there); None = one track.
    """
    return resample_line(reports, rules, new_track)[0]


def resample_line(
    reports: Reports, rules: DetectionRules, new_track: NDArray[np.bool_] | None = None
) -> tuple[Samples, NDArray[np.int64]]:
    """``resample_track``, and (m,) the report before each sample; the one after it completes the sample."""
    first = np.zeros(len(reports), bool) if new_track is None else new_track.copy()
    first[:1] = True
    samples, before, _ = resample_lines(reports, np.array([0, len(reports)]), rules, first)
    return samples, before


def resample_lines(
    reports: Reports, begin: NDArray[np.int64], rules: DetectionRules, new_track: NDArray[np.bool_]
) -> tuple[Samples, NDArray[np.int64], NDArray[np.int64]]:
    """``resample_line`` of many lines at once, each with the same bits as alone.

    Args:
        reports: (n,) of ``REPORT_DTYPE``, line after line, each in time order.
        begin: (lines + 1,) where each begins, and n; none is empty, unless there is no report at all.
        rules: for ``moored``.
        new_track: (n,) marks the first report of each track, and so of each line.

    Returns:
        (m,) samples, line after line; (m,) the report before each, whose next one completes the sample; (lines + 1,) where those of each
        line begin, and m.
    """
    if not len(reports):
        return np.zeros(0, SAMPLE_DTYPE), np.zeros(0, np.int64), np.zeros(len(begin), np.int64)
    columns = _columns(reports)
    grid, before, count = _grid(columns[0], begin, np.flatnonzero(new_track))
    line_of_track = np.searchsorted(begin, np.flatnonzero(new_track), side="right") - 1
    length = np.bincount(line_of_track, count, len(begin) - 1).astype(np.int64)
    own = np.concatenate([[0], np.cumsum(length)])
    first = np.repeat(own[:-1], length)  # sample of its line
    samples = np.zeros(len(grid), SAMPLE_DTYPE)
    number = np.arange(len(grid)) - first
    samples["t"], samples["n"] = grid, number
    here = take(reports, before)
    for name in ("mmsi", "nav_status", "ship_type"):
        samples[name] = here[name]
    samples["mismatch"] = _mismatches(columns, begin, before, own)
    _between(samples, columns[:, before], columns[:, before + 1])
    old, last = first + np.maximum(number - RING, 0), first + np.maximum(number - 1, 0)
    lat, lon = samples["lat"].copy(), samples["lon"].copy()
    _finish(samples, lat[old], lon[old], lat[last], lon[last], rules)
    return samples, before, own


def _grid(
    t: _Floats, begin: NDArray[np.int64], first: NDArray[np.int64]
) -> tuple[_Floats, NDArray[np.int64], NDArray[np.int64]]:
    """Grid times of all samples, the report before each, and how many samples each track has; ``first`` report of each track."""
    # Due before the next track's first report, or before the last report of the line.
    after = np.append(first[1:], len(t))
    last_of_line = begin[np.searchsorted(begin, first, side="right")] - 1
    end = np.minimum(after, last_of_line)
    origin = t[first]
    most = ((t[end] - origin) // STEP_S).astype(np.int64) + 2
    grid, track = _steps_from(origin, most)
    due = grid < t[end][track]
    grid, track = grid[due], track[due]
    count = np.bincount(track, minlength=len(first))
    # Of each report the first grid time that is not before it; so many reports of its track come before a grid time, or with it.
    of_track = np.repeat(np.arange(len(first)), after - first)
    k = grid_steps(t, origin[of_track])
    slot = np.cumsum(count + 1) - (count + 1)
    seen = np.bincount(slot[of_track] + np.minimum(k, count[of_track]), minlength=int((count + 1).sum()))
    seen = np.cumsum(seen)
    step = np.arange(len(grid)) - np.repeat(np.cumsum(count) - count, count)
    before = seen[slot[track] + step] - 1  # reports of earlier tracks are counted too: all of them
    return grid, before, count


def _steps_from(origin: _Floats, count: NDArray[np.int64]) -> tuple[_Floats, NDArray[np.int64]]:
    """``count`` grid times of each track from its origin on, and the track of each."""
    track = np.repeat(np.arange(len(origin)), count)
    step = np.arange(len(track)) - np.repeat(np.cumsum(count) - count, count)
    return origin[track] + step * STEP_S, track


def grid_steps(t: _Floats, origin: _Floats) -> NDArray[np.int64]:
    """(n,) the first step of the grid from ``origin`` that is not before t."""
    k = np.ceil((t - origin) / STEP_S).astype(np.int64)
    while (early := origin + k * STEP_S < t).any():
        k[early] += 1
    while (late := origin + (k - 1) * STEP_S >= t).any():
        k[late] -= 1
    return k


def _columns(reports: Reports) -> _Floats:
    """(5, n) t, lat, lon, sog, cog; some rows at a time, so that each row is fetched from memory once."""
    columns = np.empty((5, len(reports)))
    for lo in range(0, len(reports), PAIRS_AT_ONCE):
        rows = reports[lo : lo + PAIRS_AT_ONCE]
        for k, name in enumerate(("t", "lat", "lon", "sog", "cog")):
            columns[k, lo : lo + len(rows)] = rows[name]
    return columns


def _mismatches(
    columns: _Floats, begin: NDArray[np.int64], before: NDArray[np.int64], own: NDArray[np.int64]
) -> _Floats:
    """Median mismatch of each sample's slot: of the pairs whose second report came after the last sample's ``before`` up to its own.

    columns (5, n) t, lat, lon, sog, cog of lines that ``begin`` there; ``before`` (m,) index of the report before each sample, those of each
    line beginning at ``own``. The pairs and their thinning are ``SlotSampler``'s.
    """
    chosen = apart(columns[0], begin, PAIR_DT_S[0])
    nodes, second = columns, np.arange(1, columns.shape[1])
    if not chosen.all():
        chain = np.flatnonzero(chosen)
        nodes, second = columns[:, chain], chain[1:]
    with np.errstate(divide="ignore", invalid="ignore"):  # from one line to the next
        values, use = pair_mismatches(nodes)
    new_line = np.zeros(columns.shape[1], bool)
    new_line[begin[:-1]] = True
    use &= ~new_line[second]  # a line's first report is in its chain
    if not use.all():
        values, second = values[use], second[use]
    # Pairs of slot j: end[j-1] <= pair < end[j].
    end = np.searchsorted(second, before, side="right")
    start = np.concatenate([[0], end[:-1]])
    there = np.flatnonzero(np.diff(own))
    start[own[there]] = np.searchsorted(second, begin[there], side="left")
    count = end - start
    stride = np.ones(len(count), np.int64)
    while (thick := -(-count // stride) > PAIRS_MAX).any():
        stride[thick] *= 2
    kept = -(-count // stride)
    width = int(kept.max(initial=0))
    if width == 0:
        return np.full(len(before), np.nan)
    column = np.arange(width)
    index = np.minimum(start[:, None] + column * stride[:, None], len(values) - 1)
    table = np.where(column < kept[:, None], values[index], np.inf)
    table.sort(axis=1)
    row = np.arange(len(kept))
    upper = table[row, np.minimum(kept // 2, width - 1)]
    lower = table[row, np.maximum(kept // 2 - 1, 0)]
    middle = np.where(kept % 2 == 1, upper, (lower + upper) * 0.5)
    return np.where(kept > 0, middle, np.nan)


def pair_mismatches(nodes: _Floats) -> tuple[_Floats, NDArray[np.bool_]]:
    """Mismatch of each of n reports (5, n) t, lat, lon, sog, cog and the next, bit for bit ``SlotSampler``'s; which of them (n - 1,) count."""
    n = nodes.shape[1] - 1
    values, use = np.empty(n), np.empty(n, bool)
    for lo in range(0, n, PAIRS_AT_ONCE):
        t, lat, lon, sog, cog = nodes[:, lo : lo + PAIRS_AT_ONCE + 1]
        dt = t[1:] - t[:-1]
        dlon = lon[1:] - lon[:-1]
        if np.abs(dlon).max() > 180.0:
            dlon = np.where(dlon > 180.0, dlon - 360.0, np.where(dlon < -180.0, dlon + 360.0, dlon))
        east_said, north_said = velocities(sog, cog)
        knots = KNOTS_PER_DEG_S / dt
        made = lat[:-1] + lat[1:]
        made *= 0.5
        made = cos_lats(made)
        made *= dlon
        made *= knots
        said = east_said[:-1] + east_said[1:]
        said *= 0.5
        made -= said
        north = lat[1:] - lat[:-1]
        north *= knots
        np.add(north_said[:-1], north_said[1:], out=said)
        said *= 0.5
        north -= said
        made *= made
        north *= north
        made += north
        here = slice(lo, lo + len(dt))
        np.sqrt(made, out=values[here])
        has_cog = (cog >= 0.0) & (cog < 360.0)
        use[here] = (dt <= PAIR_DT_S[1]) & has_cog[:-1] & has_cog[1:]
    return values, use
