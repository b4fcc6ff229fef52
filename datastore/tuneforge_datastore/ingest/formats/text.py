"""Plain text in column ``text``."""

from collections.abc import Sequence

from tuneforge_datastore.ingest.formats import Format, Values, missing, unused
from tuneforge_datastore.ingest.formats.chatml import column_of
from tuneforge_datastore.ingest.formats.oasst import is_tree
from tuneforge_datastore.ingest.rows import as_text
from tuneforge_datastore.records import Record

_USED = frozenset({"text"})


def _fits(columns: frozenset[str], rows: Sequence[Values]) -> str:
    if "text" not in columns or column_of(rows) == "text" or is_tree(columns, rows):
        return ""
    return "column text"


def _convert(row: Values) -> Record:
    if "text" not in row:
        raise missing(row, "text")
    return Record("text", text=as_text(row["text"]), meta=unused(row, _USED))


TEXT = Format("text", _fits, _convert)
