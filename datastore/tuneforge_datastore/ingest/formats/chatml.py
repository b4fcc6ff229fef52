"""ChatML text: turns between ``<|im_start|>role`` and ``<|im_end|>`` in one column."""

import re
from collections.abc import Sequence

from tuneforge_datastore.ingest.formats import Format, Values, missing, unused
from tuneforge_datastore.ingest.rows import RowError, as_text
from tuneforge_datastore.ingest.turns import turn
from tuneforge_datastore.records import Record

COLUMNS = ("text", "chatml", "conversation", "prompt")
BEGIN = "<|im_start|>"
_TURN = re.compile(r"\s*<\|im_start\|>[ ]*([^\n]*)\n(.*?)(?:<\|im_end\|>|\Z)", re.DOTALL)


def column_of(rows: Sequence[Values]) -> str:
    """Name the column whose every text begins as ChatML does, if there is one."""
    for name in COLUMNS:
        texts = [row.get(name) for row in rows]
        if all(isinstance(text, str) and text.lstrip().startswith(BEGIN) for text in texts):
            return name
    return ""


def _fits(_columns: frozenset[str], rows: Sequence[Values]) -> str:
    name = column_of(rows)
    return f"{BEGIN} turns in column {name}" if name else ""


def _convert(row: Values) -> Record:
    name = column_of([row])
    if not name:
        if not row.keys() & set(COLUMNS):
            raise missing(row, COLUMNS[0])
        raise RowError(f"no column begins with {BEGIN}")
    text = as_text(row[name])
    said = []
    at = 0
    while found := _TURN.match(text, at):
        content = found[2].removesuffix("\n")
        said.append(turn({"role": found[1].strip(), "content": content}, name))
        at = found.end()
    if text[at:].strip():
        raise RowError(f"{name}: {text[at:].strip()[:40]!r} is in no turn")
    return Record("instruction", said, meta=unused(row, frozenset({name})))


CHATML = Format("chatml", _fits, _convert)
