"""Records gathered column by column, and written to Parquet in bounded batches."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tuneforge_datastore.nesting import check_depth
from tuneforge_datastore.records import (
    MESSAGE,
    REJECTS,
    SCHEMA,
    TURNS,
    Message,
    Record,
    content_hash,
    meta_json,
)

BATCH_ROWS = 8192
BATCH_CHARACTERS = 32 << 20
# Dictionaries pay only where few values repeat; on unique text they cost time and memory.
REPEATING = ["source", "file", "kind", "split"]


def parquet_writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """Open a Parquet file whose bytes depend on its rows and batches alone."""
    repeating = [name for name in REPEATING if name in schema.names]
    repeating += [
        f"{turns}.list.element.{part}"
        for turns in ("messages", "chosen", "rejected")
        if turns in schema.names
        for part in ("role", "name", "weight")
    ]
    return pq.ParquetWriter(
        path, schema, compression="zstd", compression_level=1, use_dictionary=repeating
    )


class Turns:
    """A list-of-messages column under construction."""

    def __init__(self) -> None:
        self.offsets = [0]
        self.parts: tuple[list[Any], ...] = tuple([] for _ in range(len(MESSAGE)))

    def append(self, turns: list[Message]) -> None:
        """Add one row."""
        for turn in turns:
            for column, value in zip(self.parts, turn, strict=True):
                column.append(value)
        self.offsets.append(len(self.parts[0]))

    def array(self) -> pa.ListArray:
        """Give the column as Arrow."""
        arrays = [
            pa.array(part, field.type) for part, field in zip(self.parts, MESSAGE, strict=True)
        ]
        values = pa.StructArray.from_arrays(arrays, fields=list(MESSAGE))
        return pa.ListArray.from_arrays(pa.array(self.offsets, pa.int32()), values, type=TURNS)


class Batch:
    """Records on their way to one Arrow batch."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.clear()

    def clear(self) -> None:
        """Forget every row."""
        self.plain: dict[str, list[Any]] = {
            name: [] for name in SCHEMA.names if name not in ("messages", "chosen", "rejected")
        }
        self.turns = {name: Turns() for name in ("messages", "chosen", "rejected")}
        self.characters = 0

    def __len__(self) -> int:
        return len(self.plain["id"])

    @property
    def full(self) -> bool:
        """Say whether the batch has reached its bound."""
        return len(self) >= BATCH_ROWS or self.characters >= BATCH_CHARACTERS

    def append(self, record: Record, identifier: str, file: str, line: int) -> None:
        """Add one record.

        Raises:
            UnicodeEncodeError: a text cannot be written as UTF-8; nothing was added.
            TooDeep: its JSON is nested too deeply; nothing was added.
        """
        prompt, completion = record.prompt_and_completion()
        meta = meta_json(record.meta)
        digest = content_hash(record)
        meta.encode()
        identifier.encode()
        check_depth(meta, record.tools)
        _check_turns(record)
        self.turns["messages"].append(record.messages)
        self.turns["chosen"].append(record.chosen)
        self.turns["rejected"].append(record.rejected)
        plain = self.plain
        plain["id"].append(identifier)
        plain["source"].append(self.source)
        plain["file"].append(file)
        plain["line"].append(line)
        plain["kind"].append(record.kind)
        plain["system"].append(record.system)
        plain["label"].append(record.label)
        plain["text"].append(record.text)
        plain["tools"].append(record.tools)
        plain["meta"].append(meta)
        plain["prompt"].append(prompt)
        plain["completion"].append(completion)
        plain["content_hash"].append(digest)
        self.characters += 2 * len(prompt) + 2 * len(completion) + len(meta)

    def arrow(self) -> pa.RecordBatch:
        """Give the rows as one Arrow batch of ``SCHEMA``."""
        columns = {name: turns.array() for name, turns in self.turns.items()}
        for name, values in self.plain.items():
            columns[name] = pa.array(values, SCHEMA.field(name).type)
        return pa.RecordBatch.from_arrays([columns[name] for name in SCHEMA.names], schema=SCHEMA)


def _check_turns(record: Record) -> None:
    # The hash has encoded the texts themselves already.
    for turns in (record.messages, record.chosen, record.rejected):
        for turn in turns:
            if turn.tool_calls:
                check_depth(turn.tool_calls)
            if turn.tool_call_id or turn.name:
                (turn.tool_call_id + turn.name).encode()


def rejects_table(rows: list[tuple[str, str, str, int, str, str]]) -> pa.Table:
    """Give rejected rows as Arrow."""
    return pa.Table.from_pylist(
        [dict(zip(REJECTS.names, row, strict=True)) for row in rows], REJECTS
    )
