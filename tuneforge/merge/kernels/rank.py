"""Rank the magnitudes of each row, equal ones by position: a stable radix sort by bytes."""

import numpy as np
import numpy.typing as npt

from tuneforge.merge.kernels.jit import kernel
from tuneforge.merge.kernels.scalars import bits_of

Floats = npt.NDArray[np.float32]
Order = npt.NDArray[np.int32]
_INFINITY = np.uint32(0x7F800000)


@kernel
def _sort_byte(
    keys: npt.NDArray[np.uint32], counts: Order, shift: np.uint32, order: Order, sorted_: Order
) -> bool:
    """Sort ``order`` by one byte of its keys into ``sorted_``; say whether there was any need."""
    total = np.int32(0)
    for place in range(256):
        count = counts[place]
        if count == order.shape[0]:
            return False
        counts[place] = total
        total += count
    for place in range(order.shape[0]):
        index = order[place]
        digit = (keys[index] >> shift) & np.uint32(255)
        sorted_[counts[digit]] = index
        counts[digit] += np.int32(1)
    return True


@kernel
def spread_by_rank(values: Floats, ramp: Floats, out: Floats) -> None:
    """Give the element of rank ``i`` in its row [rows, columns] the number ``ramp[i]``.

    NaN ranks above all.
    """
    columns = values.shape[1]
    keys = np.empty(columns, np.uint32)
    order, spare = np.empty(columns, np.int32), np.empty(columns, np.int32)
    counts = np.empty((4, 256), np.int32)
    for row in range(values.shape[0]):
        counts[:] = 0
        for column in range(columns):
            bits = bits_of(values[row, column]) & np.uint32(0x7FFFFFFF)
            if bits > _INFINITY:
                bits = np.uint32(0x7FFFFFFF)
            keys[column] = bits
            order[column] = column
            for byte in range(4):
                counts[byte, (bits >> np.uint32(8 * byte)) & np.uint32(255)] += np.int32(1)
        for byte in range(4):
            if _sort_byte(keys, counts[byte], np.uint32(8 * byte), order, spare):
                order, spare = spare, order
        for place in range(columns):
            out[row, order[place]] = ramp[place]
