"""A GGUF file read back: metadata as plain values, tensors a few rows at a time.

Shares no code with the writer, which is the `gguf` library's. That library's own reader maps the
whole file, so that memory grows with the model, and makes an array of every token. Format: GGUF v3,
https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (little-endian).
"""

import math
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray
from tuneforge_specs.errors import DataError

# Value types by number; 8 is a string, 9 an array.
SCALARS = {
    0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q",
    12: "<d",
}  # fmt: skip
STRING, ARRAY = 8, 9
READER = "tuneforge.export.verify.gguf_file"
DEFAULT_ALIGNMENT = 32


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor is in the file; ``shape`` in numpy's order, ``type`` a GGML type's name."""

    name: str
    type: str
    shape: tuple[int, ...]
    offset: int


class GgufFile:
    """An open GGUF file. Raises DataError where it is none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: BinaryIO = path.open("rb")
        try:
            self._read_header()
        except (struct.error, UnicodeDecodeError, KeyError) as error:
            self._file.close()
            raise DataError(f"{path} is no readable GGUF file: {error}", "make it again") from error

    def _read_header(self) -> None:
        magic, version = self._file.read(4), self._scalar("<I")
        if magic != b"GGUF" or version != 3:
            raise struct.error(f"it begins with {magic!r}, version {version}")
        tensors, keys = self._scalar("<Q"), self._scalar("<Q")
        self.metadata: dict[str, Any] = {}
        for _ in range(keys):
            key = self._string()
            self.metadata[key] = self._value(self._scalar("<I"))
        found = [self._tensor() for _ in range(tensors)]
        alignment = int(self.metadata.get("general.alignment", DEFAULT_ALIGNMENT))
        start = -(-self._file.tell() // alignment) * alignment
        self.tensors = {
            name: StoredTensor(name, kind, shape, start + offset)
            for name, kind, shape, offset in found
        }

    def _exactly(self, count: int) -> bytes:
        data = self._file.read(count)
        if len(data) != count:
            raise struct.error("it ends too early")
        return data

    def _scalar(self, code: str) -> Any:
        return struct.unpack(code, self._exactly(struct.calcsize(code)))[0]

    def _string(self) -> str:
        return self._exactly(self._scalar("<Q")).decode("utf-8")

    def _value(self, kind: int) -> Any:
        if kind == STRING:
            return self._string()
        if kind != ARRAY:
            return self._scalar(SCALARS[kind])
        item, count = self._scalar("<I"), self._scalar("<Q")
        if item in SCALARS:
            data = self._exactly(struct.calcsize(SCALARS[item]) * count)
            return np.frombuffer(data, SCALARS[item]).tolist()
        return [self._value(item) for _ in range(count)]

    def _tensor(self) -> tuple[str, str, tuple[int, ...], int]:
        from gguf import GGMLQuantizationType

        name = self._string()
        # The file has the innermost dimension first.
        shape = [self._scalar("<Q") for _ in range(self._scalar("<I"))][::-1]
        try:
            kind = GGMLQuantizationType(self._scalar("<I")).name
        except ValueError as error:
            raise struct.error(f"{name}: {error}") from error
        return name, kind, tuple(shape), self._scalar("<Q")

    def rows(self, name: str, start: int, stop: int) -> NDArray[np.float32]:
        """Return rows ``start`` to ``stop`` of a tensor's first dimension, as float32."""
        from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, dequantize

        tensor = self.tensors[name]
        kind = GGMLQuantizationType[tensor.type]
        elements, size = GGML_QUANT_SIZES[kind]
        inner = math.prod(tensor.shape[1:])
        length = (stop - start) * inner // elements * size
        data = os.pread(
            self._file.fileno(), length, tensor.offset + start * inner // elements * size
        )
        if len(data) != length:
            raise DataError(f"{self.path} ends inside {name}", "make it again")
        stored = np.frombuffer(data, np.uint8).reshape(stop - start, -1)
        values = np.asarray(dequantize(stored, kind), np.float32)
        return values.reshape(stop - start, *tensor.shape[1:])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
