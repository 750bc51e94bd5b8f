"""What the rows of some lines hold beside their detectors' states after each step of a block, made for the steps that are asked for.

Nearly no step changes an alert, and of the others nobody asks for more than which alerts stand.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..types import Rows


class BlockMemory:
    """Of T steps of n lines; a sample's place is step * n + line.

    Args:
        dtype: of a row without the detectors' states.
        history: by field of a ring of W: (W + T, n, ...) its values before the block and those of each step, oldest first.
        rest: by field: (T * n, ...) after each step.
        alerts: (n, types) as they stand before the block.

    Attributes:
        open: (T * n, types) whether an alert stands after each step; as before the block until ``AlertLife`` has looked at it.
    """

    def __init__(
        self,
        dtype: np.dtype,
        history: Mapping[str, NDArray[Any]],
        rest: Mapping[str, NDArray[Any]],
        alerts: NDArray[np.void],
    ) -> None:
        self._dtype, self._history, self._rest = dtype, history, rest
        self._n, self._width = len(alerts), dtype["t"].shape[0]
        n_steps = len(next(iter(rest.values()))) // max(self._n, 1)
        self.open: NDArray[np.bool_] = np.tile(alerts["open"], (n_steps, 1))

    def row(self, sample: int, alerts: NDArray[np.void]) -> Rows:
        """(1,) what the row of a line holds after a step, with the (types,) alerts that stand then."""
        step, line = divmod(sample, self._n)
        row = np.empty(1, self._dtype)
        for name, values in self._history.items():
            row[name][0] = np.moveaxis(values[step + 1 : step + 1 + self._width, line], 0, -1)
        for name, values in self._rest.items():
            row[name][0] = values[sample]
        row["alert"][0] = alerts
        return row


Memory = Rows | BlockMemory
"""After one step the rows themselves."""


def standing(memory: Memory) -> NDArray[np.bool_]:
    """(m, types) whether an alert stands after each step."""
    if isinstance(memory, BlockMemory):
        return memory.open
    found: NDArray[np.bool_] = memory["alert"]["open"]
    return found
