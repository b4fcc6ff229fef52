"""Any DuckDB predicate over the columns of a record."""

from tuneforge_specs.filters import SqlFilter

from tuneforge_datastore.filters import Check
from tuneforge_datastore.quoting import literal


def check(spec: SqlFilter) -> Check:
    """Keep where the predicate is true; null is not true."""
    return Check(
        rule=spec.name,
        keep=f"coalesce(({spec.keep}\n), false)",
        reason=literal(f"not true: {spec.keep}"),
    )
