"""The scratch DuckDB of a curation: bounded in memory, spilling beside it, shut off otherwise."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb

from tuneforge_datastore import characters, repetition, wordcount

MEMORY_LIMIT = "2GiB"


@contextmanager
def scratch(
    folder: Path, readable: Sequence[Path], threads: int, memory_limit: str = MEMORY_LIMIT
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a database that may read the folders ``readable`` and no other file."""
    folder.mkdir(parents=True, exist_ok=True)
    with (
        TemporaryDirectory(prefix="curate-", dir=folder) as temporary,
        duckdb.connect(":memory:") as connection,
    ):
        connection.execute("SET autoinstall_known_extensions = false")
        connection.execute(f"SET threads = {max(1, threads)}")
        connection.execute("SET memory_limit = ?", [memory_limit])
        connection.execute("SET temp_directory = ?", [temporary])
        connection.execute(
            "SET allowed_directories = ?", [[f"{path.resolve()}/" for path in readable]]
        )
        for functions in (wordcount, repetition, characters):
            functions.register(connection)
        # A spec's own predicates run here; specs travel, so they get the records alone.
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        yield connection
