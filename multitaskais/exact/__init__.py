"""Arithmetic that gives the same bits on every processor, with every BLAS, in every batch.

What a score, a state or an alert rests on is made of three kinds of steps only:

- ``+ - * / sqrt`` of float64 and float32, comparisons, rounding to integers, and moves of bits: IEEE 754 lays down each result.
  One step at a time, so that no compiler joins a product and a sum into one rounding.
- Functions made of these (``functions``, ``tables``). NumPy's and libm's own ``exp``, ``log``, ``tanh``, ``sin`` ... differ in
  their last bits between SIMD levels and with and without fused multiplication.
- Sums whose order cannot matter: products of matrices on a fixed grid (``products``), or an order that is written down (``functions.total``).

docs/adr/0006 says what is promised and what is not.
"""

from __future__ import annotations

# Written into each stored state. It grows when the same input gives other bits than before.
# 1: float32 products and the machine's own functions. 2: this package.
ARITHMETIC = 2
