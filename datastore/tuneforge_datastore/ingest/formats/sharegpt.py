"""ShareGPT and its variants: ``conversations`` of ``from``/``value`` or ``role``/``content``."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from tuneforge_datastore.ingest.formats import Format, Values, missing, unused
from tuneforge_datastore.ingest.rows import RowError, as_text
from tuneforge_datastore.ingest.turns import tools_json, turns
from tuneforge_datastore.records import Message, Record

CONVERSATION_COLUMNS = ("conversations", "conversation", "dialog", "dialogue", "items", "data")
TOOL_COLUMNS = ("tools", "functions")


def conversation_fits(columns: frozenset[str], rows: Sequence[Values], names: Sequence[str]) -> str:
    """Say why rows are conversations and nothing more, or give an empty string."""
    name = next((name for name in names if name in columns), "")
    rated = {"chosen", "rejected"} <= columns or has_label(rows)
    # A name as general as `data` or `conversation` may hold anything: a ChatML text, a number.
    listed = name and all(_listed(row.get(name)) for row in rows)
    return f"a list of turns in column {name}" if listed and not rated else ""


def _listed(value: Any) -> bool:
    return value is None or isinstance(value, list) or str(value).lstrip().startswith("[")


def has_label(rows: Sequence[Values]) -> bool:
    """Say whether rows carry a true/false judgement."""
    labels = [row.get("label", row.get("kto_tag")) for row in rows]
    given = [label for label in labels if label is not None]
    return bool(given) and all(
        isinstance(label, bool) or str(label).lower() in ("true", "false") for label in given
    )


def conversation(row: Values, names: Sequence[str], also_used: Sequence[str] = ()) -> Record:
    """Take a row's list of turns with its system text and tools as an instruction record."""
    name = next((name for name in names if name in row), "")
    if not name:
        raise missing(row, names[0])
    said = turns(row[name], name)
    if not said:
        raise RowError(f"{name} is empty")
    if row.get("system") and said[0].role != "system":
        said.insert(0, Message("system", as_text(row["system"])))
    tools = next((tools_json(row[key], key) for key in TOOL_COLUMNS if row.get(key)), "")
    used = frozenset((name, "system", *TOOL_COLUMNS, *also_used))
    return Record("instruction", said, tools=tools, meta=unused(row, used))


SHAREGPT = Format(
    "sharegpt",
    partial(conversation_fits, names=CONVERSATION_COLUMNS),
    partial(conversation, names=CONVERSATION_COLUMNS),
)
