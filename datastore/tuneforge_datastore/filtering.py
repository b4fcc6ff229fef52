"""Run a dataset's filters in one pass over its rows; the first that fails names the reason."""

from collections.abc import Sequence

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from tuneforge_specs.errors import DataError, UsageError
from tuneforge_specs.filters import Filter

from tuneforge_datastore.filters import Check, check
from tuneforge_datastore.ingest.query import first_line
from tuneforge_datastore.ledger import DROPS, EVIDENCE_SHOWN, Ledger
from tuneforge_datastore.records import SCHEMA
from tuneforge_datastore.rows import SourceRows


def run_filters(
    connection: duckdb.DuckDBPyConnection, ledger: Ledger, filters: Sequence[Filter], place: str
) -> None:
    """Drop what fails; ``place`` is the key path of the list, for messages.

    Raises:
        UsageError: a SQL predicate that DuckDB does not understand.
        DataError: a SQL predicate that fails on a row.
    """
    if not filters:
        return
    checks = [check(one) for one in filters]
    failed = pa.concat_tables(
        [_failed(connection, ledger, source, checks, place) for source in ledger.rows.sources]
    ).sort_by("row")
    for index, one in enumerate(checks):
        mine = failed.filter(pc.equal(failed.column("failed"), index)).select(DROPS.names)
        ledger.record(f"filters[{index}]", one.rule, mine.cast(DROPS))


def _failed(
    connection: duckdb.DuckDBPyConnection,
    ledger: Ledger,
    source: SourceRows,
    checks: Sequence[Check],
    place: str,
) -> pa.Table:
    rows = ledger.rows
    alive = pa.table({"row": rows.numbers()})
    table = (
        f'(SELECT *, file_row_number + {source.first} AS "row" '
        "FROM read_parquet($records, file_row_number = true))"
    )
    if len(alive) < len(rows):
        connection.register("alive", alive)
        table = f'(SELECT * FROM {table} SEMI JOIN alive USING ("row"))'
    values = {"records": str(source.records)}
    _bind_all(connection, checks, values, table, place)
    try:
        return connection.sql(_query(checks, table), params=values).to_arrow_table()
    except duckdb.Error as error:
        raise _culprit(connection, checks, values, table, place) or DataError(
            f"{place}: {first_line(error)}", "correct the filters or the data"
        ) from None


def _query(checks: Sequence[Check], table: str) -> str:
    names = ", ".join(SCHEMA.names)
    order = " ".join(f"WHEN NOT ({one.keep}) THEN {i}" for i, one in enumerate(checks))
    pick = {
        what: " ".join(f"WHEN {i} THEN {getattr(one, what)}" for i, one in enumerate(checks))
        for what in ("score", "reason", "evidence")
    }
    return (
        f'SELECT "row", failed, CAST(CASE failed {pick["score"]} END AS DOUBLE) AS score, '
        f"CASE failed {pick['reason']} END AS reason, "
        f"left(CASE failed {pick['evidence']} END, {EVIDENCE_SHOWN}) AS evidence, "
        "'' AS witness "
        f'FROM (SELECT "row", {names}, CASE {order} END AS failed FROM {table}) '
        "WHERE failed IS NOT NULL"
    )


def _bind_all(
    connection: duckdb.DuckDBPyConnection,
    checks: Sequence[Check],
    values: dict[str, str],
    table: str,
    place: str,
) -> None:
    for index, one in enumerate(checks):
        query = f"SELECT 1 FROM {table} WHERE ({one.keep}) LIMIT 0"
        try:
            statements = connection.extract_statements(query)
            if len(statements) == 1 and statements[0].type == duckdb.StatementType.SELECT:
                connection.execute(query, values)
                continue
            problem = "one expression is expected"
        except duckdb.Error as error:
            problem = first_line(error)
        raise UsageError(
            f"{place}[{index}].keep: {problem}",
            f"the columns are {', '.join(SCHEMA.names)}; meta holds the unused ones as JSON",
        ) from None


def _culprit(
    connection: duckdb.DuckDBPyConnection,
    checks: Sequence[Check],
    values: dict[str, str],
    table: str,
    place: str,
) -> DataError | None:
    for index, one in enumerate(checks):
        try:
            connection.execute(_query([one], table), values).fetchall()
        except duckdb.Error as error:
            return DataError(
                f"{place}[{index}] ({one.rule}): {first_line(error)}",
                "make the predicate hold for every row, for example with TRY_CAST",
            )
    return None
