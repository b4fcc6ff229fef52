"""Redact personal data in a dataset's rows: a patch of those that change, the originals on file."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from tuneforge_specs.filters import PiiFilter

from tuneforge_datastore.cleaning.stage import CHANGES, rebuilt
from tuneforge_datastore.columns import parquet_writer
from tuneforge_datastore.filters import Folders
from tuneforge_datastore.ledger import Ledger, drops
from tuneforge_datastore.personal import PATTERNS, redact
from tuneforge_datastore.records import PATCHED
from tuneforge_datastore.rows import Patch, SourceRows

_TURNS = ("messages", "chosen", "rejected")
_READ = ["id", "kind", *PATCHED.names[1:], "label", "tools"]


@dataclass
class _Found:
    """What redaction changed, in order of rows."""

    rows: list[int] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    changes: list[dict[str, str]] = field(default_factory=list)


def redact_rows(ledger: Ledger, spec: PiiFilter, folders: Folders, stage: str) -> pa.Table:
    """Redact the rows alive; give those that changed and what was found in them (``DROPS``).

    From then on the ledger's rows read as redacted. Each changed text is added to
    ``changes.parquet`` as it was and as it is, under the rule ``pii``.
    """
    found = _Found()
    for number, source in enumerate(ledger.rows.sources):
        file = folders.patches / f"{stage}-{number}.parquet"
        made = _redact_source(source, spec, ledger.rows.alive, file, found)
        if made is not None:
            ledger.rows.sources[number] = replace(source, patch=made)
    _keep_originals(found.changes, folders.out / "changes.parquet")
    return drops(found.rows, pa.array(found.reasons, pa.string()))


def _redact_source(
    source: SourceRows, spec: PiiFilter, alive: NDArray[np.bool_], file: Path, found: _Found
) -> Patch | None:
    """Write the patch of a source: the rows of its patch so far, and those that change now."""
    patched = source.patch.numbers if source.patch is not None else np.empty(0, np.int64)
    numbers: list[int] = []
    with parquet_writer(file, PATCHED) as writer:
        for at, batch in source.pieces(_READ):
            mine = alive[at : at + len(batch)]
            changed: dict[int, dict[str, Any]] = {}
            for place in np.flatnonzero(_suspect(batch, spec) & mine).tolist():
                row = batch.slice(place, 1).to_pylist()[0]
                if _redact_row(row, at + place, source.name, spec, found):
                    changed[place] = rebuilt(row)
            begin, end = np.searchsorted(patched, [at, at + len(batch)])
            places = sorted({*(patched[begin:end] - at).tolist(), *changed})
            if places:
                numbers += [at + place for place in places]
                writer.write_table(_patch(batch, at, places, changed))
    return Patch(file, np.array(numbers, np.int64)) if numbers else None


def _suspect(batch: pa.RecordBatch, spec: PiiFilter) -> NDArray[np.bool_]:
    """Say which rows may hold some; the patterns that find, without the checks of what is found."""
    pattern = "|".join(f"(?:{PATTERNS[kind]})" for kind in spec.find)
    where = _matches(batch.column("text"), pattern)
    for name in _TURNS:
        turns = batch.column(name)
        hits = np.flatnonzero(_matches(turns.flatten().field("content"), pattern))
        if len(hits):
            where[pc.list_parent_indices(turns).to_numpy()[hits]] = True
    return where


def _matches(texts: pa.Array, pattern: str) -> NDArray[np.bool_]:
    matched = pc.match_substring_regex(texts, pattern).fill_null(False)
    found: NDArray[np.bool_] = matched.to_numpy(zero_copy_only=False).copy()
    return found


def _texts(row: dict[str, Any], part: str) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Give the texts of a part: the name of the field, and what holds it under which key."""
    for name in _TURNS:
        for number, turn in enumerate(row[name]):
            side = "completion" if turn["role"] == "assistant" else "prompt"
            if part in ("whole", side):
                yield f"{name}[{number}].content", turn, "content"
    if part in ("whole", "completion"):
        yield "text", row, "text"


def _redact_row(
    row: dict[str, Any], number: int, source: str, spec: PiiFilter, found: _Found
) -> bool:
    """Redact a row in place; say whether anything changed."""
    total: dict[str, int] = {}
    for name, holder, key in _texts(row, spec.of):
        before = holder[key] or ""
        after, counts = redact(before, spec.find)
        if not counts:
            continue
        holder[key] = after
        change = {"field": name, "rule": "pii", "before": before, "after": after}
        found.changes.append({"id": row["id"], "source": source, **change})
        for kind, count in counts.items():
            total[kind] = total.get(kind, 0) + count
    if total:
        found.rows.append(number)
        counted = ", ".join(f"{count} {kind}" for kind, count in total.items())
        found.reasons.append(f"redacted: {counted}")
    return bool(total)


def _patch(
    batch: pa.RecordBatch, at: int, places: list[int], changed: dict[int, dict[str, Any]]
) -> pa.Table:
    rows = []
    for place in places:
        row = changed.get(place)
        if row is None:
            row = batch.slice(place, 1).select(PATCHED.names[1:]).to_pylist()[0]
        rows.append({"row": at + place, **row})
    return pa.Table.from_pylist(rows, PATCHED)


def _keep_originals(changes: list[dict[str, str]], file: Path) -> None:
    if not changes:
        return
    before = pq.read_table(file, schema=CHANGES)
    both = pa.concat_tables([before, pa.Table.from_pylist(changes, CHANGES)])
    pq.write_table(
        both,
        file,
        compression="zstd",
        compression_level=1,
        use_dictionary=["source", "field", "rule"],
    )
