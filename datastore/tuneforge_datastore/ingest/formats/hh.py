"""Anthropic's HH transcripts: ``chosen`` and ``rejected`` of Human: and Assistant: paragraphs."""

import re
from collections.abc import Sequence

from tuneforge_datastore.ingest.formats import Format, Values, missing, unused
from tuneforge_datastore.ingest.formats.preference import pair
from tuneforge_datastore.ingest.rows import RowError, as_text
from tuneforge_datastore.records import Message, Record

_USED = frozenset({"chosen", "rejected"})
_SPEAKER = re.compile(r"(?:^|\n\n)(Human|Assistant):")


def _fits(columns: frozenset[str], rows: Sequence[Values]) -> str:
    texts = [row.get("chosen") for row in rows]
    transcripts = all(isinstance(text, str) and _SPEAKER.match(text) for text in texts)
    if {"chosen", "rejected"} <= columns and "prompt" not in columns and transcripts:
        return "Human/Assistant transcripts in columns chosen, rejected"
    return ""


def _convert(row: Values) -> Record:
    for column in ("chosen", "rejected"):
        if column not in row:
            raise missing(row, column)
    record = pair(
        [],
        _transcript(as_text(row["chosen"]), "chosen"),
        _transcript(as_text(row["rejected"]), "rejected"),
    )
    record.meta = unused(row, _USED)
    return record


def _transcript(text: str, column: str) -> list[Message]:
    pieces = _SPEAKER.split(text)
    if len(pieces) < 3 or pieces[0].strip():
        raise RowError(f"{column} is no transcript that begins with 'Human:' or 'Assistant:'")
    roles = ["user" if speaker == "Human" else "assistant" for speaker in pieces[1::2]]
    return [Message(role, said.strip()) for role, said in zip(roles, pieces[2::2], strict=True)]


HH = Format("hh", _fits, _convert)
