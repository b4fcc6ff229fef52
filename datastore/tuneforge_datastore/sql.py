"""Read-only queries of a workspace's store."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
from tuneforge_specs.errors import DataError, EnvironmentMissing, UsageError

from tuneforge_datastore.holder import locked, writer_of
from tuneforge_datastore.ingest.query import first_line
from tuneforge_datastore.moved import catalog_if_moved, in_memory, made_anew
from tuneforge_datastore.store import STORE

WAIT_SECONDS = 5.0
_PAUSE = 0.05
_MISUNDERSTOOD = (
    duckdb.ParserException,
    duckdb.SyntaxException,
    duckdb.BinderException,
    duckdb.CatalogException,
    duckdb.InvalidInputException,
    duckdb.PermissionException,
)


@dataclass(frozen=True)
class Answer:
    """The rows of one query."""

    columns: list[str]
    types: list[str]
    rows: list[tuple[Any, ...]]


@contextmanager
def open_store(workspace: Path, wait: float = WAIT_SECONDS) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the store of ``workspace`` read-only, waiting ``wait`` seconds for a writer to leave.

    The store of a workspace that was moved is made anew first.

    Raises:
        DataError: there is no store yet.
        EnvironmentMissing: it is locked, or is no DuckDB file.
    """
    connection = _connect(workspace / STORE, wait)
    catalog = catalog_if_moved(connection, workspace)
    if catalog is not None:
        connection.close()
        if made_anew(workspace, catalog):
            connection = _connect(workspace / STORE, wait)
        else:
            connection = in_memory(workspace, catalog)
    try:
        connection.execute("SET autoinstall_known_extensions = false")
        yield connection
    finally:
        connection.close()


def _connect(store: Path, wait: float) -> duckdb.DuckDBPyConnection:
    until = time.monotonic() + wait
    while True:
        if not store.is_file():
            raise DataError(f"{store}: no store here yet", "build first: tuneforge build SPEC")
        try:
            return duckdb.connect(store, read_only=True)
        except duckdb.IOException as error:
            if "lock" not in str(error).lower():
                raise EnvironmentMissing(
                    f"{store} cannot be opened: {first_line(error)}", "build again to make it anew"
                ) from None
            if time.monotonic() >= until:
                raise locked(store, writer_of(store)) from None
            time.sleep(_PAUSE)


def ask(
    connection: duckdb.DuckDBPyConnection, query: str, values: Sequence[Any] = (), limit: int = 0
) -> Answer:
    """Run a query and give its rows, at most ``limit`` of them unless that is 0.

    Raises:
        UsageError: DuckDB does not understand it, or it would write.
        DataError: it fails on the data.
    """
    try:
        done = connection.execute(query, list(values))
        if done.description is None:
            return Answer([], [], [])
        columns = [str(column[0]) for column in done.description]
        types = [str(column[1]) for column in done.description]
        rows = _rows(done, types, limit)
    except _MISUNDERSTOOD as error:
        raise UsageError(
            first_line(error), 'tuneforge sql "SHOW TABLES" lists what there is'
        ) from None
    except duckdb.Error as error:
        raise DataError(
            first_line(error), "correct the query, or rebuild what is missing"
        ) from None
    return Answer(columns, types, rows)


def _rows(done: duckdb.DuckDBPyConnection, types: list[str], limit: int) -> list[tuple[Any, ...]]:
    if any("TIME ZONE" in kind for kind in types):
        # DuckDB's own conversion of these wants pytz; Arrow's makes do with the standard library.
        table: Any = done.to_arrow_table()
        shown = table.slice(0, limit) if limit else table
        return list(zip(*(column.to_pylist() for column in shown.columns), strict=True))
    return done.fetchmany(limit) if limit else done.fetchall()


def query(workspace: Path, text: str, values: Sequence[Any] = (), limit: int = 0) -> Answer:
    """Open the store of ``workspace``, run one query and close it again."""
    with open_store(workspace) as connection:
        return ask(connection, text, values, limit)
