"""Sums over blocks in float64, in a fixed order."""

import numpy as np
import numpy.typing as npt

from tuneforge.merge.kernels.jit import kernel

Floats = npt.NDArray[np.float32]


@kernel
def dot(left: Floats, right: Floats) -> float:
    """Return the sum of products, eight interleaved float64 sums added in order."""
    sums = np.zeros(8, np.float64)
    even = left.shape[0] - left.shape[0] % 8
    for start in range(0, even, 8):
        for lane in range(8):
            sums[lane] += np.float64(left[start + lane]) * np.float64(right[start + lane])
    total = 0.0
    for lane in range(8):
        total += sums[lane]
    for index in range(even, left.shape[0]):
        total += np.float64(left[index]) * np.float64(right[index])
    return total


@kernel
def compare(before: Floats, after: Floats) -> tuple[int, float, float]:
    """Return how many elements differ, the squared norm of the difference, and of ``before``."""
    changed = 0
    delta = np.zeros(8, np.float64)
    base = np.zeros(8, np.float64)
    for index in range(before.shape[0]):
        old = np.float64(before[index])
        step = np.float64(after[index]) - old
        changed += step != 0.0
        delta[index & 7] += step * step
        base[index & 7] += old * old
    return changed, delta.sum(), base.sum()


@kernel
def signs(left: Floats, right: Floats) -> tuple[int, int]:
    """Count elements of one sign, and elements where neither is zero."""
    agreeing = 0
    both = 0
    for index in range(left.shape[0]):
        a, b = left[index], right[index]
        nonzero = a != 0 and b != 0
        both += nonzero
        agreeing += nonzero and ((a > 0) == (b > 0))
    return agreeing, both
