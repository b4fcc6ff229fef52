"""Writing a GGUF file: metadata, then one tensor after the other in blocks of rows."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from tuneforge_specs.errors import DataError

from tuneforge.export.gguf.architectures.architecture import Metadata
from tuneforge.export.gguf.tensors import Planned
from tuneforge.export.gguf.vocabulary import Vocabulary

BLOCK_BYTES = 16 << 20  # float32 bytes converted at a time: bounds memory, whatever the tensor
F16_MAX = float(np.finfo(np.float16).max)


class RowReader(Protocol):
    """Where weights come from, in the type they are stored in."""

    def read(self, name: str, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """Return elements ``start`` to ``stop`` of a tensor taken as flat."""


@dataclass(frozen=True)
class Content:
    """What a file holds; ``metadata`` has full keys."""

    architecture: str
    metadata: Metadata
    vocabulary: Vocabulary
    tensors: tuple[Planned, ...]


def write_gguf(
    path: Path,
    content: Content,
    source: RowReader,
    progress: Callable[[int], None] = lambda _written: None,
) -> None:
    """Write the file; ``progress`` is called with the bytes written by each block.

    Raises DataError for weights that the type cannot hold.
    """
    from gguf import GGMLQuantizationType, GGUFWriter

    writer = GGUFWriter(path, content.architecture)
    try:
        for key, value in content.metadata.items():
            _add(writer, key, value)
        _add_vocabulary(writer, content.vocabulary)
        for tensor in content.tensors:
            kind = GGMLQuantizationType[tensor.type]
            float32 = np.dtype(np.float32)
            writer.add_tensor_info(tensor.name, tensor.shape, float32, tensor.size, kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        (file,) = writer.fout
        writer.write_padding(file, file.tell())
        for tensor in content.tensors:
            for block in encoded_blocks(tensor, source):
                file.write(block)
                progress(len(block))
            writer.write_padding(file, tensor.size)
    finally:
        writer.close()


def encoded_blocks(tensor: Planned, source: RowReader) -> Iterator[bytes]:
    """Yield a tensor's bytes in its type, block of rows by block of rows."""
    from gguf import GGMLQuantizationType, quantize

    kind = GGMLQuantizationType[tensor.type]
    for rows in changed_rows(tensor, source):
        _refuse_unrepresentable(tensor, rows)
        # Blocks of denormal values overflow on the way to a scale that is zero in any case.
        with np.errstate(over="ignore", invalid="ignore"):
            yield quantize(rows, kind).tobytes()


def changed_rows(tensor: Planned, source: RowReader) -> Iterator[NDArray[np.float32]]:
    """Yield a tensor's rows as float32 after the architecture's change."""
    group = tensor.change.group if tensor.change else 1
    width = math.prod(tensor.shape[1:])
    step = max(1, BLOCK_BYTES // (4 * width) // group) * group
    for start in range(0, tensor.shape[0], step):
        stop = min(start + step, tensor.shape[0])
        stored = tensor.rows[start:stop] if tensor.rows is not None else None
        if stored is None:
            stored = source.read(tensor.source, start * width, stop * width)
        rows = np.ascontiguousarray(stored, dtype=np.float32).reshape(-1, *tensor.shape[1:])
        yield tensor.change.apply(rows) if tensor.change else rows


def _refuse_unrepresentable(tensor: Planned, rows: NDArray[np.float32]) -> None:
    largest = float(np.abs(rows).max(initial=0.0))
    if not np.isfinite(largest):
        raise DataError(
            f"{tensor.source or tensor.name} holds values that are not finite",
            "the model is broken: look at the training run that made it",
        )
    if tensor.type == "F16" and largest > F16_MAX:
        raise DataError(
            f"{tensor.source or tensor.name} reaches {largest:.4g}, beyond float16's {F16_MAX:.0f}",
            'use types = ["bf16"] or ["f32"]',
        )


def _add(writer: Any, key: str, value: Any) -> None:
    # bool before int: True is an int.
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    else:
        writer.add_array(key, value)


def _add_vocabulary(writer: Any, vocabulary: Vocabulary) -> None:
    writer.add_tokenizer_model(vocabulary.model)
    writer.add_tokenizer_pre(vocabulary.pre)
    writer.add_token_list(list(vocabulary.tokens))
    writer.add_token_types(list(vocabulary.types))
    if vocabulary.scores:
        writer.add_token_scores(list(vocabulary.scores))
    if vocabulary.merges:
        writer.add_token_merges(list(vocabulary.merges))
    if vocabulary.space_prefix is not None:
        writer.add_add_space_prefix(vocabulary.space_prefix)


def full_metadata(
    architecture: str, model: Metadata, general: Mapping[str, str | int], tokens: Mapping[str, Any]
) -> Metadata:
    """Return all keys but the vocabulary's, in the order they are written."""
    metadata: Metadata = {f"general.{key}": value for key, value in general.items()}
    metadata |= {f"{architecture}.{key}": value for key, value in model.items()}
    metadata |= {key: value for key, value in tokens.items() if value not in (None, "")}
    return metadata
