"""The compiled band buckets. Imports numba.

A bucket is an entry of an open-addressing table (one segment a band) that holds its newest record;
``older`` links each record to the one before it in the same bucket.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tuneforge_datastore.dedup.compiled import inlined, kernel

Array = Any

_TAG = np.uint64(0xFFFFFFFF00000000)
_NEWEST = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


class Buckets(NamedTuple):
    """``entries`` hold 32 bits of the band key and the newest row + 1; ``seen`` marks by row."""

    entries: NDArray[np.uint64]
    older: NDArray[np.int32]
    seen: NDArray[np.int32]
    places: NDArray[np.int64]

    @classmethod
    def holding(cls, rows: int, bands: int) -> "Buckets":
        """Make buckets for ``rows`` records; at most two thirds of the entries fill."""
        return cls(
            np.zeros((bands, rows * 3 // 2 + 8), np.uint64),
            np.empty((rows, bands), np.int32),
            np.full(rows, -1, np.int32),
            np.empty(bands, np.int64),
        )


@inlined
def newest(buckets: Array, band: int, key: Any) -> Any:
    """Find the newest row in the bucket of ``key``, -1 if it is empty; remember its place."""
    size = buckets.entries.shape[1]
    tag = (key << _HALF) & _TAG
    at = np.int64(((key >> _HALF) * np.uint64(size)) >> _HALF)
    entry = buckets.entries[band, at]
    while entry != 0 and (entry & _TAG) != tag:
        at = at + 1 if at + 1 < size else 0
        entry = buckets.entries[band, at]
    buckets.places[band] = at
    return np.int64(entry & _NEWEST) - 1


@kernel
def insert(buckets: Array, row: int, keys: Array) -> None:
    """Put a row into its buckets; ``newest`` has been called for each of them."""
    for band in range(keys.shape[0]):
        at = buckets.places[band]
        buckets.older[row, band] = np.int64(buckets.entries[band, at] & _NEWEST) - 1
        buckets.entries[band, at] = ((keys[band] << _HALF) & _TAG) | np.uint64(row + 1)
