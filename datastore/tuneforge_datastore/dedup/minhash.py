"""The compiled MinHash band keys. Imports numba."""

from typing import Any

import numpy as np

from tuneforge_datastore.dedup.compiled import kernel
from tuneforge_datastore.dedup.words import MULTIPLIER, mix, row_runs

Array = Any


@kernel
def band_keys(
    texts: Array,
    first: int,
    ngram: int,
    scratch: int,
    multipliers: Array,
    increments: Array,
    rows: int,
    keys: Array,
    filled: Array,
) -> None:
    """Fill ``keys[r]`` with the band keys of row ``first + r``, ``filled[r]`` with 1 if it has any.

    MinHash as datasketch defines it (the least value of each of many hash functions over the
    shingles), with multiply-add functions modulo 2^32 that the compiler turns into SIMD.
    """
    words = np.empty(scratch, np.uint64)
    wide = np.empty(scratch, np.uint64)
    narrow = np.empty(scratch, np.uint32)
    for r in range(keys.shape[0]):
        count = row_runs(texts, first + r, ngram, words, wide)
        filled[r] = count > 0
        for s in range(count):
            narrow[s] = np.uint32(wide[s] >> np.uint64(32))
        for band in range(keys.shape[1]):
            key = np.uint64(band)
            for p in range(band * rows, band * rows + rows):
                a = multipliers[p]
                b = increments[p]
                least = np.uint32(0xFFFFFFFF)
                for s in range(count):
                    value = np.uint32(a * narrow[s] + b)
                    least = min(least, value)
                key = (key ^ np.uint64(least)) * MULTIPLIER
                key ^= key >> np.uint64(29)
            keys[r, band] = mix(key)
