"""Random numbers that are a function of (key, index): any order, any thread, the same mask.

SplitMix64 (Steele, Lea, Flood 2014) as a counter-based generator: the output function applied to
``key + index * golden``. The upper 32 bits are used.
"""

import hashlib

import numpy as np
import numpy.typing as npt

from tuneforge.merge.kernels.jit import kernel

Floats = npt.NDArray[np.float32]


def stream_key(seed: int, *names: str | int) -> int:
    """Derive the 64-bit key of a stream from the seed and what it is for."""
    text = "\0".join(str(part) for part in (seed, *names)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


@kernel
def _mix(counter: np.uint64) -> np.uint64:
    value = (counter ^ (counter >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@kernel
def keep_random(
    values: Floats, key: np.uint64, offset: int, chance: float, factor: np.float32, out: Floats
) -> None:
    """Keep each value with probability ``chance`` times ``factor``, zero the rest.

    Element ``i`` of the block is number ``offset + i`` of the stream.
    """
    threshold = np.uint64(chance * 4294967296.0)
    for index in range(values.shape[0]):
        counter = key + np.uint64(offset + index + 1) * np.uint64(0x9E3779B97F4A7C15)
        draw = _mix(counter) >> np.uint64(32)
        out[index] = values[index] * factor if draw < threshold else np.float32(0)


@kernel
def keep_each(
    values: Floats, key: np.uint64, offset: int, chances: Floats, rescale: bool, out: Floats
) -> None:
    """Keep each value with its own chance, divided by that chance with ``rescale``."""
    for index in range(values.shape[0]):
        counter = key + np.uint64(offset + index + 1) * np.uint64(0x9E3779B97F4A7C15)
        draw = _mix(counter) >> np.uint64(32)
        chance = chances[index]
        if draw < np.uint64(np.float64(chance) * 4294967296.0):
            out[index] = values[index] / chance if rescale else values[index]
        else:
            out[index] = np.float32(0)
