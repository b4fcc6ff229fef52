"""A workspace that was moved or copied: its store is made anew, as its views hold whole paths.

Whole paths let any DuckDB client open the store from any folder.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
from tuneforge_specs.errors import EnvironmentMissing

from tuneforge_datastore.store import Catalog, CatalogEntry, fill, publish

_COLUMNS = "step, kind, name, key, digest, path, epoch(created), seconds"


def catalog_if_moved(connection: duckdb.DuckDBPyConnection, workspace: Path) -> Catalog | None:
    """Give the artifacts of a store made in another folder, where they are now; else nothing.

    A folder reached by another name, through a link, has not moved.
    """
    told = connection.execute(
        "SELECT comment FROM duckdb_tables() WHERE table_name = 'artifacts'"
    ).fetchone()
    made_in = Path(told[0]) if told and told[0] else workspace
    if made_in.is_dir() and made_in.samefile(workspace):
        return None
    rows = connection.execute(f"SELECT {_COLUMNS} FROM artifacts").fetchall()
    return Catalog(tuple(_found(rows, made_in, workspace.absolute())))


def _found(rows: list[tuple[Any, ...]], was: Path, now: Path) -> Iterator[CatalogEntry]:
    for step, kind, name, key, digest, path, created, seconds in rows:
        folder = Path(path)
        if folder.is_relative_to(was):
            folder = now / folder.relative_to(was)
        if folder.is_dir():  # what was left behind is made again by the next build
            yield CatalogEntry(step, kind, name, key, digest, folder, created, seconds)


def made_anew(workspace: Path, catalog: Catalog) -> bool:
    """Publish ``catalog``; say whether the workspace could be written."""
    try:
        publish(workspace, catalog)
    except EnvironmentMissing:
        return False
    return True


def in_memory(workspace: Path, catalog: Catalog) -> duckdb.DuckDBPyConnection:
    """Open the tables and views of ``catalog`` without a file."""
    connection = duckdb.connect(":memory:")
    fill(connection, workspace, catalog)
    return connection
