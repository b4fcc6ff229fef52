"""Read and check the header of one safetensors file before any of its bytes are believed.

The format: 8 bytes little-endian header length, that many bytes of JSON, then the data. A header
may lie in every field, so each is checked: length, duplicate names, dtypes, shapes, and that the
tensors tile the data exactly, without gaps, overlaps or bytes past the end of the file.
"""

import json
import math
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneforge_specs.errors import DataError

from tuneforge.weights.dtypes import NUMPY_DTYPES

MAX_HEADER = 100_000_000  # the limit of the reference implementation
MAX_DIMENSIONS = 16
_DOWNLOAD = "download or copy the file again; do not load it with anything else until you trust it"


@dataclass(frozen=True)
class TensorInfo:
    """Where one tensor lies: ``offset`` is absolute in ``file``, ``nbytes`` its length."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: Path
    offset: int
    nbytes: int

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


def read_header(path: Path) -> tuple[dict[str, TensorInfo], dict[str, str]]:
    """Return the tensors of a safetensors file, in file order, and its metadata.

    Raises DataError for anything that does not follow the format to the letter.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        raw = file.read(8)
        if len(raw) < 8:
            raise _bad(path, f"{size} bytes is too short to be a safetensors file")
        (length,) = struct.unpack("<Q", raw)
        if length > min(MAX_HEADER, size - 8):
            raise _bad(path, f"it claims a header of {length} bytes in a file of {size}")
        text = file.read(length)
    header = _parse(path, text)
    metadata = _metadata(path, header.pop("__metadata__", {}))
    data = 8 + length
    tensors = [_tensor(path, name, entry, data, size) for name, entry in header.items()]
    tensors.sort(key=lambda tensor: (tensor.offset, tensor.nbytes))
    _check_tiling(path, tensors, data, size)
    return {tensor.name: tensor for tensor in tensors}, metadata


def _parse(path: Path, text: bytes) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise _bad(path, f"its header names {twice!r} twice")
        return found

    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=unique)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise _bad(path, "its header is not JSON") from error
    if not isinstance(header, dict):
        raise _bad(path, "its header is not a JSON object")
    return header


def _metadata(path: Path, value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise _bad(path, "its metadata is not a table of strings")
    return value


def _tensor(path: Path, name: str, entry: Any, data: int, file_size: int) -> TensorInfo:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise _bad(path, f"{name!r} is not described by dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in NUMPY_DTYPES:
        raise DataError(
            f"{path}: {name!r} has dtype {dtype!r}, which Tuneforge does not read",
            f"convert the model to one of {', '.join(NUMPY_DTYPES)}",
        )
    if not _counts(shape) or len(shape) > MAX_DIMENSIONS:
        raise _bad(path, f"{name!r} has the impossible shape {str(shape)[:80]}")
    if not _counts(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise _bad(path, f"{name!r} has the impossible offsets {str(offsets)[:80]}")
    start, stop = offsets
    nbytes = math.prod(shape) * NUMPY_DTYPES[dtype].itemsize
    if stop - start != nbytes:
        raise _bad(path, f"{name!r} takes {stop - start} bytes, its shape needs {nbytes}")
    if data + stop > file_size:
        raise _bad(
            path, f"{name!r} ends at byte {data + stop} of a file of {file_size}: it is truncated"
        )
    return TensorInfo(name, dtype, tuple(shape), path, data + start, nbytes)


def _counts(values: Any) -> bool:
    return isinstance(values, list) and all(type(item) is int and item >= 0 for item in values)


def _check_tiling(path: Path, tensors: list[TensorInfo], data: int, size: int) -> None:
    position = data
    for tensor in tensors:
        if tensor.offset != position:
            fault = "overlaps the tensor before it" if tensor.offset < position else "leaves a gap"
            raise _bad(path, f"{tensor.name!r} {fault} at byte {tensor.offset}")
        position += tensor.nbytes
    if position != size:
        raise _bad(path, f"{size - position} bytes follow the last tensor")


def _bad(path: Path, what: str) -> DataError:
    return DataError(f"{path}: not a valid safetensors file: {what}", _DOWNLOAD)
