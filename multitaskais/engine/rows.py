"""Rows of a structured array, one an open target, reused when the target ends."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..types import Rows


class RowTable:
    """A growing table of rows. ``data`` is replaced when it grows, so take it again after each ``allocate``.

    Args:
        dtype: of a row.
        capacity: rows to begin with; more are added by doubling.
    """

    def __init__(self, dtype: np.dtype, capacity: int = 64) -> None:
        self.data: Rows = np.zeros(capacity, dtype)
        self._free = list(range(capacity - 1, -1, -1))

    def __len__(self) -> int:
        """Capacity in rows."""
        return len(self.data)

    def allocate(self) -> int:
        """The number of a row of zeros."""
        if not self._free:
            self.reserve(2 * len(self.data))
        slot = self._free.pop()
        self.data[slot] = np.zeros((), self.data.dtype)
        return slot

    def release(self, slots: Iterable[int]) -> None:
        """These rows are free again."""
        self._free.extend(reversed(list(slots)))

    def reserve(self, capacity: int) -> None:
        """Room for so many rows in all; never less than there is."""
        old = len(self.data)
        if capacity <= old:
            return
        self.data = np.concatenate([self.data, np.zeros(capacity - old, self.data.dtype)])
        self._free[:0] = range(capacity - 1, old - 1, -1)
