"""The largest error that each GGUF type may make, from its definition."""

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]
# Quotients of the block's largest magnitude: half a step of Q8_0's 127, a whole step of Q5_0's 16
# and Q4_0's 8 (their range is one short on the side away from the extreme).
STEPS = {"Q8_0": 0.5 / 127, "Q5_0": 1 / 16, "Q4_0": 1 / 8}
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
    blocks = magnitude.reshape(-1, 32)
    largest = blocks.max(axis=1, keepdims=True)
    # The scale's own rounding moves the value by up to that share of the largest magnitude, and
    # float16's smallest step by up to 16 (127) quanta in blocks of tiny values.
    quanta = {"Q8_0": 127, "Q5_0": 16, "Q4_0": 8}[kind]
    bound = largest * np.float32(STEPS[kind] + 2 * HALF) * np.float32(1.001) + np.float32(
        quanta * TINY
    )
    return np.broadcast_to(bound, blocks.shape).reshape(rows.shape)
