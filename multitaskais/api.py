"""The functions of ``import multitaskais``: a model, reports, and what the model finds in them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from .ais.zero import nothing_read
from .config import Region
from .engine import batch
from .engine.batch import BatchResult
from .model import folder
from .model import samples as archives
from .model.folder import Model
from .types import Reports


def load_model(name_or_folder: str | Path, region: Region | None = None) -> Model:
    """A shipped model by its name (``brittany``, ``gulf``, ``anywhere``), or a model folder.

    Args:
        region: what the model must have been made for; None takes any.

    Raises:
        ModelNotFound, ModelCorrupt, WrongRegion: the message says what to do.
    """
    return folder.load(name_or_folder, region)


def load_reports(
    paths: str | Path | Iterable[str | Path],
    region: Region | None = None,
    *,
    archive_format: str | None = None,
    columns: Mapping[str, str] | None = None,
) -> Reports:
    """(n,) position reports (``records.REPORT_DTYPE``) of files, folders or patterns, in the order of the archive.

    Rows that are no report are left out; ``model.samples.load_reports`` also counts them, each under its reason.

    Args:
        region: keep reports inside its box alone; None keeps all.
        archive_format: as ``multitaskais decode --format``; found by the content where it is None.
        columns: names of the columns of a table that are not found by themselves.

    Raises:
        InputError, FormatError: there is no report in it, or the format is not known.
    """
    paths = [paths] if isinstance(paths, str | Path) else list(paths)
    reports, counts = archives.load_reports(paths, region, archive_format, columns)
    if not counts.accepted:
        raise nothing_read([str(p) for p in paths], counts, archive_format)
    return reports


def detect(model: Model, reports: Reports) -> BatchResult:
    """What the model finds in (n,) reports in any order: ``alerts`` (each revision), ``verdicts``, ``counts``.

    The same as the live operator finds in the same reports; nothing comes after the last one, so all tracks are closed.
    """
    return batch.run(model, reports)
