"""Sums over blocks in float64, in a fixed order: 32 interleaved sums, added up in order.

That many independent sums keep the vector units busy without any reordering by the compiler.
"""

import numpy as np
import numpy.typing as npt

from tuneforge.merge.kernels.jit import kernel

Floats = npt.NDArray[np.float32]
_LANES = 32


@kernel
def dot(left: Floats, right: Floats) -> float:
    """Return the sum of products of two flat arrays."""
    sums = np.zeros(_LANES, np.float64)
    rows = left.shape[0] // _LANES
    whole = rows * _LANES
    left_rows = left[:whole].reshape(rows, _LANES)
    right_rows = right[:whole].reshape(rows, _LANES)
    for row in range(rows):
        a, b = left_rows[row], right_rows[row]
        for lane in range(_LANES):
            sums[lane] += np.float64(a[lane]) * np.float64(b[lane])
    total = 0.0
    for lane in range(_LANES):
        total += sums[lane]
    for index in range(whole, left.shape[0]):
        total += np.float64(left[index]) * np.float64(right[index])
    return total


@kernel
def products(left: Floats, right: Floats) -> tuple[float, float, float]:
    """Return the sum of products of two flat arrays, and the squared norm of each."""
    sums = np.zeros((3, _LANES), np.float64)
    both, first, second = sums[0], sums[1], sums[2]
    rows = left.shape[0] // _LANES
    whole = rows * _LANES
    left_rows = left[:whole].reshape(rows, _LANES)
    right_rows = right[:whole].reshape(rows, _LANES)
    for row in range(rows):
        a, b = left_rows[row], right_rows[row]
        for lane in range(_LANES):
            x, y = np.float64(a[lane]), np.float64(b[lane])
            both[lane] += x * y
            first[lane] += x * x
            second[lane] += y * y
    for index in range(whole, left.shape[0]):
        x, y = np.float64(left[index]), np.float64(right[index])
        both[0] += x * y
        first[0] += x * x
        second[0] += y * y
    totals = np.zeros(3, np.float64)
    for lane in range(_LANES):
        totals += sums[:, lane]
    return totals[0], totals[1], totals[2]


@kernel
def compare(before: Floats, after: Floats) -> tuple[int, float, float]:
    """Return how many elements differ, the squared norm of the difference, and of ``before``."""
    changed = np.zeros(_LANES, np.int32)
    delta = np.zeros(_LANES, np.float64)
    base = np.zeros(_LANES, np.float64)
    rows = before.shape[0] // _LANES
    whole = rows * _LANES
    before_rows = before[:whole].reshape(rows, _LANES)
    after_rows = after[:whole].reshape(rows, _LANES)
    for row in range(rows):
        old, new = before_rows[row], after_rows[row]
        for lane in range(_LANES):
            step = np.float64(new[lane]) - np.float64(old[lane])
            changed[lane] += np.int32(old[lane] != new[lane])
            delta[lane] += step * step
            base[lane] += np.float64(old[lane]) * np.float64(old[lane])
    count, squares, origin = np.int64(0), 0.0, 0.0
    for lane in range(_LANES):
        count += changed[lane]
        squares += delta[lane]
        origin += base[lane]
    for index in range(whole, before.shape[0]):
        step = np.float64(after[index]) - np.float64(before[index])
        count += before[index] != after[index]
        squares += step * step
        origin += np.float64(before[index]) * np.float64(before[index])
    return count, squares, origin  # type: ignore[return-value]


@kernel
def signs(left: Floats, right: Floats) -> tuple[int, int]:
    """Count elements of one sign, and elements where neither is zero."""
    agreeing = 0
    both = 0
    for index in range(left.shape[0]):
        a, b = left[index], right[index]
        nonzero = (a != 0) & (b != 0)
        both += nonzero
        agreeing += nonzero & ((a > 0) == (b > 0))
    return agreeing, both
