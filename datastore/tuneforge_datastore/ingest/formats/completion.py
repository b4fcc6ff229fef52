"""A prompt and its completion in two columns, under any of their usual names."""

from collections.abc import Sequence

from tuneforge_datastore.ingest.formats import Format, Values, missing, unused
from tuneforge_datastore.ingest.formats.sharegpt import has_label
from tuneforge_datastore.ingest.rows import RowError, as_text
from tuneforge_datastore.ingest.turns import tools_json, turns
from tuneforge_datastore.records import Message, Record

PAIRS = (
    ("prompt", "completion"),
    ("prompt", "response"),
    ("question", "answer"),
    ("question", "response"),
    ("query", "response"),
    ("input", "output"),
)
_NOT = ("instruction", "chosen", "rejected")


def _fits(columns: frozenset[str], rows: Sequence[Values]) -> str:
    found = [pair for pair in PAIRS if columns.issuperset(pair)]
    if len(found) != 1 or columns.intersection(_NOT) or has_label(rows):
        return ""
    return "columns " + ", ".join(found[0])


def _convert(row: Values) -> Record:
    found = [pair for pair in PAIRS if row.keys() >= set(pair)]
    if not found:
        half = next((pair for pair in PAIRS if set(pair) & row.keys()), PAIRS[0])
        raise missing(row, next(name for name in half if name not in row))
    if len(found) > 1:
        pairs = " or ".join("/".join(pair) for pair in found)
        raise RowError(f"which columns are meant, {pairs}? say so with `columns`")
    return exchange(row, *found[0])


def exchange(row: Values, prompt: str, completion: str, also_used: Sequence[str] = ()) -> Record:
    """Take two cells, each text or messages, as an instruction record."""
    said = side(row[prompt], prompt, "user") + side(row[completion], completion, "assistant")
    if row.get("system") and said[0].role != "system":
        said.insert(0, Message("system", as_text(row["system"])))
    tools = tools_json(row["tools"]) if row.get("tools") else ""
    used = frozenset((prompt, completion, "system", "tools", *also_used))
    return Record("instruction", said, tools=tools, meta=unused(row, used))


def side(value: object, column: str, role: str) -> list[Message]:
    """Take a cell as one turn of ``role``, or as the messages it holds."""
    listed = isinstance(value, list) and bool(value) and isinstance(value[0], dict)
    if listed or (isinstance(value, dict) and ("role" in value or "from" in value)):
        return turns(value, column)
    return [Message(role, as_text(value))]


COMPLETION = Format("completion", _fits, _convert)
