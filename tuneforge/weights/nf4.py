"""NF4 with double quantisation, equal in every bit to bitsandbytes 0.50.2 on one CPU thread.

Weights are scaled by the largest magnitude of each 64 and rounded to the 16 quantiles of a normal
distribution; those magnitudes, less their mean, are in turn scaled by the largest of each 256 and
rounded to a table of 256 values (Dettmers et al. 2023). The details below that no paper gives are
those of the library: a reciprocal for whole blocks but a division for the last partial one, a
65,536-step grid before the 8-bit table, and the order in which torch sums a mean.

With several threads torch splits the sum of more than 32,768 blocks, which can move the mean, and
with it every weight of that tensor, by one unit in the last place.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

BLOCK: Final = 64
NESTED_BLOCK: Final = 256

CODE: Final = np.array(
    [
        -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
        -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
        0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
        0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
    ],
    dtype=np.float32,
)  # fmt: skip
_BOUNDS: Final = (CODE[:-1] + CODE[1:]) / np.float32(2)


def block_maxima(values: Floats) -> Floats:
    """Return the largest magnitude of each block of 64 of flat ``values`` (the last may be short).

    ``values`` must start on a block boundary of its tensor.
    """
    whole = values.size - values.size % BLOCK
    maxima: Floats = np.abs(values[:whole]).reshape(-1, BLOCK).max(axis=1, initial=0)
    if whole < values.size:
        last = max(np.abs(values[whole:]).max(), np.float32(1e-38))
        maxima = np.append(maxima, last)
    return maxima.astype(np.float32, copy=False)


def quantise(values: Floats, maxima: Floats) -> npt.NDArray[np.uint8]:
    """Return the 4-bit codes of flat ``values``, one a byte, given the maxima of their blocks."""
    whole = values.size - values.size % BLOCK
    scaled = np.empty_like(values)
    blocks = whole // BLOCK
    reciprocal = np.float32(1) / np.maximum(maxima[:blocks], np.float32(1e-38))
    np.multiply(
        values[:whole].reshape(-1, BLOCK), reciprocal[:, None],
        out=scaled[:whole].reshape(-1, BLOCK),
    )  # fmt: skip
    if whole < values.size:
        scaled[whole:] = values[whole:] / maxima[blocks]
    codes = np.zeros(values.size, np.uint8)
    for bound in _BOUNDS:
        codes += scaled > bound
    return codes


def dequantise(codes: npt.NDArray[np.uint8], maxima: Floats) -> Floats:
    """Turn 4-bit codes, one a byte, back into float32; round to the compute dtype afterwards."""
    values = CODE[codes]
    whole = values.size - values.size % BLOCK
    values[:whole].reshape(-1, BLOCK)[...] *= maxima[: whole // BLOCK, None]
    if whole < values.size:
        values[whole:] *= maxima[whole // BLOCK]
    return values


def pack(codes: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Put two codes in a byte, the first in the high half, as bitsandbytes stores them.

    An odd count is padded with the code of zero.
    """
    if codes.size % 2:
        codes = np.append(codes, np.uint8(7))
    high: npt.NDArray[np.uint8] = np.left_shift(codes[::2], np.uint8(4))
    return high | codes[1::2]


