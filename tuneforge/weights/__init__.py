"""Safetensors model folders without torch: validated headers, bounded reads, streamed writes."""

from tuneforge.weights.dtypes import NUMPY_DTYPES, numpy_dtype
from tuneforge.weights.folder import Weights, open_weights
from tuneforge.weights.header import TensorInfo, read_header
from tuneforge.weights.writer import Entry, ShardWriter, parse_size

__all__ = [
    "NUMPY_DTYPES",
    "Entry",
    "ShardWriter",
    "TensorInfo",
    "Weights",
    "numpy_dtype",
    "open_weights",
    "parse_size",
    "read_header",
]
