"""JSON documents: an array of objects, one object, or objects one after the other.

Elements are decoded one at a time from a sliding window of text, so a document of any size is read
in the memory of its largest element. Bytes that are not UTF-8 become lone surrogates here and are
refused row by row where records are encoded.
"""

import json
import re
from codecs import getincrementaldecoder
from collections.abc import Iterator
from typing import IO, Any

from tuneforge_datastore.ingest.jsonlines import as_row, decoder, json_reason
from tuneforge_datastore.ingest.lines import MAX_ROW_BYTES
from tuneforge_datastore.ingest.rows import Broken, BrokenFile, Row

_SPACE = re.compile(r"[ \t\n\r]*")
_CHUNK = 1 << 20
# The scanner reports a value cut at the end of the text at most this far before the end.
_CUT = 16
# Lists under these names are part of a row, not the rows of a document.
_PARTS = {"messages", "conversations", "conversation", "turns", "chosen", "rejected", "tools"}


class _Window:
    def __init__(self, stream: IO[bytes], limit: int) -> None:
        self.stream = stream
        self.limit = limit
        self.text = ""
        self.at = 0
        self.line = 1
        self.ended = False
        self.decode = getincrementaldecoder("utf-8-sig")("surrogateescape").decode

    def fill(self) -> bool:
        """Read on; false at the end of the stream."""
        held = len(self.text) - self.at
        if held > self.limit:
            raise BrokenFile(self.line, f"one value is longer than {self.limit:,} characters")
        chunk = self.stream.read(max(_CHUNK, held))
        self.ended = not chunk
        self.text = self.text[self.at :] + self.decode(chunk, self.ended)
        self.at = 0
        return not self.ended

    def advance(self, to: int) -> None:
        self.line += self.text.count("\n", self.at, to)
        self.at = to

    def peek(self) -> str:
        """Pass white space and give the next character, empty at the end."""
        while True:
            match = _SPACE.match(self.text, self.at)
            self.advance(match.end() if match else self.at)
            if self.at < len(self.text):
                return self.text[self.at]
            if self.ended or not self.fill():
                return ""

    def value(self) -> Any:
        """Decode the value that begins here and stand behind it."""
        while True:
            try:
                value, end = decoder.raw_decode(self.text, self.at)
            except json.JSONDecodeError as error:
                cut = error.msg.startswith("Unterminated") or error.pos >= len(self.text) - _CUT
                if cut and not self.ended:
                    self.fill()
                    continue
                self.advance(min(error.pos, len(self.text)))
                raise BrokenFile(self.line, f"broken JSON: {error.msg}") from None
            except (ValueError, RecursionError) as error:
                raise BrokenFile(self.line, json_reason(error)) from None
            self.advance(end)
            return value


def read_json(stream: IO[bytes], limit: int = MAX_ROW_BYTES) -> Iterator[Row | Broken]:
    """Read the rows of a document.

    Raises:
        BrokenFile: the document is not JSON from some line on.
    """
    window = _Window(stream, limit)
    first = window.peek()
    if first == "[":
        yield from _array(window)
    elif first == "{":
        yield from _objects(window)
    elif first:
        raise BrokenFile(window.line, "broken JSON: expected an array or an object")


def _array(window: _Window) -> Iterator[Row | Broken]:
    window.advance(window.at + 1)
    if window.peek() == "]":
        window.advance(window.at + 1)
    else:
        while True:
            window.peek()
            line = window.line
            yield as_row(line, window.value())
            mark = window.peek()
            if mark not in (",", "]"):
                found = repr(mark) if mark else "the end of the file"
                raise BrokenFile(window.line, f"broken JSON: expected ',' or ']', found {found}")
            window.advance(window.at + 1)
            if mark == "]":
                break
    if window.peek():
        raise BrokenFile(window.line, "broken JSON: text after the end of the array")


def _objects(window: _Window) -> Iterator[Row | Broken]:
    line = window.line
    value = window.value()
    if not window.peek():
        rows = _row_list(value)
        for row in rows:
            yield Row(line, row)
        if not rows:
            yield Row(line, value)
        return
    yield as_row(line, value)
    while window.peek():
        line = window.line
        yield as_row(line, window.value())


def _row_list(value: dict[str, Any]) -> list[dict[str, Any]]:
    lists = [
        items
        for name, items in value.items()
        if name not in _PARTS
        and isinstance(items, list)
        and items
        and all(isinstance(item, dict) for item in items)
    ]
    return lists[0] if len(lists) == 1 else []
