"""The rows of a dataset's sources, numbered in one order and read in bounded pieces."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from mmap import ACCESS_READ, mmap
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from tuneforge_specs.filters import Part

from tuneforge_datastore.records import PATCHED, SCHEMA

PIECE = 8192
_NEEDED: dict[Part, list[str]] = {
    "prompt": ["prompt"],
    "completion": ["completion"],
    "whole": ["prompt", "completion"],
}


@dataclass(frozen=True)
class Patch:
    """Rows that read differently than in their source: a file of them, in order of ``numbers``."""

    file: Path
    numbers: NDArray[np.int64]

    def pieces(
        self, batches: Iterator[tuple[int, pa.RecordBatch]], columns: Sequence[str]
    ) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Put the patch's rows in the place of those they replace, in those of its ``columns``."""
        with pq.ParquetFile(self.file) as file:
            waiting = file.iter_batches(PIECE, columns=list(columns))
            held: pa.Table | None = None
            for at, batch in batches:
                begin, end = np.searchsorted(self.numbers, [at, at + len(batch)]).tolist()
                count = end - begin
                if not count:
                    yield at, batch
                    continue
                while held is None or len(held) < count:
                    more = pa.Table.from_batches([next(waiting)])
                    held = more if held is None else pa.concat_tables([held, more])
                index = np.arange(len(batch))
                index[self.numbers[begin:end] - at] = np.arange(len(batch), len(batch) + count)
                yield at, _overlaid(batch, held.slice(0, count), index)
                held = held.slice(count)


def _overlaid(batch: pa.RecordBatch, new: pa.Table, index: NDArray[np.int64]) -> pa.RecordBatch:
    columns = []
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if name not in new.column_names:
            columns.append(column)
            continue
        told = new.column(name).combine_chunks()
        mine = index
        if told.null_count:  # null stands for what the source says
            silent = np.concatenate([np.zeros(len(batch), bool), ~told.is_valid().to_numpy(False)])
            mine = np.where(silent[index], np.arange(len(batch)), index)
        columns.append(pa.concat_arrays([column, told]).take(pa.array(mine)))
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema)


@dataclass(frozen=True)
class SourceRows:
    """One source's records: rows ``first`` to ``first + count`` of the dataset."""

    name: str
    folder: Path
    first: int
    count: int
    patch: Patch | None = None

    @property
    def records(self) -> Path:
        """The file of its records."""
        return self.folder / "records.parquet"

    def pieces(self, columns: Sequence[str] | None = None) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Read the records in order, with the number of each piece's first row."""
        patched = [name for name in columns or SCHEMA.names if name in PATCHED.names]
        if self.patch is not None and patched:
            return self.patch.pieces(self._pieces(columns), patched)
        return self._pieces(columns)

    def _pieces(self, columns: Sequence[str] | None) -> Iterator[tuple[int, pa.RecordBatch]]:
        at = self.first
        with pq.ParquetFile(self.records) as file:
            for batch in file.iter_batches(PIECE, columns=columns):
                yield at, batch
                at += len(batch)

    def relation(self) -> tuple[str, dict[str, str]]:
        """Write the records and their number, ``row``, as a SQL table; give its parameters too."""
        numbered = (
            f'(SELECT *, file_row_number + {self.first} AS "row" '
            "FROM read_parquet($records, file_row_number = true))"
        )
        values = {"records": str(self.records)}
        if self.patch is None:
            return numbered, values
        columns = ", ".join(
            f"coalesce(p.{name}, r.{name}) AS {name}" if name in PATCHED.names else f"r.{name}"
            for name in SCHEMA.names
        )
        table = (
            f'(SELECT r."row", {columns} FROM {numbered} r '
            'LEFT JOIN read_parquet($patch) p USING ("row"))'
        )
        return table, {**values, "patch": str(self.patch.file)}


