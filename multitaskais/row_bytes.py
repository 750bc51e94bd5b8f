"""Rows of structured arrays moved as memory. NumPy's own indexing moves them field by field: of a panel's row that is a hundred times."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.void]


def take(rows: Rows, at: NDArray[Any]) -> Rows:
    """``rows[at]`` of one-dimensional rows; ``at``: places or a mask."""
    found: Rows = _opaque(rows)[at].view(rows.dtype)
    return found


def put(rows: Rows, at: NDArray[Any], values: Rows) -> None:
    """``rows[at] = values``, where both have one dtype."""
    _opaque(rows)[at] = _opaque(values)


def _opaque(rows: Rows) -> Rows:
    view: Rows = rows.view(f"V{rows.dtype.itemsize}")
    return view


__all__ = ["put", "take"]
