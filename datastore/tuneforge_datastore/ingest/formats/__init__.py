"""How raw rows of a format become records; one module a format."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from tuneforge_datastore.ingest.rows import Broken, Row, RowError
from tuneforge_datastore.records import Record

Values = dict[str, Any]


def _each(rows: Iterator[Row | Broken]) -> Iterator[Row | Broken]:
    return rows


@dataclass(frozen=True)
class Format:
    """One format.

    ``fits`` says why rows look like it, or gives an empty string. ``convert`` makes a row's record,
    or the list of its records. ``gather`` puts rows together that are converted as one.
    """

    name: str
    fits: Callable[[frozenset[str], Sequence[Values]], str]
    convert: Callable[[Values], Record | list[Record]]
    gather: Callable[[Iterator[Row | Broken]], Iterator[Row | Broken]] = _each


FORMATS = {
    "alpaca": "alpaca:ALPACA",
    "sharegpt": "sharegpt:SHAREGPT",
    "messages": "messages:MESSAGES",
    "completion": "completion:COMPLETION",
    "preference": "preference:PREFERENCE",
    "openai-preference": "openai_preference:OPENAI_PREFERENCE",
    "unpaired": "unpaired:UNPAIRED",
    "text": "text:TEXT",
    "hh": "hh:HH",
    "chatml": "chatml:CHATML",
    "dolly": "dolly:DOLLY",
    "oasst": "oasst:OASST",
    "oasst-pairs": "oasst:OASST_PAIRS",
    "ratings": "ratings:RATINGS",
}


def load(name: str) -> Format:
    """Import the format called ``name``."""
    module, attribute = FORMATS[name].split(":")
    found: Format = getattr(import_module(f"{__name__}.{module}"), attribute)
    return found


def missing(row: Values, column: str) -> RowError:
    """Say that a row lacks a column."""
    return RowError(f"column {column!r} is missing (columns: {', '.join(map(str, row))})")


def unused(row: Values, used: frozenset[str]) -> Values:
    """Give the columns no role was found for."""
    if row.keys() <= used:
        return {}
    return {name: value for name, value in row.items() if name not in used}
