"""The rows of a dataset's sources, numbered in one order and read in bounded pieces."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from tuneforge_specs.filters import Part

PIECE = 8192
_NEEDED: dict[Part, list[str]] = {
    "prompt": ["prompt"],
    "completion": ["completion"],
    "whole": ["prompt", "completion"],
}


@dataclass(frozen=True)
class SourceRows:
    """One source's records: rows ``first`` to ``first + count`` of the dataset."""

    name: str
    folder: Path
    first: int
    count: int

    @property
    def records(self) -> Path:
        """The file of its records."""
        return self.folder / "records.parquet"

    def pieces(self, columns: Sequence[str] | None = None) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Read the records in order, with the number of each piece's first row."""
        at = self.first
        with pq.ParquetFile(self.records) as file:
            for batch in file.iter_batches(PIECE, columns=columns):
                yield at, batch
                at += len(batch)


class Rows:
    """All rows, and which of them are still alive."""

    def __init__(self, sources: Mapping[str, Path]) -> None:
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
        chunks = []
        for source in self.sources:
            for at, batch in source.pieces(_NEEDED[part]):
                chunks.append(part_text(batch.filter(self._mask(at, len(batch))), part))
        return pa.chunked_array(chunks, pa.string()).cast(pa.large_string()).combine_chunks()

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
