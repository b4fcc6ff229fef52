"""CSV, TSV, Parquet and plain text files to rows."""

import csv
import tempfile
from collections.abc import Iterator
from functools import partial
from typing import IO, Any

from tuneforge_datastore.ingest.jsonlines import BOM
from tuneforge_datastore.ingest.lines import MAX_ROW_BYTES, TooLong, lines
from tuneforge_datastore.ingest.rows import Broken, BrokenFile, Row

# A file of a few bytes may hold a large cell many times over: few rows are unpacked at once.
_TOGETHER = 16


def read_csv(
    stream: IO[bytes], delimiter: str = "", limit: int = MAX_ROW_BYTES
) -> Iterator[Row | Broken]:
    """Read rows under a header line; without a ``delimiter``: comma, or semicolon if no comma."""
    text = _text_lines(stream, limit)
    header_line = next(text, "")
    delimiter = delimiter or (";" if ";" in header_line and "," not in header_line else ",")
    csv.field_size_limit(limit)
    header = next(csv.reader([header_line], delimiter=delimiter), [])
    header = [name.strip() or f"column{place}" for place, name in enumerate(header, 1)]
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise BrokenFile(1, f"the header names {', '.join(twice)} more than once")
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    while True:
        line = reader.line_num + 2
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield Broken(line, f"broken CSV: {error}")
            continue
        if cells is None:
            return
        if len(cells) == len(header):
            yield Row(line, dict(zip(header, cells, strict=True)))
        elif cells:
            reason = f"{len(cells)} fields where the header has {len(header)}"
            yield Broken(line, reason, delimiter.join(cells)[:2000])


def _single(batch: Any) -> Iterator[Any]:
    for place in range(len(batch)):
        yield batch.slice(place, 1)


read_tsv = partial(read_csv, delimiter="\t")


def _text_lines(stream: IO[bytes], limit: int) -> Iterator[str]:
    for number, line in enumerate(lines(stream, limit), 1):
        if isinstance(line, TooLong):
            raise BrokenFile(number, f"the line is longer than {limit:,} bytes")
        begin = len(BOM) if number == 1 and line.startswith(BOM) else 0
        yield line[begin:].decode("utf-8", "surrogateescape") + "\n"


def read_text(stream: IO[bytes], limit: int = MAX_ROW_BYTES) -> Iterator[Row | Broken]:
    """Read each line that is not blank as a row of one column, ``text``."""
    for number, line in enumerate(lines(stream, limit), 1):
        if isinstance(line, TooLong):
            yield Broken(number, f"the line is longer than {limit:,} bytes")
            continue
        begin = len(BOM) if number == 1 and line.startswith(BOM) else 0
        text = line[begin:].decode("utf-8", "surrogateescape")
        if text.strip():
            yield Row(number, {"text": text})


def read_parquet(stream: IO[bytes], limit: int = MAX_ROW_BYTES) -> Iterator[Row | Broken]:
    """Read rows batch by batch; what cannot seek is spooled to a temporary file first."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with tempfile.TemporaryFile() as spool:
        if not stream.seekable():
            while chunk := stream.read(1 << 20):
                spool.write(chunk)
            spool.seek(0)
            stream = spool
        number = 0
        try:
            for batch in pq.ParquetFile(stream).iter_batches(_TOGETHER):
                for row in [batch] if batch.nbytes <= limit else _single(batch):
                    if row.nbytes > limit:
                        number += 1
                        yield Broken(number, f"the row is larger than {limit:,} bytes")
                        continue
                    for values in row.to_pylist():
                        number += 1
                        yield Row(number, values)
        except (pa.ArrowException, OSError) as error:
            raise BrokenFile(number + 1, f"not readable as Parquet: {error}") from None
