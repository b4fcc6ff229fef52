"""Exact selection by magnitude over a tensor that is read in blocks.

The bits of non-negative floats sort like integers: one pass counts the upper 16 bits of each
magnitude, a second the lower 16 of those in the bin that holds the wanted rank.
"""

import numpy as np
import numpy.typing as npt

from tuneforge.merge.kernels.jit import kernel
from tuneforge.merge.kernels.scalars import bits_of

Floats = npt.NDArray[np.float32]
Counts = npt.NDArray[np.int64]
_TILE = 512


@kernel
def count_upper(values: Floats, counts: Counts) -> None:
    """Count magnitudes by their upper 16 bits (65,536 bins, the upper half unused)."""
    for index in range(values.shape[0]):
        counts[(bits_of(values[index]) & np.uint32(0x7FFFFFFF)) >> np.uint32(16)] += 1


@kernel
def count_lower(values: Floats, upper: int, counts: Counts) -> None:
    """Count the lower 16 bits of magnitudes whose upper 16 bits are ``upper``."""
    for index in range(values.shape[0]):
        bits = bits_of(values[index]) & np.uint32(0x7FFFFFFF)
        if (bits >> np.uint32(16)) == upper:
            counts[bits & np.uint32(0xFFFF)] += 1


@kernel
def _keep_inside(values: Floats, low: np.int32, high: np.int32, out: Floats) -> int:
    """Keep what lies strictly between the edges; return how many lie on one."""
    edges = np.int32(0)
    for index in range(values.shape[0]):
        bits = np.int32(bits_of(values[index]) & np.uint32(0x7FFFFFFF))
        inside = (bits > low) & (bits < high)
        edges += np.int32((bits == low) | (bits == high))
        out[index] = values[index] if inside else np.float32(0)
    return edges  # type: ignore[return-value]


@kernel
def _keep_edges(values: Floats, band: Counts, seen: Counts, out: Floats) -> None:
    low, skip, high, take = band[0], band[1], band[2], band[3]
    for index in range(values.shape[0]):
        bits = np.int64(bits_of(values[index]) & np.uint32(0x7FFFFFFF))
        if bits == low:
            keep = seen[0] >= skip and (low != high or seen[0] < take)
            seen[0] += 1
            out[index] = values[index] if keep else np.float32(0)
        elif bits == high:
            out[index] = values[index] if seen[1] < take else np.float32(0)
            seen[1] += 1


@kernel
def keep_band(values: Floats, band: Counts, seen: Counts, out: Floats) -> None:
    """Copy the values whose magnitude lies in a band, zero the rest.

    ``band`` is (low bits, equals to skip, high bits, equals to take): between the two all are
    kept; of those equal to an edge, by position, only those after the skipped or before the taken.
    ``seen`` counts the equals met so far, so blocks must come in order.
    """
    low, high = np.int32(band[0]), np.int32(min(band[2], 0x7FFFFFFF))
    for start in range(0, values.shape[0], _TILE):
        stop = min(values.shape[0], start + _TILE)
        # Only tiles that hold an element on an edge are walked one by one.
        if _keep_inside(values[start:stop], low, high, out[start:stop]) > 0:
            _keep_edges(values[start:stop], band, seen, out[start:stop])
