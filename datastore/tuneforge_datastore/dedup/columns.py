"""An Arrow string column as the kernels read it."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tuneforge_datastore.dedup.shingles import character_classes, normalise

if TYPE_CHECKING:
    import pyarrow as pa


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
        """Give the most words that any row can have."""
        longest = int(np.diff(self.offsets).max(initial=0))
        return max(longest, int(np.diff(self.folded_offsets).max(initial=0))) // 2 + 1


def read(texts: "pa.Array | pa.ChunkedArray") -> Texts:
    """Read a string column without copying ASCII text; null counts as empty."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if isinstance(texts, pa.ChunkedArray):
        texts = texts.cast(pa.large_string()).combine_chunks()
    if texts.null_count:
        texts = pc.fill_null(texts, "")
    data, offsets = _buffers(texts)
    place = np.full(len(texts), -1, np.int32)
    foreign = np.flatnonzero(~pc.string_is_ascii(texts).to_numpy(zero_copy_only=False))
    place[foreign] = np.arange(len(foreign), dtype=np.int32)
    values = (normalise(text) for text in texts.take(pa.array(foreign)).to_pylist())
    folded = pa.array(values, pa.large_string(), size=len(foreign))
    return Texts(data, offsets, *_buffers(folded), place, character_classes())


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
