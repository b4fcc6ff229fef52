"""From a unified record to the messages a chat template is given."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tuneforge_specs.errors import DataError

Message = dict[str, Any]


@dataclass(frozen=True)
class Conversation:
    """Messages as templates read them; ``weights[i]`` is the loss weight of message i."""

    messages: list[Message]
    weights: list[float]
    tools: list[Any] | None


def conversation(
    record: Mapping[str, Any], turns: Sequence[Mapping[str, Any]], system: str = ""
) -> Conversation:
    """Build the conversation of a record; ``system`` is its system turn where it has none."""
    rows = list(turns)
    own = record.get("system") or ""
    if (own or system) and (not rows or rows[0]["role"] != "system"):
        rows.insert(0, {"role": "system", "content": own or system})
    weights = [1.0 if (weight := row.get("weight")) is None else float(weight) for row in rows]
    return Conversation([message(row) for row in rows], weights, tools(record))


def message(row: Mapping[str, Any]) -> Message:
    """Build one message; keys that say nothing are left out, as templates test for presence."""
    built: Message = {"role": row["role"], "content": row.get("content") or ""}
    for key in ("tool_call_id", "name"):
        if row.get(key):
            built[key] = row[key]
    if row.get("tool_calls"):
        calls = json.loads(row["tool_calls"])
        built["tool_calls"] = (
            [_call(call) for call in calls] if isinstance(calls, list) else [calls]
        )
    return built


def _call(call: Any) -> Any:
    """Bring a call to the form templates expect: under ``function``, arguments as an object.

    OpenAI's API writes arguments as JSON text; templates write ``arguments | tojson``, which would
    quote that text a second time.
    """
    if not isinstance(call, dict):
        raise DataError(
            f"a tool call is not an object: {json.dumps(call, ensure_ascii=False)[:80]}",
            'write tool calls as [{"name": ..., "arguments": {...}}]',
        )
    function = dict(call["function"]) if isinstance(call.get("function"), dict) else dict(call)
    arguments = function.get("arguments", {})
    if isinstance(arguments, str):
        try:
            parsed = json.loads(arguments)
        except ValueError:
            parsed = arguments
        arguments = parsed if isinstance(parsed, dict) else arguments
    built = {
        "type": "function",
        "function": {"name": str(function.get("name", "")), "arguments": arguments},
    }
    return {"id": call["id"], **built} if call.get("id") else built


def tools(record: Mapping[str, Any]) -> list[Any] | None:
    """Read the tool descriptions of a record; ``None`` if it has none."""
    text = record.get("tools") or ""
    found = json.loads(text) if text else None
    return found if isinstance(found, list) and found else None
