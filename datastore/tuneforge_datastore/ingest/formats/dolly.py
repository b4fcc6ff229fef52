"""Dolly: ``instruction``, ``context``, ``response``, and a ``category`` that stays as meta."""

from collections.abc import Sequence

from tuneforge_datastore.ingest.formats import Format, Values, missing, unused
from tuneforge_datastore.ingest.rows import as_text
from tuneforge_datastore.records import Message, Record

_USED = frozenset({"instruction", "context", "response", "system"})


def _fits(columns: frozenset[str], _rows: Sequence[Values]) -> str:
    if not {"instruction", "response"} <= columns or columns & {"output", "chosen", "rejected"}:
        return ""
    return "columns instruction, " + ("context, " if "context" in columns else "") + "response"


def _convert(row: Values) -> Record:
    for column in ("instruction", "response"):
        if column not in row:
            raise missing(row, column)
    prompt, context = as_text(row["instruction"]), as_text(row.get("context"))
    if context:
        # What the question is about comes after it, a paragraph of its own.
        prompt = f"{prompt}\n\n{context}" if prompt else context
    said = [Message("user", prompt), Message("assistant", as_text(row["response"]))]
    if row.get("system"):
        said.insert(0, Message("system", as_text(row["system"])))
    return Record("instruction", said, meta=unused(row, _USED))


DOLLY = Format("dolly", _fits, _convert)
