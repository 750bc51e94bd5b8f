"""Who received a report: the ``s:`` of its tag block, or the station of its USCG suffix, for many lines at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...types import Reports
from ..sentinels import STATION_BYTES, clean_station
from .timestamps import I64, U8

_SUFFIX = 22  # ,r123456789,1152921693
_SUFFIX_STATION = 10
# By length: which of the first bytes are the name's.
_INSIDE = np.where(np.arange(STATION_BYTES) < np.arange(STATION_BYTES + 1)[:, None], 255, 0).astype(np.uint8)


def name_stations(reports: Reports, buf: U8, starts: I64, ends: I64) -> bool:
    """Fill ``station`` of (n,) reports, in place, from the lines that they come from, which the kernel has recognised; whether any has one."""
    if not len(reports):
        return False
    # Behind a sentence without a suffix stands its checksum; of the suffixes that are recognised one names a station.
    at = np.flatnonzero(buf[ends - 3] != ord("*"))
    if len(at):
        end = ends[at]
        letter = buf[end - _SUFFIX + 1]
        at = at[
            (buf[end - _SUFFIX] == ord(","))
            & (buf[end - 11] == ord(","))
            & ((letter == ord("r")) | (letter == ord("b")))
        ]
        if len(at):
            reports["station"][at] = _windows(buf, ends[at] - _SUFFIX + 1, _SUFFIX_STATION).view(f"S{_SUFFIX_STATION}")[
                :, 0
            ]
    tagged = np.flatnonzero(buf[starts] == ord("\\"))
    found = tagged[:0]
    if len(tagged):
        lo, hi = int(starts[tagged[0]]), int(ends[tagged[-1]])
        colons = np.flatnonzero(buf[lo:hi] == ord(":")) + lo
        colons = colons[buf[colons - 1] == ord("s")]
        before = buf[colons - 2]
        colons = colons[(before == ord(",")) | (before == ord("\\"))]
        # Of a recognised line only its tag block can hold such a field: the payload of a position begins with no "s".
        line = np.searchsorted(starts[tagged], colons, side="right") - 1
        of_line = (line >= 0) & (colons < ends[tagged[np.maximum(line, 0)]])
        colons, line = colons[of_line], line[of_line]
        if len(line):
            last = np.append(line[1:] != line[:-1], True)  # the last field counts, as when they are read one by one
            colons, line = colons[last], line[last]
            first = buf[colons + 1]
            told = (first != ord(",")) & (first != ord("*")) & (first != ord("\\"))
            found = tagged[line[told]]
            _name(reports, found, buf, colons[told] + 1)
    return bool(len(at) or len(found))


def _windows(buf: U8, begin: I64, width: int) -> U8:
    """(n, width) bytes from each position on."""
    window = np.ndarray((len(buf) - width + 1,), dtype=f"V{width}", buffer=buf, strides=(1,))
    return window[begin].view(np.uint8).reshape(len(begin), width)


def _name(reports: Reports, at: NDArray[np.int64], buf: U8, begin: I64) -> None:
    """What stands at ``begin`` up to the end of the field; names with anything but printable ASCII are cleaned one by one."""
    if not len(at):
        return
    letters = _windows(buf, begin, STATION_BYTES)
    ends = (letters == ord(",")) | (letters == ord("*")) | (letters == ord("\\"))
    ends[:, -1] |= ~ends.any(axis=1)
    length = ends.argmax(axis=1)
    length += (length == STATION_BYTES - 1) & (letters[:, -1] != ord(",")) & (letters[:, -1] != ord("*")) & (letters[:, -1] != ord("\\"))  # fmt: skip
    letters &= _INSIDE[length]
    names = letters.view(f"S{STATION_BYTES}")[:, 0]
    strange = ((letters - np.uint8(0x21)) > np.uint8(0x7E - 0x21)) & (letters != 0)
    if strange.any():
        for i in np.flatnonzero(strange.any(axis=1)).tolist():
            names[i] = clean_station(letters[i].tobytes().rstrip(b"\0"))
    reports["station"][at] = names
