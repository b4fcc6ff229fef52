"""The unified record: one row shape for instructions, preferences and plain text."""

import hashlib
import json
import unicodedata
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import pyarrow as pa

Kind = Literal["instruction", "preference", "unpaired", "text"]


class Message(NamedTuple):
    """One turn. ``tool_calls`` is JSON text, empty if there are none."""

    role: str
    content: str
    tool_calls: str = ""
    tool_call_id: str = ""
    name: str = ""
    weight: float = 1.0


@dataclass(slots=True)
class Record:
    """One record before it has a place in a source."""

    kind: Kind
    messages: list[Message] = field(default_factory=list)
    chosen: list[Message] = field(default_factory=list)
    rejected: list[Message] = field(default_factory=list)
    label: bool | None = None
    text: str = ""
    tools: str = ""
    meta: dict[str, Any] = field(default_factory=dict)
    key: str = ""

    @property
    def system(self) -> str:
        """The system turn's text, empty if there is none."""
        first = self.messages[0] if self.messages else None
        return first.content if first and first.role == "system" else ""

    def prompt_and_completion(self) -> tuple[str, str]:
        """Give the user's turns before the last answer, and that answer, as plain text."""
        if self.kind == "text":
            return "", self.text
        if self.kind == "preference":
            return _user_text(self.messages), answer_text(self.chosen)
        last = len(self.messages) - 1
        while last >= 0 and self.messages[last].role != "assistant":
            last -= 1
        if last < 0:
            return _user_text(self.messages), ""
        return _user_text(self.messages[:last]), answer_text(self.messages[last : last + 1])


def _user_text(turns: list[Message]) -> str:
    return "\n".join(turn.content for turn in turns if turn.role == "user")


def answer_text(turns: list[Message]) -> str:
    """Give the text of an answer; a turn that only calls tools is its calls."""
    return "\n".join(turn.content or turn.tool_calls for turn in turns if turn.role == "assistant")


def content_hash(record: Record) -> str:
    """Hash what the record says: 128-bit hex, equal for texts that differ in white space or NFC.

    Parts are kept apart by NUL: moving text from one turn to the next changes the hash.
    """
    parts = [record.kind, record.tools, "" if record.label is None else str(record.label)]
    for turns in (record.messages, record.chosen, record.rejected):
        parts.append("")
        for turn in turns:
            parts += (turn.role, turn.content)
            if turn.tool_calls:
                parts.append(turn.tool_calls)
    parts.append(record.text)
    whole = " ".join(" \0 ".join(parts).split())
    if not whole.isascii():
        whole = unicodedata.normalize("NFC", whole)
    return hashlib.blake2b(whole.encode("utf-8"), digest_size=16).hexdigest()


def meta_json(meta: dict[str, Any]) -> str:
    """Write unused columns as JSON; values without a JSON form become their text."""
    return json.dumps(meta, ensure_ascii=False, default=str) if meta else "{}"


MESSAGE = pa.struct(
    [
        ("role", pa.string()),
        ("content", pa.string()),
        ("tool_calls", pa.string()),
        ("tool_call_id", pa.string()),
        ("name", pa.string()),
        ("weight", pa.float64()),
    ]
)
TURNS = pa.list_(pa.field("element", MESSAGE))
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("source", pa.string()),
        ("file", pa.string()),
        ("line", pa.int64()),
        ("kind", pa.string()),
        ("system", pa.string()),
        ("messages", TURNS),
        ("chosen", TURNS),
        ("rejected", TURNS),
        ("label", pa.bool_()),
        ("text", pa.string()),
        ("tools", pa.string()),
        ("meta", pa.string()),
        ("prompt", pa.string()),
        ("completion", pa.string()),
        ("content_hash", pa.string()),
    ]
)
# What cleaning and redaction may change, after the number of a row; null is as it was.
PATCHED = pa.schema(
    [
        ("row", pa.int64()),
        ("system", pa.string()),
        ("messages", TURNS),
        ("chosen", TURNS),
        ("rejected", TURNS),
        ("text", pa.string()),
        ("tools", pa.string()),
        ("meta", pa.string()),
        ("prompt", pa.string()),
        ("completion", pa.string()),
        ("content_hash", pa.string()),
    ]
)
REJECTS = pa.schema(
    [
        ("id", pa.string()),
        ("source", pa.string()),
        ("file", pa.string()),
        ("line", pa.int64()),
        ("reason", pa.string()),
        ("raw", pa.string()),
    ]
)
