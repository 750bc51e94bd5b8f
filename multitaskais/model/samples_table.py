"""Samples as a table of Parquet: written by ``tracks_builder/samples.py``, read by what learns.

A row is a sample of ``SAMPLE_DTYPE`` and the number of its line in its vessel. Missing floats are null.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..records import SAMPLE_DTYPE
from ..types import Samples

_KINDS = {"i8": pa.int64(), "i4": pa.int32(), "i2": pa.int16(), "i1": pa.int8(), "f8": pa.float64(), "b1": pa.bool_()}
_FIELDS: tuple[str, ...] = SAMPLE_DTYPE.names or ()
SAMPLES_ARROW = pa.schema([*((name, _KINDS[SAMPLE_DTYPE[name].str[1:]]) for name in _FIELDS), ("line", pa.int32())])


def sample_columns(samples: Samples, line: NDArray[np.integer]) -> list[pa.Array]:
    """(m,) samples and the numbers of their lines -> columns of ``SAMPLES_ARROW``."""
    columns = [pa.array(np.ascontiguousarray(samples[name]), from_pandas=True) for name in _FIELDS]
    return [*columns, pa.array(line.astype(np.int32))]


def samples_of_table(table: pa.Table | pa.RecordBatch) -> tuple[Samples, NDArray[np.int32]]:
    """The inverse of ``sample_columns``: (m,) samples in the order of the rows, and their lines; columns may lack."""
    out = np.zeros(table.num_rows, SAMPLE_DTYPE)
    for name in set(_FIELDS) & set(table.schema.names):
        out[name] = table.column(name).to_numpy(zero_copy_only=False)
    return out, table.column("line").to_numpy(zero_copy_only=False).astype(np.int32)


def is_samples(names: Sequence[str]) -> bool:
    """Whether a table with these columns is one of samples."""
    return set(SAMPLES_ARROW.names) <= set(names)
