"""Constants of ``functions`` and ``scalars``; polynomials from the highest power down."""

from __future__ import annotations

import math

# ln 2 in two parts: the first has 32 bits, so that its product with any exponent is exact.
LN2_HIGH = float.fromhex("0x1.62e42feep-1")
LN2_LOW = float.fromhex("0x1.a39ef35793c76p-33")
LOG2_E = float.fromhex("0x1.71547652b82fep+0")
LN_10 = float.fromhex("0x1.26bb1bbb55516p+1")
LN_2 = float.fromhex("0x1.62e42fefa39efp-1")
RADIANS = float.fromhex("0x1.1df46a2529d39p-6")  # of a degree
DEGREES = float.fromhex("0x1.ca5dc1a63c1f8p+5")  # of a radian
SQRT_2PI = float.fromhex("0x1.40d931ff62706p+1")
SQRT_HALF = float.fromhex("0x1.6a09e667f3bcdp-1")

EXP = tuple(1.0 / math.factorial(k) for k in range(13, 1, -1))  # from the highest power; 1 and x come last
LOG = tuple(2.0 / (2 * k + 1) for k in range(10, 0, -1))
SIN = tuple((-1.0) ** k / math.factorial(2 * k + 1) for k in range(8, 0, -1))
COS = tuple((-1.0) ** k / math.factorial(2 * k) for k in range(8, 1, -1))
ATAN = tuple((-1.0) ** k / (2 * k + 1) for k in range(12, 0, -1))

EXP_MIN, EXP_MAX = -708.0, 709.0  # beyond: 0, and infinity
