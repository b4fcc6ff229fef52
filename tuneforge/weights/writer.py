"""Write safetensors shards as a stream: headers first, space reserved, tensors in any order."""

import errno
import json
import os
import re
import shutil
import struct
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from tuneforge_specs.errors import DataError, EnvironmentMissing, UsageError

from tuneforge.weights.dtypes import numpy_dtype
from tuneforge.weights.folder import INDEX, SINGLE, Weights

_UNITS = {"MB": 10**6, "GB": 10**9, "MiB": 2**20, "GiB": 2**30}
_CHUNK = 8 << 20
_NO_FAST_COPY = {errno.EXDEV, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EPERM}


@dataclass(frozen=True)
class Entry:
    """A tensor to be written."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Bytes it takes."""
        return int(np.prod(self.shape, dtype=np.int64)) * numpy_dtype(self.dtype).itemsize


def parse_size(text: str) -> int:
    """Turn ``5GB`` or ``500 MiB`` into bytes."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(MB|GB|MiB|GiB)", text)
    if match is None:
        raise UsageError(f"{text!r} is not a size", "write for example 5GB or 500MiB")
    return int(float(match[1]) * _UNITS[match[2]])


def plan_shards(entries: Sequence[Entry], shard_size: int) -> list[list[Entry]]:
    """Fill shards in order, none above ``shard_size`` unless one tensor alone is."""
    shards: list[list[Entry]] = [[]]
    used = 0
    for entry in entries:
        if shards[-1] and used + entry.nbytes > shard_size:
            shards.append([])
            used = 0
        shards[-1].append(entry)
        used += entry.nbytes
    return shards


class ShardWriter:
    """Reserves the shards of a model in ``folder``, takes their bytes, and closes with the index.

    ``write`` and ``copy`` are positioned: threads may fill different tensors at once. A full disk
    is found when the space is reserved. Raises EnvironmentMissing when the folder cannot take it.
    """

    def __init__(
        self,
        folder: Path,
        entries: Sequence[Entry],
        shard_size: int,
        metadata: Mapping[str, str] | None = None,
        single: str = SINGLE,
    ) -> None:
        self.folder = folder
        self._places: dict[str, tuple[int, int]] = {}  # name -> descriptor, absolute offset
        self._descriptors: list[int] = []
        # The kernel lets one thread at a time write to a file; the others would spin for it.
        self._turns: dict[int, threading.Lock] = {}
        self.files: dict[str, str] = {}
        self.total = sum(entry.nbytes for entry in entries)
        shards = plan_shards(entries, shard_size)
        with _clear_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(folder).free
            if self.total > free:
                raise OSError(errno.ENOSPC, f"{self.total} bytes needed, {free} free")
            for number, shard in enumerate(shards, start=1):
                name = single
                if len(shards) > 1:
                    name = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
                self._reserve(name, shard, dict(metadata or {"format": "pt"}))
            if len(shards) > 1:
                self._write_index()

    def _reserve(self, name: str, entries: list[Entry], metadata: dict[str, str]) -> None:
        header: dict[str, Any] = {"__metadata__": metadata}
        position = 0
        # Wide dtypes first: every tensor then starts on a multiple of its item size.
        ordered = sorted(entries, key=lambda entry: -numpy_dtype(entry.dtype).itemsize)
        for entry in ordered:
            header[entry.name] = {
                "dtype": entry.dtype,
                "shape": list(entry.shape),
                "data_offsets": [position, position + entry.nbytes],
            }
            position += entry.nbytes
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        text += b" " * (-len(text) % 8)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        descriptor = os.open(self.folder / name, flags, 0o666)
        self._descriptors.append(descriptor)
        self._turns[descriptor] = threading.Lock()
        start = 8 + len(text)
        _allocate(descriptor, start + position)
        os.pwrite(descriptor, struct.pack("<Q", len(text)) + text, 0)
        for entry in ordered:
            offset = start + header[entry.name]["data_offsets"][0]
            self._places[entry.name] = (descriptor, offset)
            self.files[entry.name] = name

    def _write_index(self) -> None:
        index = {"metadata": {"total_size": self.total}, "weight_map": self.files}
        (self.folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", "utf-8")

    def write(self, name: str, start: int, values: npt.NDArray[Any]) -> None:
        """Write elements of a tensor, taken as flat, from element ``start`` on."""
        descriptor, offset = self._places[name]
        view = np.ascontiguousarray(values).reshape(-1).view(np.uint8).data
        position = offset + start * values.itemsize
        with _clear_errors(self.folder), self._turns[descriptor]:
            while view:
                count = os.pwrite(descriptor, view, position)
                view, position = view[count:], position + count

    def copy(self, name: str, source: Weights, source_name: str | None = None) -> None:
        """Copy a tensor's bytes as they are, inside the kernel where the file system can."""
        tensor = source[source_name or name]
        target, position = self._places[name]
        descriptor = source.descriptor(tensor.file)
        done = 0
        with _clear_errors(self.folder):
            try:
                while done < tensor.nbytes:
                    count = os.copy_file_range(
                        descriptor, target, tensor.nbytes - done, tensor.offset + done,
                        position + done,
                    )  # fmt: skip
                    if count == 0:
                        break
                    done += count
            except OSError as error:
                if error.errno not in _NO_FAST_COPY:
                    raise
            while done < tensor.nbytes:
                piece = os.pread(
                    descriptor, min(_CHUNK, tensor.nbytes - done), tensor.offset + done
                )
                if not piece:
                    raise DataError(f"{tensor.file}: ends inside {tensor.name!r}", "restore it")
                done += os.pwrite(target, piece, position + done)

    def close(self) -> None:
        """Close the shards."""
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _allocate(descriptor: int, size: int) -> None:
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        if error.errno not in {errno.EOPNOTSUPP, errno.EINVAL}:
            raise
        os.ftruncate(descriptor, size)


@contextmanager
def _clear_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            raise EnvironmentMissing(
                f"{folder}: no space for the weights ({error.strerror})",
                "free disk space or write to another disk",
            ) from error
        if error.errno in {errno.EACCES, errno.EROFS, errno.EPERM}:
            raise EnvironmentMissing(
                f"{folder}: cannot be written ({error.strerror})", "choose a writable folder"
            ) from error
        raise
