"""A dataset as plain files that other programs read: Parquet, JSON Lines or CSV, a file a side."""

import csv
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tuneforge_datastore.answers import unformulated
from tuneforge_datastore.columns import BATCH_ROWS, parquet_writer

Form = Literal["parquet", "jsonl", "csv"]
SIDES = ("train", "eval")
MEANINGS = {
    "id": "the record: its source and number there",
    "source": "the source it came from",
    "kind": "instruction or text",
    "system": "the system turn",
    "messages": "the turns; of a preference those before the two answers",
    "chosen": "the preferred answer",
    "rejected": "the other answer",
    "label": "whether the answer is good",
    "text": "plain text",
    "prompt": "the user's turns before the last answer",
    "completion": "the last answer",
    "tools": "tool definitions, as JSON",
    "meta": "columns of the source no role was found for, as JSON",
    "cluster": "the first record of its group of near duplicates",
}
_WHOLE = {
    "instruction": ["messages", "tools"],
    "preference": ["messages", "chosen", "rejected", "tools"],
    "unpaired": ["messages", "label", "tools"],
    "text": ["text"],
}
# A table has a cell for a text, not for turns: what a person reads in a spreadsheet.
_FLAT = {
    "instruction": ["system", "prompt", "completion", "tools"],
    "preference": ["system", "prompt", "chosen", "rejected", "tools"],
    "unpaired": ["system", "prompt", "completion", "label", "tools"],
    "text": ["text"],
}


@dataclass(frozen=True)
class Snapshot:
    """What was written: the records of each side that has any, and the columns."""

    form: Form
    kinds: list[str]
    records: dict[str, int]
    columns: list[str]

    def file(self, side: str) -> str:
        """Name the file of a side."""
        return f"{side}.{self.form}"


class _Writer(Protocol):
    def write(self, rows: pa.Table) -> None:
        """Write rows of the snapshot's columns."""


def write_snapshot(dataset: Path, out: Path, form: Form) -> Snapshot:
    """Write the kept records of a dataset's folder to ``train`` and ``eval`` files in ``out``.

    Equal datasets give equal bytes. Parquet and JSON Lines hold every turn; CSV holds its texts.
    """
    with pq.ParquetFile(dataset / "kept.parquet") as kept:
        kinds = sorted(_distinct(kept, "kind"))
        shapes = _FLAT if form == "csv" else _WHOLE
        chosen = {name for kind in kinds for name in shapes[kind]}
        if len(kinds) > 1:
            chosen.add("kind")
        columns = [
            name for name in MEANINGS if name in chosen | {"id", "source", "meta", "cluster"}
        ]
        records = {}
        for side in SIDES:
            if side in _distinct(kept, "split"):
                file = out / f"{side}.{form}"
                records[side] = _write_side(kept, file, side, columns, _WRITERS[form])
    return Snapshot(form, kinds, records, columns)


def _distinct(kept: pq.ParquetFile, column: str) -> set[str]:
    return set(kept.read([column]).column(0).unique().to_pylist())


def count_sources(dataset: Path) -> dict[str, int]:
    """Count the kept records of each source, in the order of the sources."""
    counts = pq.read_table(dataset / "kept.parquet", columns=["source"]).column(0).value_counts()
    return {one["values"]: one["counts"] for one in counts.to_pylist()}


def _write_side(
    kept: pq.ParquetFile,
    file: Path,
    side: str,
    columns: list[str],
    opened: Callable[[Path, pa.Schema], AbstractContextManager[_Writer]],
) -> int:
    schema = pa.schema([kept.schema_arrow.field(name) for name in columns])
    written = 0
    with opened(file, schema) as writer:
        for batch in kept.iter_batches(BATCH_ROWS, columns=[*columns, "split"]):
            table = pa.Table.from_batches([batch])
            mine = table.filter(pc.equal(table.column("split"), side)).select(columns)
            if len(mine):
                writer.write(mine)
                written += len(mine)
    return written


class _Parquet:
    def __init__(self, file: Path, schema: pa.Schema) -> None:
        self.writer = parquet_writer(file, schema)

    def __enter__(self) -> "_Parquet":
        return self

    def __exit__(self, *_: object) -> None:
        self.writer.close()

    def write(self, rows: pa.Table) -> None:
        self.writer.write_table(rows.combine_chunks(), row_group_size=len(rows))


class _Text:
    """A text file; what is written to it is the format's."""

    def __init__(self, file: Path, schema: pa.Schema) -> None:
        self.file = file.open("w", encoding="utf-8", newline="")
        self.begin(schema.names)

    def __enter__(self) -> "_Text":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def begin(self, names: list[str]) -> None:
        """Write what comes before the rows."""

    def write(self, rows: pa.Table) -> None:
        raise NotImplementedError


class _JsonLines(_Text):
    def write(self, rows: pa.Table) -> None:
        for row in rows.to_pylist():
            plain = {name: _plain(name, value) for name, value in row.items()}
            self.file.write(json.dumps(plain, ensure_ascii=False) + "\n")


class _Csv(_Text):
    def begin(self, names: list[str]) -> None:
        # RFC 4180 ends rows so; with a bare line feed the writer leaves carriage returns unquoted.
        self.csv = csv.writer(self.file, lineterminator="\r\n")
        self.csv.writerow(names)

    def write(self, rows: pa.Table) -> None:
        self.csv.writerows(map(guarded, row.values()) for row in rows.to_pylist())


def _plain(name: str, value: Any) -> Any:
    """Give a cell as other programs want it: JSON as JSON, turns without their empty parts."""
    if name in ("messages", "chosen", "rejected"):
        return [dict(_turn(turn)) for turn in value]
    if name in ("tools", "meta"):
        return json.loads(value) if value else None
    return value


def _turn(turn: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    yield "role", turn["role"]
    yield "content", turn["content"]
    if turn["tool_calls"]:
        yield "tool_calls", json.loads(turn["tool_calls"])
    for name in ("tool_call_id", "name"):
        if turn[name]:
            yield name, turn[name]
    if turn["weight"] != 1.0:
        yield "weight", turn["weight"]


def guarded(cell: Any) -> Any:
    """Give a cell of a CSV file: answers as text, and no text that a spreadsheet would run."""
    if isinstance(cell, list):
        cell = "\n".join(turn["content"] or turn["tool_calls"] for turn in cell)
    if isinstance(cell, bool):
        return "true" if cell else "false"
    return unformulated(cell)


_WRITERS: dict[Form, Callable[[Path, pa.Schema], AbstractContextManager[_Writer]]] = {
    "parquet": _Parquet,
    "jsonl": _JsonLines,
    "csv": _Csv,
}
