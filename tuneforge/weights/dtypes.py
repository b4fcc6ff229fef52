"""The dtype names of safetensors, as numpy knows them."""

from typing import Any

import ml_dtypes
import numpy as np

NUMPY_DTYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype(np.float64),
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
    "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
    "I64": np.dtype(np.int64),
    "I32": np.dtype(np.int32),
    "I16": np.dtype(np.int16),
    "I8": np.dtype(np.int8),
    "U64": np.dtype(np.uint64),
    "U32": np.dtype(np.uint32),
    "U16": np.dtype(np.uint16),
    "U8": np.dtype(np.uint8),
    "BOOL": np.dtype(np.bool_),
}

# What arithmetic is done on; everything else is carried as bytes.
MERGEABLE = frozenset({"F64", "F32", "F16", "BF16"})

TORCH_NAMES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
FROM_TORCH = {name: code for code, name in TORCH_NAMES.items()}


def numpy_dtype(name: str) -> np.dtype[Any]:
    """Give the numpy dtype of a safetensors dtype name (``BF16`` through ml_dtypes)."""
    return NUMPY_DTYPES[name]
