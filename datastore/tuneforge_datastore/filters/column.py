"""Numbers in the columns of the data that no role was found for: ratings, scores of a model."""

from tuneforge_specs.filters import ColumnFilter

from tuneforge_datastore.filters import Check
from tuneforge_datastore.quoting import literal


def check(spec: ColumnFilter) -> Check:
    """Keep between ``min`` and ``max``; the score is the number."""
    text = f"json_extract_string(meta, {literal(pointer(spec.column))})"
    # NaN is greater than any number in DuckDB, and between no two of them in truth.
    number = f"nullif(TRY_CAST({text} AS DOUBLE), 'nan'::DOUBLE)"
    missing = str(spec.missing == "keep").lower()
    return Check(
        rule="column",
        keep=f"coalesce({number} BETWEEN {spec.min!r} AND {spec.max!r}, {missing})",
        score=number,
        reason=f"CASE WHEN {number} IS NULL THEN {literal(f'{spec.column}: no number')} "
        f"WHEN {number} < {spec.min!r} THEN {literal(f'{spec.column} is below {spec.min:g}')} "
        f"ELSE {literal(f'{spec.column} is above {spec.max:g}')} END",
        evidence=f"coalesce({text}, '')",
    )


def pointer(column: str) -> str:
    """Write a column's name as a JSON pointer (RFC 6901); one that begins with / is one."""
    if column.startswith("/"):
        return column
    return "/" + column.replace("~", "~0").replace("/", "~1")
