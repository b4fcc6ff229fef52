"""Alpaca: ``instruction``, ``input``, ``output``; optional ``system``, ``history``, ``tools``."""

from collections.abc import Sequence

from tuneforge_datastore.ingest.formats import Format, Values, missing, unused
from tuneforge_datastore.ingest.rows import RowError, as_text
from tuneforge_datastore.ingest.turns import tools_json
from tuneforge_datastore.records import Message, Record

_USED = frozenset({"instruction", "input", "output", "system", "history", "tools"})


def _fits(columns: frozenset[str], _rows: Sequence[Values]) -> str:
    if not {"instruction", "output"} <= columns or {"chosen", "rejected"} <= columns:
        return ""
    return "columns instruction, " + ("input, " if "input" in columns else "") + "output"


def _convert(row: Values) -> Record:
    for column in ("instruction", "output"):
        if column not in row:
            raise missing(row, column)
    turns = []
    if row.get("system"):
        turns.append(Message("system", as_text(row["system"])))
    for pair in row.get("history") or ():
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise RowError("history must be a list of [question, answer] pairs")
        turns.append(Message("user", as_text(pair[0])))
        turns.append(Message("assistant", as_text(pair[1])))
    prompt = as_text(row["instruction"])
    if given := as_text(row.get("input")):
        prompt = f"{prompt}\n{given}" if prompt else given
    turns += [Message("user", prompt), Message("assistant", as_text(row["output"]))]
    tools = tools_json(row["tools"]) if row.get("tools") else ""
    return Record("instruction", turns, tools=tools, meta=unused(row, _USED))


ALPACA = Format("alpaca", _fits, _convert)
