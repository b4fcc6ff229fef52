"""What happened to every record: the ledger, and the funnel that sums it up."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tuneforge_datastore.columns import BATCH_ROWS
from tuneforge_datastore.rows import Rows

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("source", pa.string()),
        ("verdict", pa.string()),
        ("stage", pa.string()),
        ("rule", pa.string()),
        ("reason", pa.string()),
        ("score", pa.float64()),
        ("witness", pa.string()),
        ("evidence", pa.string()),
    ]
)
DROPS = pa.schema(
    [
        ("row", pa.int64()),
        ("reason", pa.string()),
        ("score", pa.float64()),
        ("witness", pa.string()),
        ("evidence", pa.string()),
    ]
)
_TOLD = [*DROPS.names, "stage", "rule"]
EVIDENCE_SHOWN = 500


def drops(
    row: Any, reason: Any, score: Any = None, witness: Any = None, evidence: Any = None
) -> pa.Table:
    """Make a table of ``DROPS``: one text or array per column, missing ones empty."""
    count = len(row)
    given = {"row": row, "reason": reason, "score": score, "witness": witness, "evidence": evidence}
    columns = []
    for column in DROPS:
        value = given[column.name]
        if value is None or isinstance(value, str):
            empty = None if column.name == "score" else ""
            value = pa.repeat(pa.scalar(value or empty, column.type), count)
        columns.append(value if isinstance(value, pa.Array) else pa.array(value, column.type))
    return pa.table(columns, schema=DROPS)


@dataclass
class Ledger:
    """The drops so far, stage by stage."""

    rows: Rows
    stages: list[dict[str, Any]] = field(default_factory=list)
    dropped: list[pa.Table] = field(default_factory=list)
    noted: list[pa.Table] = field(default_factory=list)

    def record(self, stage: str, rule: str, table: pa.Table) -> None:
        """Drop the rows of ``table`` (``DROPS``) at a stage."""
        before = int(self.rows.alive.sum())
        self.rows.alive[table.column("row").to_numpy()] = False
        self._count(stage, rule, before, len(table))
        extra = [pa.repeat(pa.scalar(text), len(table)) for text in (stage, rule)]
        self.dropped.append(table.append_column("stage", extra[0]).append_column("rule", extra[1]))

    def note(self, stage: str, rule: str, table: pa.Table, what: str) -> None:
        """Write down rows of ``table`` (``DROPS``) that stay; ``what`` counts them in the funnel.

        A stage that has just dropped some has one line for both.
        """
        if (self.stages[-1]["stage"], self.stages[-1]["rule"]) != (stage, rule):
            self._count(stage, rule, int(self.rows.alive.sum()), 0)
        self.stages[-1][what] = len(table)
        extra = [pa.repeat(pa.scalar(text), len(table)) for text in (stage, rule)]
        self.noted.append(table.append_column("stage", extra[0]).append_column("rule", extra[1]))

    def _told(self) -> pa.Table | None:
        """Give what is told of rows, one line a row in order: the drop, or else all its notes."""
        told = list(self.dropped)
        if self.noted:
            notes = pa.concat_tables(self.noted)
            alive = self.rows.alive[notes.column("row").to_numpy()]
            told.append(_joined(notes.filter(pa.array(alive))).select(_TOLD))
        if not told:
            return None
        return pa.concat_tables([one.select(_TOLD) for one in told]).combine_chunks().sort_by("row")

    def _count(self, stage: str, rule: str, before: int, dropped: int) -> None:
        step = {"stage": stage, "rule": rule, "in": before, "dropped": dropped}
        self.stages.append(step | {"out": before - dropped})

    def count_changed(self, stage: str, rule: str, changed: int) -> None:
        """Put a rule in the funnel that drops nothing, but changed so many records."""
        remaining = int(self.rows.alive.sum())
        self._count(stage, rule, remaining, 0)
        self.stages[-1]["changed"] = changed

    def count_unreadable(self) -> None:
        """Open the funnel with the rows that could not be read."""
        refused = sum(
            pq.read_metadata(source.folder / "rejects.parquet").num_rows
            for source in self.rows.sources
        )
        self._count("read", "unreadable", len(self.rows) + refused, refused)

    def write(self, out: Path, ids: pa.ChunkedArray) -> None:
        """Write ``ledger.parquet``, in source order, and ``funnel.json``."""
        (out / "funnel.json").write_text(json.dumps(self.stages, indent=1) + "\n")
        lost = self._told()
        rows_lost = lost.column("row").to_numpy() if lost is not None else np.empty(0, np.int64)
        with pq.ParquetWriter(
            out / "ledger.parquet",
            SCHEMA,
            compression="zstd",
            compression_level=1,
            use_dictionary=["source", "verdict", "stage", "rule", "reason"],
        ) as writer:
            for source in self.rows.sources:
                rejected = _unreadable(source.folder)
                if len(rejected):
                    writer.write_table(rejected)
                for first in range(source.first, source.first + source.count, 16 * BATCH_ROWS):
                    end = min(first + 16 * BATCH_ROWS, source.first + source.count)
                    begin, stop = np.searchsorted(rows_lost, [first, end])
                    part = lost.slice(begin, stop - begin) if lost is not None else None
                    piece = ids.slice(first, end - first)
                    alive = self.rows.alive[first:end]
                    writer.write_table(_verdicts(first, piece, source.name, part, alive))


def _joined(notes: pa.Table) -> pa.Table:
    """Bring the notes of one row together: the first one's rule and score, all their reasons."""
    rows: dict[int, dict[str, Any]] = {}
    for note in notes.to_pylist():
        row = rows.setdefault(note["row"], note)
        if row is not note:
            row["reason"] += f"; {note['reason']}"
            row["evidence"] = "; ".join(filter(None, (row["evidence"], note["evidence"])))
    return pa.Table.from_pylist(list(rows.values()), notes.schema)


