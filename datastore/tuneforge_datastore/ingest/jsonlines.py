"""JSON Lines: one object a line, each error with its line."""

import json
from collections.abc import Iterator
from typing import IO, Any, NoReturn

from tuneforge_datastore.ingest.lines import MAX_ROW_BYTES, TooLong, lines
from tuneforge_datastore.ingest.rows import RAW_SHOWN, Broken, Row

BOM = b"\xef\xbb\xbf"


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


decoder = json.JSONDecoder(parse_constant=_no_constant)


def read_jsonl(stream: IO[bytes], limit: int = MAX_ROW_BYTES) -> Iterator[Row | Broken]:
    """Read rows; blank lines are passed over."""
    scan = decoder.decode
    for number, line in enumerate(lines(stream, limit), 1):
        if number == 1 and line.startswith(BOM):
            line = line[3:]  # noqa: PLW2901 - the byte order mark is no part of the text
        if not line or line.isspace():
            continue
        if isinstance(line, TooLong):
            yield Broken(number, f"the line is longer than {limit:,} bytes", _shown(line))
            continue
        try:
            value = scan(line.decode())
        except UnicodeDecodeError as error:
            reason = f"not UTF-8: byte 0x{line[error.start]:02x} at column {error.start + 1}"
            yield Broken(number, reason, _shown(line))
        except (ValueError, RecursionError) as error:
            yield Broken(number, json_reason(error), _shown(line))
        else:
            yield as_row(number, value)


def as_row(number: int, value: Any) -> Row | Broken:
    """Take a parsed value as a row."""
    if isinstance(value, dict):
        return Row(number, value)
    kind = "an array" if isinstance(value, list) else "a bare value"
    return Broken(number, f"a row must be a JSON object, this is {kind}", str(value)[:RAW_SHOWN])


def json_reason(error: Exception) -> str:
    """Say what is wrong with a piece of JSON."""
    if isinstance(error, RecursionError):
        return "broken JSON: nested too deeply"
    if isinstance(error, json.JSONDecodeError):
        return f"broken JSON: {error.msg} at column {error.colno}"
    return f"broken JSON: {error}"


def _shown(line: bytes) -> str:
    return line[:RAW_SHOWN].decode("utf-8", "replace")
