"""Personal data in a dataset's rows: found, or redacted with the originals kept on file."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from json import loads
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
from tuneforge_datastore.personal import LOOSE, PATTERNS, spans
from tuneforge_datastore.personal_json import redact_json, redact_text, texts
from tuneforge_datastore.records import PATCHED
from tuneforge_datastore.rows import Patch, SourceRows

_TURNS = ("messages", "chosen", "rejected")
_READ = ["id", "kind", *PATCHED.names[1:], "label"]
_Redact = Callable[[str, Sequence[str]], tuple[str, dict[str, int]]]


@dataclass(frozen=True)
class _Place:
    """A text of a row: its name, and what holds it under which key."""

    name: str
    holder: dict[str, Any]
    key: str
    is_json: bool = False

    @property
    def value(self) -> str:
        return self.holder[self.key] or ""

    def texts(self) -> Iterator[str]:
        """Give the text, or of JSON those in it."""
        if not self.is_json:
            yield self.value
        elif self.value:
            yield from texts(loads(self.value))


def find_rows(ledger: Ledger, spec: PiiFilter) -> pa.Table:
    """Find the rows alive that hold personal data (``DROPS``).

    The reason is the first find, by kind in the order of ``find``; the evidence is what was found,
    all but its ends masked.
    """
    rows: list[int] = []
    reasons: list[str] = []
    evidence: list[str] = []
    for source in ledger.rows.sources:
        for at, batch in source.pieces(_READ):
            mine = ledger.rows.alive[at : at + len(batch)]
            for place in np.flatnonzero(_suspect(batch, spec) & mine).tolist():
                found = _first(batch.slice(place, 1).to_pylist()[0], spec)
                if found:
                    rows.append(at + place)
                    reasons.append(found[0])
                    evidence.append(found[1])
    shown = (pa.array(column, pa.string()) for column in (reasons, evidence))
    return drops(rows, next(shown), evidence=next(shown))


def _first(row: dict[str, Any], spec: PiiFilter) -> tuple[str, str] | None:
    places = list(_places(row, spec.of))
    for kind in spec.find:
        for place in places:
            for text in place.texts():
                for begin, end in spans(text, kind):
                    where = f" in {place.name}" if place.is_json else ""
                    return f"{kind} found{where}", f"{text[begin:end][:2]}…{text[begin:end][-2:]}"
    return None


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
    plain = "|".join(f"(?:{PATTERNS[kind]})" for kind in spec.find)
    in_json = "|".join(f"(?:{LOOSE[kind]})" for kind in spec.find)
    where = _matches(batch.column("text"), plain)
    if spec.of == "record":
        where |= _matches(batch.column("meta"), in_json) | _matches(batch.column("tools"), in_json)
    for name in _TURNS:
        turns = batch.column(name)
        parts = turns.flatten()
        hits = _matches(parts.field("content"), plain) | _matches(parts.field("name"), plain)
        hits |= _matches(parts.field("tool_calls"), in_json)
        if hits.any():
            where[pc.list_parent_indices(turns).to_numpy()[np.flatnonzero(hits)]] = True
    return where


def _matches(column: pa.Array, pattern: str) -> NDArray[np.bool_]:
    matched = pc.match_substring_regex(column, pattern).fill_null(False)
    found: NDArray[np.bool_] = matched.to_numpy(zero_copy_only=False).copy()
    return found


def _places(row: dict[str, Any], part: str) -> Iterator[_Place]:
    """Give the texts of a part; prompts are all that is no answer of the assistant."""
    for name in _TURNS:
        for number, turn in enumerate(row[name]):
            side = "completion" if turn["role"] == "assistant" else "prompt"
            if part in ("record", "whole", side):
                yield _Place(f"{name}[{number}].content", turn, "content")
                yield _Place(f"{name}[{number}].name", turn, "name")
                yield _Place(f"{name}[{number}].tool_calls", turn, "tool_calls", is_json=True)
    if part in ("record", "whole", "completion"):
        yield _Place("text", row, "text")
    if part == "record":
        yield _Place("tools", row, "tools", is_json=True)
        yield _Place("meta", row, "meta", is_json=True)


def _redact_row(
    row: dict[str, Any], number: int, source: str, spec: PiiFilter, found: _Found
) -> bool:
    """Redact a row in place; say whether anything changed."""
    total: dict[str, int] = {}
    for place in _places(row, spec.of):
        before = place.value
        if not before:
            continue
        redacting: _Redact = redact_json if place.is_json else redact_text
        after, counts = redacting(before, spec.find)
        if not counts:
            continue
        place.holder[place.key] = after
        change = {"field": place.name, "rule": "pii", "before": before, "after": after}
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
