"""Units and the size of the Earth: each number once, under a name that says what rests on it.

Four lengths of a degree of latitude are kept apart, though they differ by less than one part in a million: what was trained, drawn or
stored with one of them changes in its last bits with another, and equal inputs must give equal bits
(docs/adr/0006-numpy-scorer-bit-identity.md). None is more accurate than the sphere is (0.3 % against the ellipsoid).
"""

from __future__ import annotations

import math

M_PER_NM = 1852.0  # nautical mile
KNOT_MPS = 1852.0 / 3600.0
KNOT_KMPS = 1.852 / 3600.0
KNOTS_PER_DEG_S = 60.0 * 3600.0  # a degree of latitude a second; 1 degree = 60 nautical miles

EARTH_RADIUS_M = 6_371_008.8  # mean radius of WGS84
M_PER_DEG = EARTH_RADIUS_M * math.pi / 180.0  # of a great circle: tracks, samples, explanations, simulated traffic
M_PER_DEG_CM = 111_195.08  # the same to the centimetre: meetings, silences and zones
M_PER_DEG_SEEDED = 111_195.0  # seeded anomalies: an archive of the same seed stays the same archive
KM_PER_DEG_TRAINED = 111.195  # detectors and networks: calibrations and weights were learnt with it