def nested(maxima: Floats) -> tuple[npt.NDArray[np.uint8], Floats, np.float32]:
    """Quantise block maxima: their 8-bit codes, the maxima of each 256, and the offset."""
    offset = mean(maxima)
    centred = maxima - offset
    blocks = -(-centred.size // NESTED_BLOCK)
    padded = np.zeros(blocks * NESTED_BLOCK, np.float32)
    padded[: centred.size] = centred
    rows = padded.reshape(blocks, NESTED_BLOCK)
    outer = np.abs(rows).max(axis=1)
    with np.errstate(invalid="ignore"):
        # A row of zeros gets the first code, like a division by zero in the library.
        scaled = np.clip(np.nan_to_num(rows / outer[:, None], nan=-1.0), -1, 1)
    steps = np.floor((scaled * np.float32(0.5) + np.float32(0.5)) * np.float32(65535) + 0.5)
    codes = _grid()[steps.astype(np.int64)].reshape(-1)[: centred.size]
    return codes, outer, offset


def restored(codes: npt.NDArray[np.uint8], outer: Floats, offset: np.float32) -> Floats:
    """Return the block maxima that training saw, after their own quantisation."""
    scales = np.repeat(outer, NESTED_BLOCK)[: codes.size]
    return np.asarray(dynamic_code()[codes] * scales + offset, np.float32)


def roundtrip(values: npt.NDArray[Any]) -> Floats:
    """Quantise and dequantise a whole flat float32 tensor."""
    flat = np.ascontiguousarray(values, np.float32).reshape(-1)
    maxima = block_maxima(flat)
    return dequantise(quantise(flat, maxima), restored(*nested(maxima)))


def dynamic_code() -> Floats:
    """Return the sorted table of the signed dynamic 8-bit type (Dettmers 2016)."""
    values: list[float] = [0.0, 1.0]
    for exponent in range(7):
        bounds = _linspace(2**exponent + 1)
        means = (bounds[:-1] + bounds[1:]) / np.float32(2)
        scaled = np.float32(10.0 ** (exponent - 6)) * means
        values += [*scaled.tolist(), *(-scaled).tolist()]
    return np.sort(np.array(values, np.float32))


def _linspace(count: int) -> Floats:
    """Space 0.1 to 1 as torch.linspace does: counted from the nearer end, in float32."""
    step = np.float64((np.float32(1) - np.float32(0.1)) / np.float32(count - 1))
    index = np.arange(count, dtype=np.float64)
    # Products of two float32 are exact in float64: each value is rounded once, as by an fma.
    low = np.float64(np.float32(0.1)) + step * index
    high = 1.0 - step * (count - 1 - index)
    return np.where(index < count // 2, low, high).astype(np.float32)


def _grid() -> npt.NDArray[np.uint8]:
    """Map each of 65,536 even steps over [-1, 1] to the nearest table entry."""
    code = dynamic_code()
    bounds = (code[:-1] + code[1:]) / np.float32(2)
    points = (np.arange(65536, dtype=np.float64) / 65535 * 2 - 1).astype(np.float32)
    return np.searchsorted(bounds, points, side="left").astype(np.uint8)


def mean(values: Floats) -> np.float32:
    """Return the mean as torch rounds it: eight lanes, four running sums each, cascaded."""
    lanes = 8 if values.size >= 8 else 1
    count = values.size // lanes
    partial = _row_sum(values[: count * lanes].reshape(count, lanes))
    total = np.float32(0)
    for value in values[count * lanes :]:
        total += value
    for value in partial:
        total += value
    return np.float32(total / np.float32(values.size))


def _row_sum(rows: Floats) -> Floats:
    groups = len(rows) // 4
    sums = _cascade(rows[: groups * 4].reshape(groups, 4, rows.shape[1]))
    for row in rows[groups * 4 :]:
        sums[0] += row
    for other in range(1, 4):
        sums[0] += sums[other]
    return np.asarray(sums[0], np.float32)


def _cascade(groups: Floats) -> Floats:
    """Sum over the first axis through four levels of partial sums (ATen's multi_row_sum)."""
    size = len(groups)
    power = max(4, (size - 1).bit_length() // 4) if size > 1 else 4
    step = 1 << power
    levels = np.zeros((4, *groups.shape[1:]), np.float32)
    done = 0
    while done + step <= size:
        for group in groups[done : done + step]:
            levels[0] += group
        done += step
        for level in range(1, 4):
            levels[level] += levels[level - 1]
            levels[level - 1] = 0
            if done & ((step - 1) << (level * power)):
                break
    for group in groups[done:]:
        levels[0] += group
    for level in range(1, 4):
        levels[0] += levels[level]
    return np.asarray(levels[0], np.float32)
