"""Words of a text, counted over Arrow buffers: DuckDB's regular expressions take 17 us a record."""

from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from duckdb.func import ARROW, SPECIAL

NAME = "word_count"


def count_words(texts: Any) -> pa.Array:
    """Count the runs of other than ASCII white space in each text; null counts as empty."""
    if isinstance(texts, pa.ChunkedArray):
        texts = texts.combine_chunks()
    texts = texts.cast(pa.large_string()).fill_null("")
    _, offset_buffer, data_buffer = texts.buffers()
    count = len(texts)
    if data_buffer is None or count == 0:
        return pa.array(np.zeros(count, np.int64))
    offsets = np.frombuffer(offset_buffer, np.int64)[texts.offset : texts.offset + count + 1]
    data = np.frombuffer(data_buffer, np.uint8)[offsets[0] : offsets[-1]]
    bounds = offsets - offsets[0]
    inside = (data != 32) & ((data < 9) | (data > 13))
    begins = inside.copy()
    begins[1:] &= ~inside[:-1]
    # A text's first byte has no byte before it, whatever the text before it ends with.
    firsts = bounds[:-1][bounds[:-1] < bounds[1:]]
    begins[firsts] = inside[firsts]
    before = np.searchsorted(np.flatnonzero(begins), bounds)
    return pa.array(np.diff(before).astype(np.int64))


def register(connection: duckdb.DuckDBPyConnection) -> None:
    """Make ``word_count(text)`` known to a connection."""
    connection.create_function(
        NAME, count_words, ["VARCHAR"], "BIGINT", type=ARROW, null_handling=SPECIAL
    )
