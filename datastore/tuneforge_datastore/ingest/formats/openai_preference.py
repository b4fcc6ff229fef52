"""OpenAI's preference fine-tuning files: ``input``, ``preferred_output``, ``non_preferred_output``.

https://platform.openai.com/docs/guides/direct-preference-optimization
"""

from collections.abc import Sequence
from typing import Any

from tuneforge_datastore.ingest.formats import Format, Values, missing, unused
from tuneforge_datastore.ingest.formats.preference import pair
from tuneforge_datastore.ingest.rows import RowError, as_text
from tuneforge_datastore.ingest.turns import parsed, tools_json, turns
from tuneforge_datastore.records import Message, Record

_COLUMNS = ("input", "preferred_output", "non_preferred_output")
_FROM_INPUT = ("messages", "tools")


def _fits(columns: frozenset[str], _rows: Sequence[Values]) -> str:
    return f"columns {', '.join(_COLUMNS)}" if columns.issuperset(_COLUMNS) else ""


def _convert(row: Values) -> Record:
    for column in _COLUMNS:
        if column not in row:
            raise missing(row, column)
    given = row["input"]
    if isinstance(given, str):
        given = parsed(given, "input")
    if not isinstance(given, dict) or "messages" not in given:
        raise RowError(f"input must be an object with messages, this is {as_text(given)[:80]!r}")
    prompt = turns(given["messages"], "input.messages")
    record = pair(prompt, *(_answer(row[column], column) for column in _COLUMNS[1:]))
    if given.get("tools"):
        record.tools = tools_json(given["tools"], "input.tools")
    beside = {name: value for name, value in given.items() if name not in _FROM_INPUT}
    record.meta = {**beside, **unused(row, frozenset(_COLUMNS))}
    return record


def _answer(value: Any, column: str) -> list[Message]:
    said = turns(value, column)
    if not said:
        raise RowError(f"{column} is empty")
    return said


OPENAI_PREFERENCE = Format("openai-preference", _fits, _convert)
