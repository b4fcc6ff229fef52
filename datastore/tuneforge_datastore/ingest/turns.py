"""Messages of every dialect to turns: roles, parts, tool calls, weights."""

import json
from typing import Any

from tuneforge_datastore.ingest.rows import RowError, as_text
from tuneforge_datastore.records import Message

ROLES = {
    "assistant": "assistant",
    "bard": "assistant",
    "bing": "assistant",
    "bot": "assistant",
    "chatgpt": "assistant",
    "developer": "system",
    "function": "tool",
    "function_call": "function_call",
    "function-call": "function_call",
    "function_response": "tool",
    "gpt": "assistant",
    "human": "user",
    "model": "assistant",
    "observation": "tool",
    "prompter": "user",
    "system": "system",
    "tool": "tool",
    "tool_call": "function_call",
    "tool_response": "tool",
    "user": "user",
}


def turns(value: Any, column: str) -> list[Message]:
    """Take a list of messages, or its JSON text, as turns.

    Raises:
        RowError: it is no list of messages, a role is unknown, or a part is not text.
    """
    if isinstance(value, str):
        value = parsed(value, column)
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list):
        raise RowError(f"{column} must be a list of messages, this is {as_text(value)[:80]!r}")
    if len(value) > 1 and all(isinstance(message, str) for message in value):
        # Bare texts take turns, as in UltraChat: the user begins.
        return [Message(("user", "assistant")[at % 2], said) for at, said in enumerate(value)]
    return [one for message in value for one in _exchange(message) or (turn(message, column),)]


def _exchange(message: Any) -> tuple[Message, ...]:
    """Take an object that holds a question and its answer, as in MOSS and XTuner, as two turns."""
    for user, assistant in (("human", "assistant"), ("user", "assistant"), ("input", "output")):
        if isinstance(message, dict) and {user, assistant} <= message.keys():
            system = as_text(message.get("system"))
            before = (Message("system", system),) if system else ()
            asked = Message("user", as_text(message[user]))
            return (*before, asked, Message("assistant", as_text(message[assistant])))
    return ()


def turn(message: Any, column: str) -> Message:
    """Take one message, ``role``/``content`` or ``from``/``value``, as a turn."""
    if not isinstance(message, dict):
        raise RowError(f"{column}: a message must be an object, this is {as_text(message)[:80]!r}")
    said = message.get("role") or message.get("from") or message.get("speaker")
    role = ROLES.get(said.lower()) if isinstance(said, str) else None
    if role is None:
        raise RowError(f"{column}: unknown role {as_text(said)!r} (known: {', '.join(ROLES)})")
    content = message.get("content")
    if content is None:
        content = message.get("value", message.get("text"))
    if role == "function_call":
        return Message("assistant", "", _calls(parsed(as_text(content), column), column))
    calls = message.get("tool_calls") or message.get("function_call")
    if len(message) == 2 and isinstance(content, str):
        return Message(role, content)
    return Message(
        role,
        content if isinstance(content, str) else _joined(content, column),
        _calls(calls, column) if calls else "",
        as_text(message.get("tool_call_id")),
        as_text(message.get("name")),
        _weight(message),
    )


def _joined(content: Any, column: str) -> str:
    if not isinstance(content, list):
        return as_text(content)
    pieces = []
    for part in content:
        text = part.get("text") if isinstance(part, dict) else part
        if not isinstance(text, str):
            kind = part.get("type", "?") if isinstance(part, dict) else type(part).__name__
            raise RowError(f"{column}: a content part of type {kind!r} is not text")
        pieces.append(text)
    return "".join(pieces)


def _weight(message: dict[str, Any]) -> float:
    weight = message.get("weight", message.get("train"))
    if weight is None:
        return 1.0
    if not isinstance(weight, int | float) or weight < 0:
        raise RowError(f"a message weight must be a number from 0, this is {as_text(weight)!r}")
    return float(weight)


def _calls(value: Any, column: str) -> str:
    if isinstance(value, str):
        value = parsed(value, column)
    calls = value if isinstance(value, list) else [value]
    return json.dumps([_call(call, column) for call in calls], ensure_ascii=False)


def _call(call: Any, column: str) -> dict[str, Any]:
    function = call.get("function", call) if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise RowError(f"{column}: a tool call needs a name, this is {as_text(call)[:80]!r}")
    arguments = function.get("arguments", function.get("parameters", {}))
    if isinstance(arguments, str):
        arguments = parsed(arguments or "{}", f"{column}: arguments of {function['name']}")
    made: dict[str, Any] = {"type": "function"}
    if call.get("id"):
        made["id"] = call["id"]
    return made | {"function": {"name": function["name"], "arguments": arguments}}


def tools_json(value: Any, column: str = "tools") -> str:
    """Take tool definitions as JSON text, empty if there are none."""
    if isinstance(value, str):
        value = parsed(value, column) if value.strip() else None
    if not value:
        return ""
    if not isinstance(value, list):
        raise RowError(f"{column} must be a list of tool definitions")
    return json.dumps(value, ensure_ascii=False, default=str)


def parsed(text: str, column: str) -> Any:
    """Parse JSON inside a cell."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RowError(f"{column} holds broken JSON: {error}") from None
