"""Clean a dataset's records: a patch of the rows that changed, and a file of every change."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from tuneforge_specs.datasets import Clean

from tuneforge_datastore.cleaning.rules import FLAGS, RULES
from tuneforge_datastore.cleaning.suspects import flags
from tuneforge_datastore.columns import parquet_writer
from tuneforge_datastore.ledger import Ledger
from tuneforge_datastore.records import PATCHED, Message, Record, content_hash
from tuneforge_datastore.rows import Patch

CHANGES = pa.schema(
    [
        ("id", pa.string()),
        ("source", pa.string()),
        ("field", pa.string()),
        ("rule", pa.string()),
        ("before", pa.string()),
        ("after", pa.string()),
    ]
)
_TURNS = ("messages", "chosen", "rejected")
_READ = ["id", "kind", *_TURNS, "label", "text", "tools"]


@dataclass
class Cleaning:
    """A pass over rows: what is on, and how many records each rule has changed."""

    spec: Clean
    changed: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.on = [rule for rule in RULES if getattr(self.spec, rule)]
        self.changed = dict.fromkeys(self.on, 0)
        self.wanted = np.uint8(sum(FLAGS[rule] for rule in self.on))

    def piece(self, batch: pa.RecordBatch, alive: NDArray[np.bool_]) -> "_Cleaned":
        """Clean one piece of rows."""
        done = _Cleaned()
        raised = _raised(batch) & self.wanted
        for place in np.flatnonzero((raised > 0) & alive).tolist():
            row = batch.slice(place, 1).to_pylist()[0]
            changes = list(self._row(row, int(raised[place])))
            if changes:
                done.places.append(place)
                done.rows.append(rebuilt(row))
                done.changes += [{"id": row["id"], **change} for change in changes]
                for rule in {change["rule"] for change in changes}:
                    self.changed[rule] += 1
        return done

    def _row(self, row: dict[str, Any], raised: int) -> Iterator[dict[str, str]]:
        """Clean a row in place; give each change."""
        for name in _TURNS:
            for number, turn in enumerate(row[name]):
                for change in self._text(turn, "content", raised):
                    yield {"field": f"{name}[{number}].content", **change}
        for change in self._text(row, "text", raised):
            yield {"field": "text", **change}

    def _text(self, holder: dict[str, Any], name: str, raised: int) -> Iterator[dict[str, str]]:
        for rule in self.on:
            apply, needs = RULES[rule]
            if needs and not needs & raised:
                continue
            before = holder[name]
            after = apply(before)
            if after != before:
                holder[name] = after
                yield {"rule": rule, "before": before, "after": after}


@dataclass
class _Cleaned:
    places: list[int] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    changes: list[dict[str, Any]] = field(default_factory=list)


def _raised(batch: pa.RecordBatch) -> NDArray[np.uint8]:
    raised = flags(batch.column("text"))
    for name in _TURNS:
        turns = batch.column(name)
        of_turns = flags(turns.flatten().field("content"))
        suspect = np.flatnonzero(of_turns)
        if len(suspect):
            parents = pc.list_parent_indices(turns).to_numpy()
            np.bitwise_or.at(raised, parents[suspect], of_turns[suspect])
    return raised


def rebuilt(row: dict[str, Any]) -> dict[str, Any]:
    """Give the columns of a record that follow from its texts."""
    messages, chosen, rejected = ([Message(**turn) for turn in row[name]] for name in _TURNS)
    record = Record(
        row["kind"], messages, chosen, rejected, row["label"], row["text"], row["tools"]
    )
    prompt, completion = record.prompt_and_completion()
    derived = {
        "system": record.system,
        "prompt": prompt,
        "completion": completion,
        "content_hash": content_hash(record),
    }
    return {name: derived.get(name, row.get(name)) for name in PATCHED.names[1:]}


def clean(ledger: Ledger, spec: Clean | bool, folder: Path, out: Path) -> None:
    """Clean the rows alive; write ``changes.parquet`` to ``out``, and the patches to ``folder``.

    From then on the ledger's rows read as cleaned. No row is dropped; each rule that is on has its
    line in the funnel, with the number of records that it changed.
    """
    rows = ledger.rows
    with pq.ParquetWriter(
        out / "changes.parquet",
        CHANGES,
        compression="zstd",
        compression_level=1,
        use_dictionary=["source", "field", "rule"],
    ) as changes:
        if not isinstance(spec, Clean):
            return
        work = Cleaning(spec)
        for number, source in enumerate(rows.sources):
            patch = folder / f"{number}.parquet"
            places: list[int] = []
            with parquet_writer(patch, PATCHED) as writer:
                for at, batch in source.pieces(_READ):
                    done = work.piece(batch, rows.alive[at : at + len(batch)])
                    if not done.places:
                        continue
                    numbers = [at + place for place in done.places]
                    places += numbers
                    writer.write_batch(_patch(numbers, done.rows))
                    named = [{"source": source.name, **change} for change in done.changes]
                    changes.write_batch(pa.RecordBatch.from_pylist(named, CHANGES))
            if places:
                made = Patch(patch, np.array(places, np.int64))
                rows.sources[number] = replace(source, patch=made)
    for rule, count in work.changed.items():
        ledger.count_changed("clean", rule, count)


def _patch(numbers: Sequence[int], rows: list[dict[str, Any]]) -> pa.RecordBatch:
    filled = [{"row": number, **row} for number, row in zip(numbers, rows, strict=True)]
    return pa.RecordBatch.from_pylist(filled, PATCHED)
