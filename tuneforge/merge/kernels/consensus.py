"""Sign election over several deltas; tiles of elements, so that every loop runs in vectors."""

import numpy as np
import numpy.typing as npt

from tuneforge.merge.kernels.jit import kernel

Floats = npt.NDArray[np.float32]
_TILE = 1024


@kernel
def _add(totals: Floats, values: Floats) -> None:
    for element in range(totals.shape[0]):
        totals[element] += values[element]


@kernel
def _add_agreeing(
    totals: Floats, values: Floats, factor: np.float32, weight: np.float32,
    kept: Floats, divisor: Floats,
) -> None:  # fmt: skip
    for element in range(totals.shape[0]):
        value = values[element]
        agrees = value > 0 if totals[element] >= 0 else value < 0
        kept[element] += value * factor if agrees else np.float32(0)
        divisor[element] += weight if agrees else np.float32(0)


@kernel
def _divide(kept: Floats, divisor: Floats, least: np.float32) -> None:
    for element in range(kept.shape[0]):
        below = divisor[element]
        below = max(below, least) if least > 0 else below
        kept[element] = kept[element] / below if below != 0 else kept[element]


@kernel
def elect_signs(deltas: Floats, weights: Floats, normalize: bool, merged: Floats) -> None:
    """Sum over inputs [inputs, elements] what has the sign of the total; zero total: positive.

    With ``normalize`` divide by the weights of what was summed, where they are not zero.
    """
    _elect(deltas, np.ones_like(weights), weights, normalize, np.float32(0), merged)


@kernel
def average_agreeing(deltas: Floats, weights: Floats, merged: Floats) -> None:
    """Average with ``weights`` the deltas that have the sign of their plain sum.

    The weights of what agrees count as at least 1e-6.
    """
    _elect(deltas, weights, weights, True, np.float32(1e-6), merged)


@kernel
def _elect(
    deltas: Floats, factors: Floats, weights: Floats, normalize: bool, least: np.float32,
    merged: Floats,
) -> None:  # fmt: skip
    totals = np.empty(_TILE, np.float32)
    divisors = np.empty(_TILE, np.float32)
    for start in range(0, merged.shape[0], _TILE):
        stop = min(merged.shape[0], start + _TILE)
        total, divisor, kept = totals[: stop - start], divisors[: stop - start], merged[start:stop]
        total[:] = np.float32(0)
        divisor[:] = np.float32(0)
        kept[:] = np.float32(0)
        for index in range(deltas.shape[0]):
            _add(total, deltas[index, start:stop])
        for index in range(deltas.shape[0]):
            values = deltas[index, start:stop]
            _add_agreeing(total, values, factors[index], weights[index], kept, divisor)
        if normalize:
            _divide(kept, divisor, least)
