"""Who received a report: the ``s:`` of its tag block, or the station of its USCG suffix, for many lines at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..sentinels import STATION_BYTES, clean_station
from .timestamps import I64, U8

_SUFFIX = 22  # ,r123456789,1152921693
_SUFFIX_STATION = 10


def name_stations(reports: NDArray[np.void], buf: U8, starts: I64, ends: I64) -> None:
    """Fill ``station`` of (n,) reports, in place, from the lines that they come from, which the kernel has recognised."""
    if not len(reports):
        return
    of_tag = buf[starts] == ord("\\")
    # Behind a sentence without a suffix stands its checksum; of the suffixes that are recognised one names a station.
    of_suffix = (buf[ends - 3] != ord("*")) & (buf[ends - _SUFFIX] == ord(",")) & (buf[ends - 11] == ord(","))
    of_suffix &= (buf[ends - _SUFFIX + 1] == ord("r")) | (buf[ends - _SUFFIX + 1] == ord("b"))
    if of_suffix.any():
        at = np.flatnonzero(of_suffix)
        _name(reports, at, buf, ends[at] - _SUFFIX + 1, np.full(len(at), _SUFFIX_STATION))
    if of_tag.any():
        at = np.flatnonzero(of_tag)
        lo, hi = int(starts[at[0]]), int(ends[at[-1]])
        part = buf[lo:hi]
        colons = np.flatnonzero(part[2:] == ord(":")) + 2
        named = (
            colons[(part[colons - 1] == ord("s")) & ((part[colons - 2] == ord(",")) | (part[colons - 2] == ord("\\")))]
            + lo
        )
        stops = np.append(np.flatnonzero((part == ord(",")) | (part == ord("*"))) + lo, hi)
        closes = np.append(np.flatnonzero(part == ord("\\")) + lo, hi)
        # The last one within the block counts, as it does when read field by field.
        close = closes[np.searchsorted(closes, starts[at], side="right")]
        last = np.searchsorted(named, close) - 1
        found = (
            np.flatnonzero((last >= 0) & (named[np.maximum(last, 0)] > starts[at]))
            if len(named)
            else np.zeros(0, np.int64)
        )
        begin = named[last[found]] + 1
        length = stops[np.searchsorted(stops, begin)] - begin
        told = length > 0
        _name(reports, at[found[told]], buf, begin[told], length[told])


def _name(reports: NDArray[np.void], at: NDArray[np.int64], buf: U8, begin: I64, length: NDArray[np.int64]) -> None:
    """The bytes at ``begin`` as names; those with anything but printable ASCII are cleaned one by one."""
    if not len(at):
        return
    column = np.arange(STATION_BYTES)
    inside = column < np.minimum(length, STATION_BYTES)[:, None]
    letters = np.where(inside, buf[np.minimum(begin[:, None] + column, len(buf) - 1)], 0).astype(np.uint8)
    plain = (((letters > 0x20) & (letters < 0x7F)) | ~inside).all(axis=1)
    names = np.ascontiguousarray(letters).view(f"S{STATION_BYTES}")[:, 0]
    for i in np.flatnonzero(~plain).tolist():
        names[i] = clean_station(letters[i].tobytes())
    reports["station"][at] = names
