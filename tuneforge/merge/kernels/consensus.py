"""Sign election over several deltas, in one pass."""

import numpy as np
import numpy.typing as npt

from tuneforge.merge.kernels.jit import kernel

Floats = npt.NDArray[np.float32]


@kernel
def elect_signs(deltas: Floats, weights: Floats, normalize: bool, merged: Floats) -> None:
    """Sum over inputs [inputs, elements] what has the sign of the total; zero total: positive."""
    count = deltas.shape[0]
    for element in range(deltas.shape[1]):
        total = np.float32(0)
        for index in range(count):
            total += deltas[index, element]
        kept = np.float32(0)
        divisor = np.float32(0)
        for index in range(count):
            value = deltas[index, element]
            if (value > 0) if total >= 0 else (value < 0):
                kept += value
                divisor += weights[index]
        if normalize and divisor != 0:
            kept /= divisor
        merged[element] = kept


@kernel
def average_agreeing(deltas: Floats, weights: Floats, merged: Floats) -> None:
    """Weigh the deltas [inputs, elements] whose sign is that of their plain sum; zero: positive."""
    count = deltas.shape[0]
    for element in range(deltas.shape[1]):
        total = np.float32(0)
        for index in range(count):
            total += deltas[index, element]
        kept = np.float32(0)
        divisor = np.float32(0)
        for index in range(count):
            value = deltas[index, element]
            if (value > 0) if total >= 0 else (value < 0):
                kept += value * weights[index]
                divisor += weights[index]
        merged[element] = kept / max(divisor, np.float32(1e-6))
