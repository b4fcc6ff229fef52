"""A model folder: its tensors by name, over one file or the shards of an index, read in pieces."""

import json
import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from tuneforge_specs.errors import DataError, EnvironmentMissing

from tuneforge.weights.dtypes import numpy_dtype
from tuneforge.weights.header import TensorInfo, read_header

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
LEGACY = ("pytorch_model.bin", "pytorch_model.bin.index.json", "adapter_model.bin")


class Weights(Mapping[str, TensorInfo]):
    """Tensors by name. Reads use ``pread``: any number of threads may share one instance."""

    def __init__(self, folder: Path, tensors: dict[str, TensorInfo]) -> None:
        self.folder = folder
        self._tensors = tensors
        self._files: dict[Path, int] = {}
        self._lock = threading.Lock()

    def __getitem__(self, name: str) -> TensorInfo:
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors together."""
        return sum(tensor.nbytes for tensor in self.values())

    def descriptor(self, file: Path) -> int:
        """Return an open file descriptor of one of the folder's files, for positioned reads."""
        with self._lock:
            if file not in self._files:
                self._files[file] = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
            return self._files[file]

    def read(self, name: str, start: int = 0, stop: int | None = None) -> npt.NDArray[Any]:
        """Read elements ``start:stop`` of a tensor taken as flat; the whole tensor keeps its shape.

        Raises DataError when the file has shrunk since its header was read.
        """
        tensor = self._tensors[name]
        whole = start == 0 and stop is None
        stop = tensor.size if stop is None else stop
        out = np.empty(stop - start, numpy_dtype(tensor.dtype))
        self.read_into(name, start, out)
        return out.reshape(tensor.shape) if whole else out

    def read_into(self, name: str, start: int, out: npt.NDArray[Any]) -> None:
        """Fill ``out`` (contiguous, the tensor's dtype) with elements from ``start`` on."""
        tensor = self._tensors[name]
        view = out.reshape(-1).view(np.uint8).data
        position = tensor.offset + start * out.itemsize
        descriptor = self.descriptor(tensor.file)
        while view:
            count = os.preadv(descriptor, [view], position)
            if count == 0:
                raise DataError(
                    f"{tensor.file}: ends inside {name!r}",
                    "the file changed while it was read; restore it and run again",
                )
            view, position = view[count:], position + count

    def close(self) -> None:
        """Close the files."""
        with self._lock:
            for descriptor in self._files.values():
                os.close(descriptor)
            self._files.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def open_weights(folder: Path, stem: str = "model") -> Weights:
    """Open the safetensors weights of ``folder`` (``stem`` is ``adapter_model`` for adapters).

    Every header is checked first. Raises EnvironmentMissing when there are no weights, DataError
    when they are legacy pickles, damaged, or the index does not match the shards.
    """
    if not folder.is_dir():
        raise EnvironmentMissing(
            f"{folder}: no such model folder", "check the path; download the model first"
        )
    index, single = folder / f"{stem}.safetensors.index.json", folder / f"{stem}.safetensors"
    if single.is_file():
        tensors, _ = read_header(single)
    elif index.is_file():
        tensors = _indexed(folder, index)
    else:
        raise _no_weights(folder, stem)
    if not tensors:
        raise DataError(f"{folder}: its weights hold no tensors", "restore the model's files")
    return Weights(folder, tensors)


def _no_weights(folder: Path, stem: str) -> DataError | EnvironmentMissing:
    for name in LEGACY:
        if (folder / name).exists():
            return DataError(
                f"{folder / name}: pickled weights are not read, since loading them runs code",
                "load the model with transformers once and save_pretrained() it: "
                "that writes safetensors",
            )
    return EnvironmentMissing(
        f"{folder}: no {stem}.safetensors and no {stem}.safetensors.index.json",
        "name a folder that holds safetensors weights",
    )


def _indexed(folder: Path, index: Path) -> dict[str, TensorInfo]:
    try:
        weight_map = json.loads(index.read_text("utf-8"))["weight_map"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _bad_index(index, "it has no weight_map") from error
    if not isinstance(weight_map, dict) or not weight_map:
        raise _bad_index(index, "its weight_map is empty")
    tensors: dict[str, TensorInfo] = {}
    for shard in dict.fromkeys(weight_map.values()):
        if not _plain_name(shard):
            raise _bad_index(index, f"it names the shard {shard!r}, which is not a plain file name")
        if not (folder / shard).is_file():
            raise _bad_index(index, f"its shard {shard} is not there")
        for name, tensor in read_header(folder / shard)[0].items():
            if weight_map.get(name) != shard:
                said = weight_map.get(name)
                where = f"says {said}" if said else "does not list it"
                raise _bad_index(index, f"{name!r} is in {shard}, the index {where}")
            tensors[name] = tensor
    missing = next((name for name in weight_map if name not in tensors), None)
    if missing is not None:
        raise _bad_index(index, f"{missing!r} is not in {weight_map[missing]}")
    return tensors


def _plain_name(shard: Any) -> bool:
    # A separator, a drive or a dot name could leave the folder; symlinks inside it are normal
    # (the hub's cache is made of them).
    return (
        isinstance(shard, str)
        and shard.endswith(".safetensors")
        and not shard.startswith(".")
        and not set("/\\:\0") & set(shard)
    )


def _bad_index(index: Path, what: str) -> DataError:
    return DataError(f"{index}: {what}", "restore the model's index and shards")
