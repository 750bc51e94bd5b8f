"""The fleet's state as bytes: what is stored of a vessel and of a partition, its versions, and how older ones are read.

| version | what is stored of a vessel |
|---|---|
| 1 | tracker; of each line: sampler, ship, row, and the row of each model's panel |
| 2 | and of each line what was last said of it; the rows carry the digest of their layout |
| 3 | and of each line the model that has it; of a partition, which models are active from when |
| 4 | the same, written under arithmetic 2 (``multitaskais.exact``) |
| 5 | the same; of a partition also which ships a station's clock has displaced |

**Arithmetic.** A version stands for one arithmetic (``ARITHMETIC_OF``). Numbers of before version 4 came of float32 products and the
machine's own functions, whose last bits depend on the machine. They are taken as they are, once: the vessel's next state is written
under the present arithmetic, and from there on equal logs give equal states on every machine.

A row is the raw memory of a structured array, so it means something only under the layout with which it was written. In version 1
only its length could be checked: a detector that swapped two fields would have been misread without a word.

To change the layout: add one to ``STATE_VERSION``, keep the old struct, and write the function that turns it into the next version.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple, TypeVar

import msgspec
import numpy as np

from ..errors import StateError
from ..records import NotJudged
from ..tracks.sampler import SlotSampler
from ..tracks.station_clock import StationWatch
from ..tracks.tracker import VesselTracker
from ..tracks.watermark import WatermarkGenerator

STATE_VERSION = 5
ARITHMETIC_OF = {1: 1, 2: 1, 3: 1, 4: 2, 5: 2}  # state version -> arithmetic under which it was written
DIGEST_BYTES = 8

_T = TypeVar("_T")


class StoredRow(NamedTuple):
    """The memory of one row of a structured array; an empty layout (version 1) is not known."""

    layout: bytes
    row: bytes


class StoredTarget(msgspec.Struct, array_like=True):
    """A target as it is stored: an array, so the order of the fields is the format."""

    number: int
    track_id: str
    sampler: SlotSampler
    ship_type: int
    ship_name: bytes
    row: StoredRow  # TARGET_DTYPE
    judged: dict[str, StoredRow]  # model version -> row of its panel
    reason: int  # NotJudged of its last sample
    model: str = ""  # version of the model that has the line; empty (before version 3): of the first


class ModelActivation(NamedTuple):
    """A model is active for samples from ``since`` on (Unix s), unless one that was announced later is."""

    version: str
    source: str  # name or folder from which it was loaded
    since: float


class StoredPartition(NamedTuple):
    clock: WatermarkGenerator
    activations: list[ModelActivation]  # in the order in which they were announced; empty before version 3
    stations: StationWatch  # nothing noted before version 5


class StoredVessel(msgspec.Struct, array_like=True):
    version: int
    tracker: VesselTracker
    targets: list[StoredTarget]


class _Head(msgspec.Struct, array_like=True):
    version: int  # comes first in every version; what follows is passed over


class _Target1(msgspec.Struct, array_like=True):
    number: int
    track_id: str
    sampler: SlotSampler
    ship_type: int
    ship_name: bytes
    row: bytes
    judged: dict[str, bytes]


class _Vessel1(msgspec.Struct, array_like=True):
    version: int
    tracker: VesselTracker
    targets: list[_Target1]


def _from_1(blob: bytes) -> StoredVessel:
    old = msgspec.msgpack.decode(blob, type=_Vessel1)
    targets = [
        StoredTarget(
            s.number,
            s.track_id,
            s.sampler,
            s.ship_type,
            s.ship_name,
            StoredRow(b"", s.row),
            {model: StoredRow(b"", row) for model, row in s.judged.items()},
            NotJudged.TOO_SHORT,  # until its next sample, 10 min later at most; nothing but a count rests on it
        )
        for s in old.targets
    ]
    return StoredVessel(STATE_VERSION, old.tracker, targets)


def _from_2_to_4(blob: bytes) -> StoredVessel:
    """A line's model came to the end of its array, so the newest struct reads them all."""
    old = msgspec.msgpack.decode(blob, type=StoredVessel)
    return StoredVessel(STATE_VERSION, old.tracker, old.targets)


_LOADERS: dict[int, Callable[[bytes], StoredVessel]] = {
    1: _from_1,
    2: _from_2_to_4,
    3: _from_2_to_4,
    4: _from_2_to_4,
    5: lambda blob: msgspec.msgpack.decode(blob, type=StoredVessel),
}


@lru_cache(64)
def layout(dtype: np.dtype) -> bytes:
    """Digest of names, types and places of a row's fields."""
    return hashlib.sha256(repr(dtype.descr).encode()).digest()[:DIGEST_BYTES]


def read_row(stored: StoredRow, dtype: np.dtype, what: str) -> np.void:
    """The row; raises ``StateError`` when it was written with another layout than ``dtype``."""
    if len(stored.row) != dtype.itemsize or stored.layout not in (b"", layout(dtype)):
        raise StateError(
            f"the stored state of {what} was written by another version of its detectors: run the program that wrote it, or replay the log under another APP_ID"
        )
    row: np.void = np.frombuffer(stored.row, dtype)[0]
    return row


def write_vessel(tracker: VesselTracker, targets: list[StoredTarget]) -> bytes:
    return msgspec.msgpack.encode(StoredVessel(STATE_VERSION, tracker, targets))


def read_vessel(mmsi: int, blob: bytes) -> StoredVessel:
    """What was stored by this version or an older one."""
    what = f"vessel {mmsi}"
    return _decoded(what, lambda: _LOADERS[_version(blob, what)](blob))


def write_partition(partition: StoredPartition) -> bytes:
    return msgspec.msgpack.encode((STATE_VERSION, *partition))


def read_partition(blob: bytes) -> StoredPartition:
    """The partition's clock has not changed since version 1; what comes after it did not exist before version 3 and 5."""
    what = "the partition's clock"
    version = _version(blob, what)
    if version < 3:
        return StoredPartition(
            _decoded(what, lambda: msgspec.msgpack.decode(blob, type=tuple[int, WatermarkGenerator]))[1],
            [],
            StationWatch(),
        )
    if version < 5:
        _, clock, activations = _decoded(
            what, lambda: msgspec.msgpack.decode(blob, type=tuple[int, WatermarkGenerator, list[ModelActivation]])
        )
        return StoredPartition(clock, activations, StationWatch())
    layout_5 = tuple[int, WatermarkGenerator, list[ModelActivation], StationWatch]
    return StoredPartition(*_decoded(what, lambda: msgspec.msgpack.decode(blob, type=layout_5))[1:])


def _version(blob: bytes, what: str) -> int:
    version = _decoded(what, lambda: msgspec.msgpack.decode(blob, type=_Head)).version
    if version not in _LOADERS:
        raise StateError(
            f"the stored state of {what} has version {version}, this program reads {min(_LOADERS)} to {STATE_VERSION}: run the program that wrote it, or start again under another APP_ID"
        )
    return version


def _decoded(what: str, decode: Callable[[], _T]) -> _T:
    try:
        return decode()
    except (msgspec.DecodeError, UnicodeDecodeError) as e:
        raise StateError(
            f"the stored state of {what} cannot be read ({e}): replay the log under another APP_ID"
        ) from None
