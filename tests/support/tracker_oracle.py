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


def other_zone(p, q):
    """The place of the ship some half hours ago or ahead, by dead reckoning."""
    speed = (p.sog + q.sog) / 2
    if not (abs((p.cog - q.cog + 180) % 360 - 180) <= 10 and abs(p.sog - q.sog) <= 1 and speed >= 2):
        return False
    course = cmath.rect(1, math.radians(p.cog)) + cmath.rect(1, math.radians(q.cog))
    east = ((q.lon - p.lon + 180) % 360 - 180) * math.cos(math.radians((p.lat + q.lat) / 2))
    way = (q.lat - p.lat + 1j * east) * 111_195.08 * course.conjugate() / abs(course)
    off = way.real / (speed * KNOT) - (q.t - p.t)
    nearest = min(range(-28, 29), key=lambda k: abs(off - 1800 * k))
    return (
        bool(nearest) and abs(off - 1800 * nearest) <= 60 + abs(off) / 100 and abs(way.imag) <= 300 + abs(way.real) / 50
    )


def name(r):
    return f"{r.mmsi:09d}-{dt.datetime.fromtimestamp(int(r.t), dt.UTC):%Y%m%dT%H%M%SZ}"


class _Line:
    def __init__(self, number, track, first):
        self.number, self.track, self.start, self.reports = number, track, first.t, []


class _Side:
    def __init__(self, target):
        self.target = target
        self.pending, self.own = [], []
        self.other = [target.reports[-1].t]
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
    kept, targets, tentative_tracks = [], [], []
    count = 0

    def take(target, r):
        if r.t >= target.start + rules.cut_s:
            target.track, target.start = fresh(r, target), r.t
        target.reports.append(r)
        fate[id(r)] = ("", target.number, target.track)

    def fresh(r, but=None):
        taken = {target.track for target in targets if target is not but}
        wanted = name(r)
        options = [wanted, *(f"{wanted}-{i}" for i in range(2, 9))]
        return next(o for o in options if o not in taken)

    def displaced(rs):
        for r in rs:
            fate[id(r)] = ("displaced", -1, "")

    def two(tentative, now):
        since = now - rules.side_window_s
        enough = all(sum(x >= since for x in xs) >= rules.side_reports for xs in (tentative.own, tentative.other))
        return (
            enough
            and sum(x >= since for x in tentative.changes) >= rules.side_switches
            and tentative.pending
            and len(targets) < 4
        )

    def split(tentative):
        nonlocal count
        tentative_tracks.remove(tentative)
        target = _Line(count, fresh(tentative.pending[0]), tentative.pending[0])
        count += 1
        for r in tentative.pending:
            take(target, r)
        targets.append(target)

    def join(target, r):
        take(target, r)
        for tentative in [s for s in tentative_tracks if s.target is target]:
            was = tentative.history[-1]
            tentative.came("line", r.t)
            tentative.other.append(r.t)
            if was == "side" and two(tentative, r.t):
                split(tentative)

    for r in reports:
        moves = r.sog >= 1.0 and any(f"{x:.6f}"[-3:] != "000" for x in (r.lat, r.lon))
        window = rules.copy_s if moves else rules.duplicate_s
        if any(r.t - q.t <= window and str(q[2:9]) == str(r[2:9]) for q in kept):
            fate[id(r)] = ("duplicate", -1, "")
            continue
        kept.append(r)
        for target in [x for x in targets if r.t > x.reports[-1].t + rules.gap_max_s]:
            targets.remove(target)
            for tentative in [s for s in tentative_tracks if s.target is target]:
                tentative_tracks.remove(tentative)
                displaced(tentative.pending)
        for tentative in list(tentative_tracks):
            alone = tentative.alone()
            fixed = tentative.pending[: len(tentative.pending) - alone]
            old = [q for q in fixed if q.t < r.t - rules.side_window_s]
            displaced(old)
            tentative.pending = [q for q in tentative.pending if q not in old]
            if not tentative.pending and tentative.last.t < r.t - rules.side_window_s:
                tentative_tracks.remove(tentative)
        if not targets:
            target = _Line(count, fresh(r), r)
            count += 1
            targets.append(target)
            take(target, r)
            continue
        possible = [x for x in targets if not jumps(x.reports[-1], r, rules)]
        if possible:
            join(min(possible, key=lambda x: metres(x.reports[-1], r)), r)
            continue
        beside = [s for s in tentative_tracks if not jumps(s.last, r, rules)]
        if beside:
            tentative = min(beside, key=lambda s: metres(s.last, r))
        else:
            nearest = min(
                targets, key=lambda x: metres(x.reports[-1], r) / max(r.t - x.reports[-1].t, rules.jump_min_dt_s)
            )
            tentative = _Side(nearest)
            if len(tentative_tracks) == 3:
                gone = min(tentative_tracks, key=lambda s: s.last.t)
                tentative_tracks.remove(gone)
                displaced(gone.pending)
            tentative_tracks.append(tentative)
        tentative.came("side", r.t)
        tentative.last = r
        tentative.pending.append(r)
        tentative.own.append(r.t)
        if two(tentative, r.t):
            split(tentative)
        elif tentative.alone() >= rules.side_reports:
            target = tentative.target
            run = tentative.pending[-tentative.alone() :]
            displaced(tentative.pending[: -tentative.alone()])
            tentative_tracks.remove(tentative)
            left = _Side(target)
            left.last = target.reports[-1]
            left.own, left.other = tentative.other, tentative.own
            left.changes, left.history = tentative.changes, ["line"]
            for q in run:
                join(target, q)
            tentative_tracks.append(left)
    for tentative in tentative_tracks:
        displaced(tentative.pending)
    return [fate[id(r)] for r in reports]
