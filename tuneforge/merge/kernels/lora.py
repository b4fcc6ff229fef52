"""The product of two low-rank factors, with the roundings of the BLAS that torch calls.

MKL's sgemm adds the terms of one output element in order of k, each with one fused multiply-add.
Above 192 terms it sums blocks and adds the block sums: k // 2 terms each below 384, 192 each from
there on (found by search over block lengths on torch 2.13 with MKL 2024.2, equal in every bit for
all shapes with at least 16 columns and 4 rows; below that it uses other kernels that differ in the
last bit). OpenBLAS, which numpy calls, splits the sum in two for some tiles and so differs in the
last bit of a few elements in a hundred.
"""

import numpy as np
import numpy.typing as npt

from tuneforge.merge.kernels.jit import kernel
from tuneforge.merge.kernels.scalars import fma

Floats = npt.NDArray[np.float32]
_BLOCK = 192
_TILE = 512


def block_length(k: int) -> int:
    """Return how many terms MKL sums at a time for a product over ``k`` terms."""
    if k <= _BLOCK:
        return max(k, 1)
    return k // 2 if k < 2 * _BLOCK else _BLOCK


def product(left: Floats, right: Floats, scale: np.float32) -> Floats:
    """Return ``(left @ right) * scale`` for contiguous float32 factors [m, k] and [k, n]."""
    out = np.empty((left.shape[0], right.shape[1]), np.float32)
    _product(left, right, scale, out, block_length(left.shape[1]))
    return out


@kernel
def _eight(
    sums: Floats, factors: Floats, a0: Floats, a1: Floats, a2: Floats, a3: Floats,
    a4: Floats, a5: Floats, a6: Floats, a7: Floats,
) -> None:  # fmt: skip
    b0, b1, b2, b3 = factors[0], factors[1], factors[2], factors[3]
    b4, b5, b6, b7 = factors[4], factors[5], factors[6], factors[7]
    for j in range(sums.shape[0]):
        value = fma(b0, a0[j], sums[j])
        value = fma(b1, a1[j], value)
        value = fma(b2, a2[j], value)
        value = fma(b3, a3[j], value)
        value = fma(b4, a4[j], value)
        value = fma(b5, a5[j], value)
        value = fma(b6, a6[j], value)
        sums[j] = fma(b7, a7[j], value)


@kernel
def _one(sums: Floats, factor: np.float32, a0: Floats) -> None:
    for j in range(sums.shape[0]):
        sums[j] = fma(factor, a0[j], sums[j])


@kernel
def _product(left: Floats, right: Floats, scale: np.float32, out: Floats, block: int) -> None:
    k = left.shape[1]
    n = right.shape[1]
    buffer = np.empty(_TILE, np.float32)
    # A tile of columns stays in the cache while every row passes over it.
    for start in range(0, n, _TILE):
        stop = min(n, start + _TILE)
        sums = buffer[: stop - start]
        for row in range(left.shape[0]):
            target = out[row, start:stop]
            for first in range(0, k, block):
                last = min(k, first + block)
                sums[:] = np.float32(0)
                p = first
                while p + 8 <= last:
                    _eight(
                        sums, left[row, p : p + 8],
                        right[p, start:stop], right[p + 1, start:stop],
                        right[p + 2, start:stop], right[p + 3, start:stop],
                        right[p + 4, start:stop], right[p + 5, start:stop],
                        right[p + 6, start:stop], right[p + 7, start:stop],
                    )  # fmt: skip
                    p += 8
                while p < last:
                    _one(sums, left[row, p], right[p, start:stop])
                    p += 1
                if first == 0:
                    target[:] = sums
                else:
                    target += sums
            target *= scale


@kernel
def row_norms(weights: Floats, out: Floats) -> None:
    """Write the L2 norm of each row as torch.linalg.norm(dim=1) rounds it.

    Eight interleaved float32 sums, added in order, then the rest one by one; product and sum are
    rounded apart.
    """
    columns = weights.shape[1]
    even = columns - columns % 8
    lanes = np.empty(8, np.float32)
    for row in range(weights.shape[0]):
        values = weights[row]
        lanes[:] = np.float32(0)
        for start in range(0, even, 8):
            for lane in range(8):
                value = values[start + lane]
                lanes[lane] += value * value
        total = lanes[0]
        for lane in range(1, 8):
            total += lanes[lane]
        for column in range(even, columns):
            total += values[column] * values[column]
        out[row] = np.sqrt(total)


@kernel
def add_column_squares(weights: Floats, sums: Floats) -> None:
    """Add the squares of each column to ``sums``, row by row, as torch does along a stride."""
    for row in range(weights.shape[0]):
        values = weights[row]
        for column in range(weights.shape[1]):
            sums[column] += values[column] * values[column]
