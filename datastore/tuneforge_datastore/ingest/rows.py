"""What readers give: raw rows with their place, or a row that could not be read."""

from typing import Any, NamedTuple


class Row(NamedTuple):
    """One raw row. ``line`` is 1-based: a line of a text file, else the row's number."""

    line: int
    values: dict[str, Any]


class Broken(NamedTuple):
    """A row that could not be read, and why; ``raw`` is its beginning."""

    line: int
    reason: str
    raw: str = ""


class RowError(ValueError):
    """A row that was read but does not fit its format."""


class Unusable(RowError):
    """A sound row that nothing can be learnt from (all its answers rated alike): never an error.

    It is counted with its reason, whatever the source says about rows that cannot be read.
    """


RAW_SHOWN = 2000


def as_text(value: Any) -> str:
    """Give a cell as text: missing is empty, numbers and structures are their JSON."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    import json

    return json.dumps(value, ensure_ascii=False, default=str)


class BrokenFile(Exception):
    """A file that cannot be read on from a line: there is no next row to skip to."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(line, reason)
        self.line = line
        self.reason = reason
