"""The value of a column or a SQL expression for every row alive."""

import re

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from tuneforge_specs.errors import DataError, UsageError

from tuneforge_datastore.filters.column import pointer
from tuneforge_datastore.ingest.query import first_line
from tuneforge_datastore.ledger import Ledger
from tuneforge_datastore.quoting import literal, name
from tuneforge_datastore.records import SCHEMA

# What can only be a name; anything with more in it is an expression.
_NAME = re.compile(r"[^\W\d]\w*")
SHOWN = 60


def values_of(
    connection: duckdb.DuckDBPyConnection, ledger: Ledger, by: str, place: str
) -> pa.StringArray:
    """Give the value of ``by`` as text for every row alive, in order; null stays null.

    ``place`` is the key path of the expression, for messages.

    Raises:
        UsageError: DuckDB does not understand it, or no record has such a column.
        DataError: it fails on a row.
    """
    is_name = _NAME.fullmatch(by) is not None
    expression = name(by) if is_name else f"({by}\n)"
    if is_name and by.lower() not in SCHEMA.names:
        expression = f"json_extract_string(meta, {literal(pointer(by))})"
    chunks = []
    for source in ledger.rows.sources:
        table, values = source.relation()
        query = f'SELECT "row", CAST({expression} AS VARCHAR) AS value FROM {table}'
        _check(connection, query, values, place)
        alive = ledger.rows.numbers()
        connection.register("alive", pa.table({"row": alive}))
        try:
            found = connection.sql(
                f'SELECT value FROM ({query} SEMI JOIN alive USING ("row")) ORDER BY "row"',
                params=values,
            ).to_arrow_table()
        except duckdb.Error as error:
            raise DataError(
                f"{place}: {first_line(error)}",
                "make the expression hold for every row, for example with TRY_CAST",
            ) from None
        finally:
            connection.unregister("alive")
        chunks += found.column("value").chunks
    column = pa.chunked_array(chunks, pa.string()).combine_chunks()
    if is_name and by.lower() not in SCHEMA.names and column.null_count == len(column) > 0:
        raise UsageError(
            f"{place}: no record has a column {by}",
            f"the columns are {', '.join(SCHEMA.names)}, and those of the data, kept in meta",
        )
    return column


def _check(
    connection: duckdb.DuckDBPyConnection, query: str, values: dict[str, str], place: str
) -> None:
    try:
        statements = connection.extract_statements(query)
        if len(statements) == 1 and statements[0].type == duckdb.StatementType.SELECT:
            connection.execute(f"SELECT 1 FROM ({query}) LIMIT 0", values)
            return
        problem = "one expression is expected"
    except duckdb.Error as error:
        problem = first_line(error)
    raise UsageError(
        f"{place}: {problem}",
        f"the columns are {', '.join(SCHEMA.names)}; meta holds the unused ones as JSON",
    )


def groups(column: pa.StringArray) -> tuple[NDArray[np.int64], list[str]]:
    """Number the values in order of first occurrence; give each row's number, and the values."""
    encoded = column.dictionary_encode(null_encoding="encode")
    shown = ["null" if value is None else value for value in encoded.dictionary.to_pylist()]
    shown = [value if len(value) <= SHOWN else f"{value[: SHOWN - 1]}…" for value in shown]
    return encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64), shown


def ranks(group: NDArray[np.int64], order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give each row its place within its group, counted from 0, going through rows in ``order``."""
    turn = np.empty(len(group), np.int64)
    turn[order] = np.arange(len(group))
    by_group = np.lexsort((turn, group))
    sorted_group = group[by_group]
    starts = np.searchsorted(sorted_group, sorted_group)
    place = np.empty(len(group), np.int64)
    place[by_group] = np.arange(len(group)) - starts
    return place
