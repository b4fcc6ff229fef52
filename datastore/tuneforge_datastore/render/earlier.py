"""Rows of an earlier rendering by the content of their records, read a row group at a time."""

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tuneforge_datastore.render.chunk import Chunk, ranges
from tuneforge_datastore.render.tables import REUSE, VERDICTS, schemas

# Row groups held in memory; records mostly keep their order, so that few are needed at a time.
HELD = 64


class _File:
    """A Parquet file whose rows are taken by their number."""

    def __init__(self, file: Path, schema: pa.Schema) -> None:
        self._file = pq.ParquetFile(file)
        self._schema = schema
        about = self._file.metadata
        counts = [about.row_group(group).num_rows for group in range(about.num_row_groups)]
        self._ends = np.cumsum(counts, dtype=np.int64)
        self._held: OrderedDict[int, pa.Table] = OrderedDict()

    def take(self, rows: NDArray[np.int64]) -> pa.Table:
        """Read rows in the order given."""
        if not len(rows):
            return self._schema.empty_table()
        groups = np.searchsorted(self._ends, rows, side="right")
        needed = np.unique(groups)
        read = [self._group(int(group)) for group in needed]
        firsts = np.concatenate([[0], self._ends])[needed]
        sizes = np.array([table.num_rows for table in read], np.int64)
        at = np.searchsorted(needed, groups)
        places = rows - firsts[at] + (np.cumsum(sizes) - sizes)[at]
        return pa.concat_tables(read).take(pa.array(places)).cast(self._schema)

    def _group(self, number: int) -> pa.Table:
        if number not in self._held:
            self._held[number] = self._file.read_row_group(number)
            if len(self._held) > HELD:
                self._held.popitem(last=False)
        self._held.move_to_end(number)
        return self._held[number]


class Earlier:
    """A finished rendering of the same rules; ``folder`` holds its files, whole."""

    def __init__(self, folder: Path, mode: str) -> None:
        known = pq.read_table(folder / "reuse.parquet")
        contents = _numbers(known["content"].to_pylist())
        self._order = np.argsort(contents["head"], kind="stable")
        self._contents = contents[self._order]
        files = {**schemas(mode), "verdicts": VERDICTS, "reuse": REUSE}
        self._files = {
            name: _File(folder / f"{name}.parquet", schema) for name, schema in files.items()
        }
        self._counts = {
            name: known[name].to_numpy().astype(np.int64) for name in files if name != "reuse"
        }
        self._counts["reuse"] = np.ones(known.num_rows, np.int64)
        self._starts = {name: np.cumsum(held) - held for name, held in self._counts.items()}

    def find(self, contents: Sequence[bytes]) -> NDArray[np.int64]:
        """Give for each content the number of the record that had it, -1 for none."""
        missing: NDArray[np.int64] = np.full(len(contents), -1, np.int64)
        if not len(contents) or not len(self._contents):
            return missing
        wanted = _numbers(contents)
        places = np.searchsorted(self._contents["head"], wanted["head"])
        places = np.minimum(places, len(self._contents) - 1)
        return np.where(self._contents[places] == wanted, self._order[places], missing)

    def take(self, records: NDArray[np.int64], ids: Sequence[str]) -> Chunk:
        """Give the rows of records, as those of the records that are now called ``ids``."""
        found = {}
        for name, file in self._files.items():
            counts = self._counts[name][records]
            table = file.take(ranges(self._starts[name][records], counts))
            if name != "reuse":
                names = pa.array(ids).take(pa.array(np.repeat(np.arange(len(ids)), counts)))
                table = table.set_column(0, table.schema.field("record_id"), names)
            found[name] = table
        return Chunk(**found)


def _numbers(contents: Sequence[bytes]) -> NDArray[np.void]:
    """Make digests comparable: two numbers each."""
    return np.frombuffer(b"".join(contents), np.dtype([("head", "<u8"), ("tail", "<u8")]))
