"""A SQL source: each row of a DuckDB query over files is one raw row."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
from tuneforge_specs.errors import DataError, UsageError

from tuneforge_datastore.ingest.rows import Row


def read_sql(sql: str, directory: Path) -> Iterator[Row]:
    """Read the rows of one SELECT; relative file names are under ``directory``.

    Raises:
        UsageError: it is not one SELECT, or DuckDB does not understand it.
        DataError: it fails on the data.
    """
    with TemporaryDirectory() as temporary, duckdb.connect() as connection:
        connection.execute("SET autoinstall_known_extensions = false")
        connection.execute("SET memory_limit = '1GiB'")
        connection.execute("SET temp_directory = ?", [temporary])
        connection.execute("SET file_search_path = ?", [str(directory)])
        one_select(connection, sql, "sql")
        try:
            batches: Any = connection.sql(sql).to_arrow_reader(1024)
            number = 0
            for batch in batches:
                for values in batch.to_pylist():
                    number += 1
                    yield Row(number, values)
        except (duckdb.ParserException, duckdb.BinderException, duckdb.CatalogException) as error:
            raise UsageError(f"sql: {first_line(error)}", "correct the query") from None
        except duckdb.Error as error:
            raise DataError(f"sql: {first_line(error)}", "correct the query or the data") from None


def one_select(connection: duckdb.DuckDBPyConnection, sql: str, place: str) -> None:
    """Check that ``sql`` is one statement that only reads.

    Raises:
        UsageError: it is not.
    """
    try:
        statements = connection.extract_statements(sql)
    except duckdb.Error as error:
        raise UsageError(f"{place}: {first_line(error)}", "correct the query") from None
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise UsageError(f"{place}: one SELECT is expected", "give one query that only reads")


def first_line(error: Exception) -> str:
    """Give DuckDB's message without its picture of the query, with its suggestion."""
    kept = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(line for line in kept if not line.startswith(("LINE ", "^")))