class Rows:
    """All rows, and which of them are still alive.

    ``scratch`` is a folder for texts that must be at hand all at once; without, memory holds them.
    """

    def __init__(self, sources: Mapping[str, Path], scratch: Path | None = None) -> None:
        self.scratch = scratch
        self.sources: list[SourceRows] = []
        first = 0
        for name, folder in sources.items():
            count = pq.read_metadata(folder / "records.parquet").num_rows
            self.sources.append(SourceRows(name, folder, first, count))
            first += count
        self.alive: NDArray[np.bool_] = np.ones(first, dtype=np.bool_)

    def __len__(self) -> int:
        return len(self.alive)

    def numbers(self) -> NDArray[np.int64]:
        """Give the numbers of the rows alive."""
        return np.flatnonzero(self.alive)

    def column(self, name: str, *, alive: bool = True) -> pa.ChunkedArray:
        """Read one column of the rows alive, or of all."""
        chunks = []
        kind = pa.string()
        for source in self.sources:
            for at, batch in source.pieces([name]):
                column = batch.column(0)
                kind = column.type
                chunks.append(column.filter(self._mask(at, len(batch))) if alive else column)
        return pa.chunked_array(chunks, kind)

    def texts(self, part: Part) -> pa.LargeStringArray:
        """Read the text of a part of every row alive, as one array."""
        with TemporaryFile(dir=self.scratch) if self.scratch else BytesIO() as file:
            ends = np.zeros(int(self.alive.sum()) + 1, np.int64)
            at = 0
            for text in self._texts(part):
                lengths = pc.fill_null(pc.binary_length(text), 0).to_numpy(zero_copy_only=False)
                np.cumsum(lengths, out=ends[at + 1 : at + 1 + len(text)])
                ends[at + 1 : at + 1 + len(text)] += ends[at]
                at += len(text)
                file.write(_bytes(text))
            return pa.LargeStringArray.from_buffers(at, pa.py_buffer(ends), _held(file))

    def _texts(self, part: Part) -> Iterator[pa.Array]:
        for source in self.sources:
            for at, batch in source.pieces(_NEEDED[part]):
                yield part_text(batch.filter(self._mask(at, len(batch))), part)

    def _mask(self, at: int, count: int) -> pa.Array:
        return pa.array(self.alive[at : at + count])

    def kept_pieces(self) -> Iterator[tuple[NDArray[np.int64], pa.Table]]:
        """Read the rows alive with their numbers, in pieces that depend on the rows alone."""
        for source in self.sources:
            for at, batch in source.pieces():
                mask = self.alive[at : at + len(batch)]
                if mask.any():
                    numbers = at + np.flatnonzero(mask)
                    yield numbers, pa.Table.from_batches([batch.filter(pa.array(mask))])


def _bytes(texts: pa.Array) -> memoryview | bytes:
    """Give the bytes of a string array, one text after the other; null has none."""
    texts = pc.fill_null(texts, "")
    _, offsets, data = texts.buffers()
    if data is None:
        return b""
    bounds = np.frombuffer(offsets, np.int32)
    return memoryview(data)[bounds[texts.offset] : bounds[texts.offset + len(texts)]]


def _held(file: "BytesIO | IO[bytes]") -> pa.Buffer:
    """Give what was written: a file on disk as a map of it, which outlives its name."""
    if isinstance(file, BytesIO):
        return pa.py_buffer(file.getvalue())
    file.flush()
    if not file.tell():
        return pa.py_buffer(b"")
    return pa.py_buffer(mmap(file.fileno(), 0, access=ACCESS_READ))


def part_text(batch: Any, part: Part) -> pa.Array:
    """Give the text of a part; the whole is prompt and completion on lines of their own."""
    if part != "whole":
        return batch.column(part)
    prompt, completion = batch.column("prompt"), batch.column("completion")
    joined = pc.binary_join_element_wise(prompt, completion, "\n")
    return pc.if_else(pc.equal(prompt, ""), completion, joined)


def all_texts(folder: Path) -> pa.LargeStringArray:
    """Read the whole text of every record of one source."""
    return Rows({"": folder}).texts("whole")