def _verdicts(
    first: int,
    ids: pa.ChunkedArray,
    source: str,
    lost: pa.Table | None,
    alive: NDArray[np.bool_],
) -> pa.Table:
    count = len(ids)
    # Index of what is told of each row, null for nothing: a null index takes a null value.
    place = np.full(count, -1, np.int64)
    if lost is not None and len(lost):
        place[lost.column("row").to_numpy() - first] = np.arange(len(lost))
    silent = place < 0
    columns: dict[str, Any] = {
        "id": ids,
        "source": pa.repeat(pa.scalar(source), count),
        "verdict": pa.array(np.where(alive, "kept", "dropped"), pa.string()),
    }
    index = pa.array(np.maximum(place, 0), mask=silent)
    for name in ("stage", "rule", "reason", "score", "witness", "evidence"):
        kind = SCHEMA.field(name).type
        if lost is None or not len(lost):
            taken = pa.nulls(count, kind)
        else:
            taken = lost.column(name).take(index)
        columns[name] = taken if name == "score" else taken.fill_null("")
    return pa.table(columns, schema=SCHEMA)


def _unreadable(folder: Path) -> pa.Table:
    rejects = pq.read_table(folder / "rejects.parquet")
    count = len(rejects)

    def same(text: str) -> pa.Array:
        return pa.repeat(pa.scalar(text), count)

    reasons = [
        f"{row['file']}:{row['line']}: {row['reason']}"
        for row in rejects.select(["file", "line", "reason"]).to_pylist()
    ]
    columns = {
        "id": rejects.column("id"),
        "source": rejects.column("source"),
        "verdict": same("dropped"),
        "stage": same("read"),
        "rule": same("unreadable"),
        "reason": pa.array(reasons, pa.string()),
        "score": pa.nulls(count, pa.float64()),
        "witness": same(""),
        "evidence": rejects.column("raw"),
    }
    return pa.table(columns, schema=SCHEMA)
