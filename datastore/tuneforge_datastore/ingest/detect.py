"""Recognise the format of raw rows, or say why not."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from tuneforge_specs.errors import DataError
from tuneforge_specs.sources import Columns, SourceBase

from tuneforge_datastore.ingest.formats import FORMATS, Format, load
from tuneforge_datastore.ingest.formats.custom import custom

SAMPLE = 100
_KNOWN = (
    *("instruction", "output", "conversations", "messages", "prompt", "completion", "question"),
    *("answer", "response", "chosen", "rejected", "label", "text"),
)


def choose(source: SourceBase, rows: Sequence[dict[str, Any]], place: str) -> tuple[Format, str]:
    """Choose the format of the file whose first rows are given, and say why.

    Raises:
        DataError: a column that is named is missing, no format fits, or more than one does.
    """
    columns = frozenset().union(*(row.keys() for row in rows))
    if source.columns != Columns():
        _require(source.columns, columns, place)
        made = custom(source.columns)
        return made, made.fits(columns, rows)
    if source.format != "auto":
        return load(source.format), "the spec says so"
    fitting = [(made, why) for made in map(load, FORMATS) if (why := made.fits(columns, rows))]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise DataError(
            f"{place}: the rows fit " + " and ".join(f"{f.name} ({why})" for f, why in fitting),
            "choose one: " + " or ".join(f'format = "{made.name}"' for made, _ in fitting),
        )
    raise DataError(
        f"{place}: no format fits the columns {', '.join(sorted(columns)) or '(none)'}",
        'name them, for example columns = { prompt = "...", completion = "..." }'
        + _likely(columns)
        + f"; or set format to one of {', '.join(FORMATS)}",
    )


def _likely(columns: frozenset[str]) -> str:
    for column in sorted(columns):
        near = get_close_matches(column.lower(), _KNOWN, 1, 0.75)
        if near and near[0] != column:
            return f" (is {column!r} the {near[0]}?)"
    return ""


def _require(named: Columns, columns: frozenset[str], place: str) -> None:
    for role, name in named.model_dump().items():
        if name and name not in columns:
            near = get_close_matches(name, sorted(columns), 1, 0.5)
            raise DataError(
                f"{place}: column {name!r} (columns.{role}) is missing; "
                f"the columns are {', '.join(sorted(columns)) or '(none)'}",
                f"did you mean {role} = {near[0]!r}?" if near else f"correct columns.{role}",
            )
