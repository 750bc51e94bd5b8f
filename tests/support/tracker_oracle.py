"""The track rules once more, plainly: the whole history is kept, windows are counted over it, every distance is computed.

Input is sorted; what it returns is what each report became: (reason or "", line, track id).
"""

from __future__ import annotations

import cmath
import datetime as dt
import math

from pyproj import Geod

SPHERE = Geod(a=6_371_008.8, b=6_371_008.8)
KNOT = 1852 / 3600


def metres(p, q):
    return SPHERE.inv(p.lon, p.lat, q.lon, q.lat)[2]


def jumps(p, q, rules):
    """No moment within the error of the stamps at which the ship, on its course, was near enough."""
    dt, coarse = q.t - p.t, all(f"{x:.10f}"[-8:] == "0" * 8 for x in (p.lat, p.lon, q.lat, q.lon))
    step = 185.325 if 27 in (p.msg_type, q.msg_type) else 1111.95 if coarse else 0.0
    spare = rules.jump_min_m + rules.jump_excess_knots * KNOT * dt
    d = metres(p, q)
    if d <= spare + q.sog * KNOT * dt:
        return False
    spare += step
    if d <= spare + q.sog * KNOT * dt:
        return False
    speed = max(p.sog, q.sog) * KNOT
    if d > spare + speed * (dt + rules.stamp_error_s):
        return True
    courses = [cmath.rect(1, math.radians(c)) for c in (p.cog, q.cog) if not math.isnan(c)]
    if not courses or abs(sum(courses)) < 1e-9:
        return False
    course = sum(courses) / abs(sum(courses))
    east = ((q.lon - p.lon + 180) % 360 - 180) * math.cos(math.radians((p.lat + q.lat) / 2))
    way = (q.lat - p.lat + 1j * east) * 111_195.08
    sailed = (way * course.conjugate()).real
    nearest = min(max(sailed, speed * (dt - rules.stamp_error_s)), speed * (dt + rules.stamp_error_s)) * course
    return abs(way - nearest) > spare


def name(r):
    return f"{r.mmsi:09d}-{dt.datetime.fromtimestamp(int(r.t), dt.UTC):%Y%m%dT%H%M%SZ}"


class _Line:
    def __init__(self, number, track, first):
        self.number, self.track, self.start, self.reports = number, track, first.t, []


class _Side:
    def __init__(self, line):
        self.line = line
        self.pending, self.own = [], []
        self.other = [line.reports[-1].t]
        self.history = ["line"]  # who came, in order, with the times of changes
        self.changes = []
        self.last = None

    def came(self, who, t):
        if self.history[-1] != who:
            self.changes.append(t)
        self.history.append(who)

    def alone(self):
        n = 0
        for who in reversed(self.history):
            if who != "side":
                break
            n += 1
        return n


def oracle(reports, rules):
    fate = {}
    kept, lines, sides = [], [], []
    count = 0

    def take(line, r):
        if r.t >= line.start + rules.cut_s:
            line.track, line.start = fresh(r, line), r.t
        line.reports.append(r)
        fate[id(r)] = ("", line.number, line.track)

    def fresh(r, but=None):
        taken = {line.track for line in lines if line is not but}
        wanted = name(r)
        options = [wanted, *(f"{wanted}-{i}" for i in range(2, 9))]
        return next(o for o in options if o not in taken)

    def displaced(rs):
        for r in rs:
            fate[id(r)] = ("displaced", -1, "")

    def two(side, now):
        since = now - rules.side_window_s
        enough = all(sum(x >= since for x in xs) >= rules.side_reports for xs in (side.own, side.other))
        return (
            enough and sum(x >= since for x in side.changes) >= rules.side_switches and side.pending and len(lines) < 4
        )

    def split(side):
        nonlocal count
        sides.remove(side)
        line = _Line(count, fresh(side.pending[0]), side.pending[0])
        count += 1
        for r in side.pending:
            take(line, r)
        lines.append(line)

    def join(line, r):
        take(line, r)
        for side in [s for s in sides if s.line is line]:
            was = side.history[-1]
            side.came("line", r.t)
            side.other.append(r.t)
            if was == "side" and two(side, r.t):
                split(side)

    for r in reports:
        if any(r.t - q.t <= rules.duplicate_s and str(q[2:9]) == str(r[2:9]) for q in kept):
            fate[id(r)] = ("duplicate", -1, "")
            continue
        kept.append(r)
        for line in [x for x in lines if r.t > x.reports[-1].t + rules.gap_max_s]:
            lines.remove(line)
            for side in [s for s in sides if s.line is line]:
                sides.remove(side)
                displaced(side.pending)
        for side in list(sides):
            alone = side.alone()
            fixed = side.pending[: len(side.pending) - alone]
            old = [q for q in fixed if q.t < r.t - rules.side_window_s]
            displaced(old)
            side.pending = [q for q in side.pending if q not in old]
            if not side.pending and side.last.t < r.t - rules.side_window_s:
                sides.remove(side)
        if not lines:
            line = _Line(count, fresh(r), r)
            count += 1
            lines.append(line)
            take(line, r)
            continue
        possible = [x for x in lines if not jumps(x.reports[-1], r, rules)]
        if possible:
            join(min(possible, key=lambda x: metres(x.reports[-1], r)), r)
            continue
        possible = [s for s in sides if not jumps(s.last, r, rules)]
        if possible:
            side = min(possible, key=lambda s: metres(s.last, r))
        else:
            nearest = min(
                lines, key=lambda x: metres(x.reports[-1], r) / max(r.t - x.reports[-1].t, rules.jump_min_dt_s)
            )
            side = _Side(nearest)
            if len(sides) == 3:
                gone = min(sides, key=lambda s: s.last.t)
                sides.remove(gone)
                displaced(gone.pending)
            sides.append(side)
        side.came("side", r.t)
        side.last = r
        side.pending.append(r)
        side.own.append(r.t)
        if two(side, r.t):
            split(side)
        elif side.alone() >= rules.side_reports:
            line = side.line
            run = side.pending[-side.alone() :]
            displaced(side.pending[: -side.alone()])
            sides.remove(side)
            left = _Side(line)
            left.last = line.reports[-1]
            left.own, left.other = side.other, side.own
            left.changes, left.history = side.changes, ["line"]
            for q in run:
                join(line, q)
            sides.append(left)
    for side in sides:
        displaced(side.pending)
    return [fate[id(r)] for r in reports]
