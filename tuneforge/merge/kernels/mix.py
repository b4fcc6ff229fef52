"""Weighted sums of two blocks in one pass, each product rounded before it is added."""

import numpy as np
import numpy.typing as npt

from tuneforge.merge.kernels.jit import kernel

Floats = npt.NDArray[np.float32]


@kernel
def _mix(one: Floats, a: np.float32, other: Floats, b: np.float32, out: Floats) -> None:
    for index in range(out.shape[0]):
        out[index] = one[index] * a + other[index] * b


def mixed(one: Floats, a: np.float32, other: Floats, b: np.float32) -> Floats:
    """Return ``a * one + b * other`` for float32 blocks of one shape."""
    out = np.empty(one.shape, np.float32)
    first, second = (np.ascontiguousarray(values).reshape(-1) for values in (one, other))
    _mix(first, a, second, b, out.reshape(-1))
    return out
