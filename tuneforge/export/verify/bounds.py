"""The largest error that each GGUF type may make, from its definition."""

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]
# Quotients of the block's largest magnitude: half a step of Q8_0's 127, a whole step of Q5_0's 16
# and Q4_0's 8 (their range is one short on the side away from the extreme).
STEPS = {"Q8_0": 0.5 / 127, "Q5_0": 1 / 16, "Q4_0": 1 / 8}
# Shares of the largest magnitude of a block of 256 (32 in the types that llama.cpp falls back to),
# for types whose scales are quantised, too: generous, they catch a wrong order and not a bad day.
LOOSE = {
    "Q6_K": 1 / 12,
    "Q5_K": 1 / 6,
    "Q4_K": 1 / 3,
    "Q3_K": 2 / 3,
    "Q5_1": 1 / 8,
    "Q4_1": 1 / 4,
    "IQ4_NL": 1 / 3,
}
HALF = 2.0**-11  # relative rounding of float16, which holds every block's scale
TINY = 2.0**-24  # float16's smallest step, where relative rounding ends


def error_bound(kind: str, rows: Rows) -> Rows:
    """Return the bound of |stored - given| for every element of ``rows`` in a type.

    Works on blocks of 32 along the last dimension for the block types.
    """
    magnitude = np.abs(rows)
    if kind == "F32":
        return np.zeros_like(rows)
    if kind == "F16":
        return magnitude * np.float32(HALF) + np.float32(TINY)
    if kind == "BF16":
        return magnitude * np.float32(2.0**-8) + np.float32(1e-38)
    if kind in LOOSE:
        blocks = magnitude.reshape(-1, 256 if kind.endswith("_K") else 32)
        loose = blocks.max(axis=1, keepdims=True) * np.float32(LOOSE[kind]) + np.float32(TINY)
        return np.broadcast_to(loose, blocks.shape).reshape(rows.shape)
    blocks = magnitude.reshape(-1, 32)
    largest = blocks.max(axis=1, keepdims=True)
    # The scale's own rounding moves the value by up to that share of the largest magnitude, and
    # float16's smallest step by up to 16 (127) quanta in blocks of tiny values.
    quanta = {"Q8_0": 127, "Q5_0": 16, "Q4_0": 8}[kind]
    bound = largest * np.float32(STEPS[kind] + 2 * HALF) * np.float32(1.001) + np.float32(
        quanta * TINY
    )
    return np.broadcast_to(bound, blocks.shape).reshape(rows.shape)
