"""Preference pairs: ``chosen`` and ``rejected`` as text or messages, with their shared prompt."""

from collections.abc import Sequence
from typing import Any

from tuneforge_datastore.ingest.formats import Format, Values, missing, unused
from tuneforge_datastore.ingest.formats.completion import side
from tuneforge_datastore.ingest.formats.sharegpt import TOOL_COLUMNS
from tuneforge_datastore.ingest.rows import RowError, as_text
from tuneforge_datastore.ingest.turns import tools_json, turns
from tuneforge_datastore.records import Message, Record

_PROMPTS = (
    "prompt",
    "question",
    "instruction",
    "query",
    "conversations",
    "conversation",
    "messages",
)


def _fits(columns: frozenset[str], rows: Sequence[Values]) -> str:
    if not {"chosen", "rejected"} <= columns:
        return ""
    prompt = next((name for name in _PROMPTS if name in columns), "")
    if prompt:
        return f"columns {prompt}, chosen, rejected"
    if all(isinstance(row.get("chosen"), list) for row in rows):
        return "messages in columns chosen, rejected"
    return ""


def _convert(row: Values) -> Record:
    for column in ("chosen", "rejected"):
        if column not in row:
            raise missing(row, column)
    name = next((name for name in _PROMPTS if name in row), "")
    prompt = _prompt(row[name], name) if name else []
    if name == "instruction" and row.get("input"):
        prompt[-1] = Message("user", f"{prompt[-1].content}\n{as_text(row['input'])}")
    used = frozenset((name, "input", "chosen", "rejected", "system", *TOOL_COLUMNS))
    record = pair(
        prompt,
        side(row["chosen"], "chosen", "assistant"),
        side(row["rejected"], "rejected", "assistant"),
    )
    if row.get("system") and not record.system:
        record.messages.insert(0, Message("system", as_text(row["system"])))
    record.tools = next((tools_json(row[key], key) for key in TOOL_COLUMNS if row.get(key)), "")
    record.meta = unused(row, used)
    return record


def _prompt(value: Any, column: str) -> list[Message]:
    if column in ("conversations", "conversation", "messages"):
        return turns(value, column)
    return side(value, column, "user")


def pair(prompt: list[Message], chosen: list[Message], rejected: list[Message]) -> Record:
    """Make a preference record; turns that both answers repeat belong to the prompt.

    Raises:
        RowError: there is no prompt, or an answer has no turn of its own.
    """
    shared = 0
    while shared < min(len(chosen), len(rejected)) and chosen[shared] == rejected[shared]:
        shared += 1
    while shared and chosen[shared - 1].role == "assistant":
        shared -= 1
    if shared:
        prompt = chosen[:shared]
        chosen, rejected = chosen[shared:], rejected[shared:]
    if not prompt:
        raise RowError(
            "chosen and rejected have no prompt in common, and no prompt column is there"
        )
    for name, turn_list in (("chosen", chosen), ("rejected", rejected)):
        if not turn_list or turn_list[0].role != "assistant":
            raise RowError(f"{name} must begin with an assistant turn after the shared prompt")
    return Record("preference", prompt, chosen, rejected)


PREFERENCE = Format("preference", _fits, _convert)
