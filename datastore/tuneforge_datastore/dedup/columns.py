"""An Arrow string column as the kernels read it."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tuneforge_datastore.dedup.shingles import character_classes, normalise

if TYPE_CHECKING:
    import pyarrow as pa


# Texts that are Python objects at a time.
_PIECE = 8192


class Texts(NamedTuple):
    """Row i is ``folded`` at ``place[i]`` where that is >= 0, else ``data`` at i.

    Folded are the texts whose normal form is more than ASCII lower case; the kernels do that.
    """

    data: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    folded: NDArray[np.uint8]
    folded_offsets: NDArray[np.int64]
    place: NDArray[np.int32]
    classes: NDArray[np.uint8]

    def longest(self) -> int:
        """Give the most bytes that any row has."""
        longest = int(np.diff(self.offsets).max(initial=0))
        return max(longest, int(np.diff(self.folded_offsets).max(initial=0)))


def read(texts: "pa.Array | pa.ChunkedArray") -> Texts:
    """Read a string column, copying only what must be folded; null counts as empty."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from tuneforge_datastore.dedup import kernels

    if isinstance(texts, pa.ChunkedArray):
        texts = texts.cast(pa.large_string()).combine_chunks()
    if texts.null_count:
        texts = pc.fill_null(texts, "")
    data, offsets = _buffers(texts)
    classes = character_classes()
    unfolded = np.empty(len(texts), np.bool_)
    kernels.find_unfolded(data, offsets, classes, unfolded)
    rows = np.flatnonzero(unfolded)
    place = np.full(len(texts), -1, np.int32)
    place[rows] = np.arange(len(rows), dtype=np.int32)
    values = (
        normalise(text)
        for first in range(0, len(rows), _PIECE)
        for text in texts.take(pa.array(rows[first : first + _PIECE])).to_pylist()
    )
    folded = pa.array(values, pa.large_string(), size=len(rows))
    return Texts(data, offsets, *_buffers(folded), place, classes)


def _buffers(texts: "pa.Array") -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Give the bytes, not copied, and the offsets of a string array."""
    import pyarrow as pa

    wide = np.dtype(np.int64 if pa.types.is_large_string(texts.type) else np.int32)
    _, offsets, data = texts.buffers()
    if len(texts) == 0 or offsets is None:
        return np.zeros(0, np.uint8), np.zeros(1, np.int64)
    bounds = np.frombuffer(offsets, wide)[texts.offset : texts.offset + len(texts) + 1]
    values = np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8)
    return values, bounds.astype(np.int64)
