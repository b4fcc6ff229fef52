"""Unpaired preferences: a conversation or prompt and completion, and whether it is good."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tuneforge_datastore.ingest.formats import Format, Values, missing
from tuneforge_datastore.ingest.formats.completion import PAIRS, exchange
from tuneforge_datastore.ingest.formats.sharegpt import (
    CONVERSATION_COLUMNS,
    conversation,
    has_label,
)
from tuneforge_datastore.ingest.rows import RowError, as_text
from tuneforge_datastore.records import Record

_LABELS = ("label", "kto_tag")
_TURNS = ("messages", *CONVERSATION_COLUMNS)


def _fits(columns: frozenset[str], rows: Sequence[Values]) -> str:
    label = next((name for name in _LABELS if name in columns), "")
    if not label or not has_label(rows):
        return ""
    turns = next((name for name in _TURNS if name in columns), "")
    pair = next((pair for pair in PAIRS if columns.issuperset(pair)), None)
    said = turns or (", ".join(pair) if pair else "")
    return f"columns {said}, and true or false in {label}" if said else ""


def _convert(row: Values) -> Record:
    label = next((name for name in _LABELS if name in row), "")
    if not label:
        raise missing(row, "label")
    pair = next((pair for pair in PAIRS if row.keys() >= set(pair)), None)
    if pair and not row.keys() & set(_TURNS):
        record = exchange(row, *pair, also_used=_LABELS)
    else:
        record = conversation(row, _TURNS, also_used=_LABELS)
    record.kind = "unpaired"
    record.label = judgement(row[label], label)
    return record


def judged(record: Record) -> list[Record]:
    """Take a preference pair as a good and a bad answer to its prompt; others stay as they are."""
    if record.kind != "preference":
        return [record]
    return [
        replace(
            record,
            kind="unpaired",
            messages=[*record.messages, *answer],
            chosen=[],
            rejected=[],
            label=label,
        )
        for answer, label in ((record.chosen, True), (record.rejected, False))
    ]


def judgement(value: Any, column: str) -> bool:
    """Take a cell as true or false."""
    known = {"true": True, "false": False, "1": True, "0": False, "1.0": True, "0.0": False}
    judged = known.get(as_text(value).strip().lower())
    if judged is None:
        raise RowError(f"{column} must be true or false, this is {as_text(value)[:40]!r}")
    return judged


UNPAIRED = Format("unpaired", _fits, _convert)
