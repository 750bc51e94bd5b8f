"""Why an input gave nothing, in one line: how much was left out, the chief reason, an example, what to do. Nothing is no success."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..errors import InputError
from ..records import Counts, Reason
from .archives import STDIN, list_files, open_archive

SHOWN_CHARS = 80

_REMEDY: dict[Reason, str] = {
    Reason.NOT_AIS: "no line has an AIS sentence (!AIVDM,...) and none is the header of a table of reports; give --format or, for a table, --columns",
    Reason.NO_TIME: "no time is read in them; give archives with times, or say where it is (--columns t=... for a table, --columns year=2024 for stamps without a year, decode --at for sentences)",
    Reason.CHECKSUM: "the sentences' checksums are wrong: they were changed or cut on their way",
    Reason.MALFORMED: "the lines or rows are cut or mixed up",
    Reason.INCOMPLETE: "parts of messages without the others",
    Reason.OWN_SHIP: "the ship's own position (!..VDO) is not judged; give what its receiver hears (!..VDM)",
    Reason.NOT_A_POSITION: "messages, but no position reports",
    Reason.BAD_MMSI: "no MMSI of a ship is in them; for a table say which column it is with --columns mmsi=...",
    Reason.NO_POSITION: "their positions are not available or no numbers of degrees; for a table say which columns they are with --columns lat=...,lon=...",
    Reason.OUT_OF_REGION: "all lie outside of the region: give another --model or profile",
    Reason.SOG_NOT_AVAILABLE: "their speed is not available; for a table say which column it is with --columns sog=...",
    Reason.TOO_FAST: "all are faster than 30 kn: tracks hold none of these, and detect judges them beside the tracks, from two reports on (docs/limits.md)",
}


def nothing_read(
    paths: Iterable[str],
    counts: Counts,
    archive_format: str | None = None,
    columns: Mapping[str, str] | None = None,
    what: str = "no report",
) -> InputError:
    """The error of an input of which nothing is left. ``counts``: of all its lines or rows."""
    names = [str(p) for p in paths]
    where = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    if not counts.rejected:
        return InputError(f"{where}: {what}: the input has no line" if not counts.received else f"{where}: {what}")
    reason, n = max(counts.rejected.items(), key=lambda item: item[1])
    others = ", ".join(f"{r} {m:,}" for r, m in sorted(counts.rejected.items(), key=lambda i: -i[1]) if r is not reason)
    example = (
        _example(names, archive_format, columns)
        if reason in (Reason.NOT_AIS, Reason.NO_TIME, Reason.MALFORMED, Reason.CHECKSUM)
        else ""
    )
    remedy = _REMEDY.get(reason, "see docs/decoding.md")
    text = f"{where}: {what} in {counts.received:,} lines or rows, {n:,} of them {reason}: {remedy}"
    return InputError(
        text + (f"; it begins {example!r}" if example else "") + (f" (others: {others})" if others else "")
    )


def _example(paths: list[str], archive_format: str | None, columns: Mapping[str, str] | None) -> str:
    """The first line with anything in it, cut."""
    try:
        for path in list_files(paths).paths:
            if path == STDIN:
                return ""
            for archive in open_archive(path, archive_format, columns):
                if not archive.is_parquet:
                    for line in archive.head.splitlines():
                        if line.strip():
                            return line.strip()[:SHOWN_CHARS].decode("ascii", "replace")
    except InputError:
        pass
    return ""


def notes_of(counts: Counts) -> list[str]:
    """What a summary says beside the counts: how well the stamps agree, and which columns lost more than 1 % of their values."""
    return counts.stamps.told() + [
        f"{n:,} of {counts.accepted:,} values of {name} cannot be and were left empty"
        for name, n in sorted(counts.blanked.items())
        if n > 0.01 * max(counts.accepted, 1)
    ]
