"""Reading: the rows of a CSV and the row groups of a Parquet file -> columns, whatever stands in them."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from ... import times
from ...errors import FormatError, InputError
from ...records import Counts, Reason
from ...types import Reports
from .columns import INNER, to_reports
from .layout import Layout, parquet_layout, split_row

UNSETTLED_BYTES = 256 << 20  # of a table are kept while no row has told whether day or month comes first
_ASCII = bytes(c if c < 128 else ord("?") for c in range(256))  # the CSV reader's row handler cannot be given others


def csv_reports(blocks: Iterable[bytes], layout: Layout, path: str, chunk: int) -> Iterator[tuple[Reports, Counts]]:
    """Reports of the rows in ``blocks`` (whole lines, the header among the first). One row a line end, whatever stands in it."""
    before = layout.lines_before
    if layout.day_first is None:
        blocks, layout = _settled(blocks, layout, path)
    for block in blocks:
        text = block.replace(b"\r\n", b"\n").replace(b"\r", b" ")
        while before and text:
            _, _, text = text.partition(b"\n")
            before -= 1
        n = text.count(b"\n") + (not text.endswith(b"\n") and bool(text))
        if n:
            try:
                table = _rows(text, layout)
            except pa.ArrowException as e:
                raise InputError(f"{path}: not readable as {layout.format} CSV ({str(e).splitlines()[0]})") from None
            bad = n - table.num_rows
            for start in range(0, max(table.num_rows, 1), chunk):
                part = table.slice(start, chunk)
                reports, counts = to_reports(
                    {field: _one(part.column(name)) for field, name in layout.fields.items()},
                    layout.format,
                    layout.day_first,
                    path,
                    layout.factors,
                )
                counts.received += bad
                counts.reject(Reason.MALFORMED, bad)
                bad = 0
                yield reports, counts


def _settled(blocks: Iterable[bytes], layout: Layout, path: str) -> tuple[Iterable[bytes], Layout]:
    """The same blocks, with the order of day and month as the first row that decides it has it; None where no row needs it."""
    waiting: list[bytes] = []
    rest = iter(blocks)
    skip = layout.lines_before
    short = False
    for block in rest:
        waiting.append(block)
        lines = block.decode("latin-1").splitlines()[skip:]
        skip = 0
        values = layout.moments([split_row(line, layout.delimiter) for line in lines])
        try:
            order = times.day_comes_first(values)
        except FormatError as e:
            raise FormatError(f"{path}: {e}; write them as ISO 8601") from None
        short |= any(times.is_short_date(v) for v in values[:100])
        if order is not None or not short or sum(map(len, waiting)) > UNSETTLED_BYTES:
            return itertools.chain(waiting, rest), layout._replace(day_first=order)
    return waiting, layout


def _one(column: pa.ChunkedArray) -> pa.Array:
    combined = column.combine_chunks()
    return pa.concat_arrays(combined.chunks) if isinstance(combined, pa.ChunkedArray) else combined


def _rows(text: bytes, layout: Layout) -> pa.Table:
    """The well-formed rows, all columns as bytes."""
    # Names may be there twice: columns are told apart by their place.
    place = {name: f"{i}" for i, name in reversed(list(enumerate(layout.names)))}
    if b'"' in text:
        text = b"\n".join(_unquoted(line, layout) if b'"' in line else line for line in text.split(b"\n"))
    table = pa.csv.read_csv(
        io.BytesIO(text.translate(_ASCII)),
        read_options=pa.csv.ReadOptions(
            block_size=len(text) + 64, use_threads=False, column_names=[f"{i}" for i in range(len(layout.names))]
        ),
        parse_options=pa.csv.ParseOptions(
            delimiter=layout.delimiter, quote_char=False, ignore_empty_lines=True, invalid_row_handler=lambda _: "skip"
        ),
        convert_options=pa.csv.ConvertOptions(
            check_utf8=False,
            column_types={f"{i}": pa.binary() for i in range(len(layout.names))},
            include_columns=[place[n] for n in dict.fromkeys(layout.fields.values())],
        ),
    )
    return table.rename_columns(list(dict.fromkeys(layout.fields.values())))


def _unquoted(line: bytes, layout: Layout) -> bytes:
    """One line with its fields bare; a delimiter within a field is ``INNER``. A quote without its pair is a letter."""
    text = line.decode("latin-1")
    fields = split_row(text, layout.delimiter)
    if len(fields) != len(layout.names):
        fields = text.split(layout.delimiter)
    return layout.delimiter.join(f.replace(layout.delimiter, INNER).replace("\n", " ") for f in fields).encode(
        "latin-1", "replace"
    )


def parquet_reports(
    source: str | IO[bytes],
    archive_format: str | None,
    chunk: int,
    path: str = "",
    columns: Mapping[str, str] | None = None,
    row_groups: Sequence[int] | None = None,
) -> Iterator[tuple[Reports, Counts]]:
    """Stream a Parquet archive: MarineCadastre's columns, our own tracks, or any table of reports; of GeoParquet its points."""
    path = path or str(source)
    try:
        with pq.ParquetFile(source) as f:
            layout = parquet_layout(path, f.schema_arrow.names, archive_format, columns)
            wanted = list(dict.fromkeys(layout.fields.values()))
            for batch in f.iter_batches(batch_size=chunk, columns=wanted, row_groups=row_groups):
                yield to_reports(
                    {k: batch.column(v) for k, v in layout.fields.items()},
                    layout.format,
                    layout.day_first,
                    path,
                    layout.factors,
                )
    except (pa.ArrowException, OSError) as e:
        raise InputError(f"{path}: not readable as Parquet ({str(e).splitlines()[0]})") from None
