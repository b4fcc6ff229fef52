"""Run a dataset's filters over its rows; of those in one pass the first that fails drops."""

from collections.abc import Mapping, Sequence

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from tuneforge_specs.errors import DataError, UsageError
from tuneforge_specs.filters import Filter

from tuneforge_datastore.filters import Check, Folders, Pass, Setting, check
from tuneforge_datastore.ingest.query import first_line
from tuneforge_datastore.ledger import DROPS, EVIDENCE_SHOWN, Ledger
from tuneforge_datastore.records import SCHEMA
from tuneforge_datastore.rows import SourceRows

Checks = Mapping[int, Check]


def run_filters(
    connection: duckdb.DuckDBPyConnection,
    ledger: Ledger,
    filters: Sequence[Filter],
    place: str,
    folders: Folders,
) -> None:
    """Drop what fails; ``place`` is the key path of the list, for messages.

    Raises:
        UsageError: a SQL predicate that DuckDB does not understand.
        DataError: a SQL predicate that fails on a row.
    """
    waiting: dict[int, Check] = {}
    for index, one in enumerate(map(check, filters)):
        setting = Setting(connection, folders, f"{place}[{index}]", f"filters[{index}]")
        if isinstance(one, Pass):
            _drop_failed(connection, ledger, waiting, place)
            waiting = {}
            one.run(setting, ledger)
        else:
            one.prepare(setting)
            waiting[index] = one
    _drop_failed(connection, ledger, waiting, place)


def _drop_failed(
    connection: duckdb.DuckDBPyConnection, ledger: Ledger, checks: Checks, place: str
) -> None:
    if not checks:
        return
    found = failed(connection, ledger, checks, place)
    for index, one in checks.items():
        mine = found.filter(pc.equal(found.column("failed"), index)).select(DROPS.names)
        ledger.record(f"filters[{index}]", one.rule, mine.cast(DROPS))


def failed(
    connection: duckdb.DuckDBPyConnection, ledger: Ledger, checks: Checks, place: str
) -> pa.Table:
    """Find the rows alive that fail: ``DROPS``, and the index of the check in ``failed``."""
    return pa.concat_tables(
        [_failed(connection, ledger, source, checks, place) for source in ledger.rows.sources]
    ).sort_by("row")


def _failed(
    connection: duckdb.DuckDBPyConnection,
    ledger: Ledger,
    source: SourceRows,
    checks: Checks,
    place: str,
) -> pa.Table:
    rows = ledger.rows
    alive = pa.table({"row": rows.numbers()})
    table, values = source.relation()
    if len(alive) < len(rows):
        connection.register("alive", alive)
        table = f'(SELECT * FROM {table} SEMI JOIN alive USING ("row"))'
    _bind_all(connection, checks, values, table, place)
    try:
        return connection.sql(_query(checks, table), params=values).to_arrow_table()
    except duckdb.Error as error:
        raise _culprit(connection, checks, values, table, place) or DataError(
            f"{place}: {first_line(error)}", "correct the filters or the data"
        ) from None


def _query(checks: Checks, table: str) -> str:
    names = ", ".join(SCHEMA.names)
    order = " ".join(f"WHEN NOT ({one.keep}) THEN {i}" for i, one in checks.items())
    pick = {
        what: " ".join(f"WHEN {i} THEN {getattr(one, what)}" for i, one in checks.items())
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
    checks: Checks,
    values: dict[str, str],
    table: str,
    place: str,
) -> None:
    for index, one in checks.items():
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
    checks: Checks,
    values: dict[str, str],
    table: str,
    place: str,
) -> DataError | None:
    for index, one in checks.items():
        try:
            connection.execute(_query({index: one}, table), values).fetchall()
        except duckdb.Error as error:
            return DataError(
                f"{place}[{index}] ({one.rule}): {first_line(error)}",
                "make the predicate hold for every row, for example with TRY_CAST",
            )
    return None
