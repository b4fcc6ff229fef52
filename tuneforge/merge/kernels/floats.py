"""Decode the float dtypes of weights to float32, and round float32 back, as torch rounds.

float16 and bfloat16 have compiled loops: numpy converts both several times slower.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from tuneforge.merge.kernels.jit import kernel
from tuneforge.merge.kernels.scalars import (
    brain_to_float,
    float_to_brain,
    float_to_half,
    half_to_float,
)

Bits16 = npt.NDArray[np.uint16]
Floats = npt.NDArray[np.float32]


@kernel
def _widen_brain(bits: Bits16, out: Floats) -> None:
    for index in range(bits.shape[0]):
        out[index] = brain_to_float(bits[index])


@kernel
def _narrow_brain(values: Floats, out: Bits16) -> None:
    for index in range(values.shape[0]):
        out[index] = float_to_brain(values[index])


@kernel
def _widen_half(bits: Bits16, out: Floats) -> None:
    for index in range(bits.shape[0]):
        out[index] = half_to_float(bits[index])


@kernel
def _narrow_half(values: Floats, out: Bits16) -> None:
    for index in range(values.shape[0]):
        out[index] = float_to_half(values[index])


def to_float32(values: npt.NDArray[Any], out: Floats | None = None) -> Floats:
    """Decode flat ``values`` of any float dtype to float32 (float64 is rounded)."""
    if out is None:
        out = np.empty(values.shape, np.float32)
    if values.dtype.name == "bfloat16":
        _widen_brain(values.view(np.uint16), out)
    elif values.dtype == np.float16:
        _widen_half(values.view(np.uint16), out)
    else:
        with np.errstate(over="ignore"):
            out[...] = values
    return out


def from_float32(values: Floats, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Round flat float32 ``values`` to a float dtype."""
    if dtype.name not in {"bfloat16", "float16"}:
        return values.astype(dtype, copy=False)
    bits = np.empty(values.shape, np.uint16)
    (_narrow_brain if dtype.name == "bfloat16" else _narrow_half)(values, bits)
    return bits.view(dtype)


def rounded(values: Floats, dtype: np.dtype[Any]) -> Floats:
    """Round float32 values of any shape to ``dtype`` and back."""
    if dtype == np.float32:
        return values
    flat = from_float32(np.ascontiguousarray(values).reshape(-1), dtype)
    return to_float32(flat).reshape(values.shape)
