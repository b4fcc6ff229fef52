"""``store.duckdb``: the documented tables and views over the artifacts of a workspace.

The store is derived: it is made anew beside the old one and renamed over it, so readers that hold
the old one open finish undisturbed, a reader that comes finds one or the other, and a kill at any
moment leaves the old one.
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow.compute as pc
import pyarrow.parquet as pq
from tuneforge_specs.errors import EnvironmentMissing

from tuneforge_datastore import ledger, quoting, surface
from tuneforge_datastore.cleaning import stage
from tuneforge_datastore.holder import wait_for_writer

STORE = "store.duckdb"
LOCK_SECONDS = 60.0
_ARTIFACTS = """CREATE TABLE artifacts (step VARCHAR, kind VARCHAR, name VARCHAR, key VARCHAR,
digest VARCHAR, path VARCHAR, created TIMESTAMP, seconds DOUBLE)"""
_DATASETS = """CREATE TABLE datasets (name VARCHAR, kind VARCHAR, records BIGINT, kept BIGINT,
dropped BIGINT, train BIGINT, eval BIGINT, key VARCHAR, digest VARCHAR, path VARCHAR,
created TIMESTAMP)"""
_TIME = "make_timestamp((? * 1e6)::BIGINT)"


@dataclass(frozen=True)
class CatalogEntry:
    """One current artifact. ``created`` is in seconds since 1970."""

    step: str
    kind: str
    name: str
    key: str
    digest: str
    path: Path
    created: float
    seconds: float


@dataclass(frozen=True)
class Catalog:
    """The current artifacts of a workspace."""

    artifacts: tuple[CatalogEntry, ...]

    def folders(self, kind: str) -> dict[str, Path]:
        """Give the folders of a kind of step by name."""
        return {entry.name: entry.path for entry in self.artifacts if entry.kind == kind}


# What DuckDB raises where it cannot write; the fatal one comes from a checkpoint.
_DISK = (
    duckdb.IOException,
    duckdb.TransactionException,
    duckdb.OutOfMemoryException,
    duckdb.FatalException,
)


def publish(workspace: Path, catalog: Catalog) -> None:
    """Show the artifacts of ``catalog`` in the workspace's store.

    Raises:
        EnvironmentMissing: another program holds the store open for writing, or the folder is not
            writable.
    """
    from filelock import FileLock, Timeout

    try:
        for folder in ("locks", "tmp"):
            (workspace / folder).mkdir(parents=True, exist_ok=True)
        with FileLock(workspace / "locks" / "store.lock", timeout=LOCK_SECONDS):
            _replace(workspace, catalog)
    except Timeout:
        raise EnvironmentMissing(
            f"{workspace / STORE}: another build has been publishing for {LOCK_SECONDS:.0f} s",
            "let it end, or stop it",
        ) from None
    except OSError as error:
        raise EnvironmentMissing(
            f"{workspace / STORE} cannot be written: {error.strerror or error}",
            "make room on the disk, or make the workspace writable",
        ) from error


def _replace(workspace: Path, catalog: Catalog) -> None:
    _remove_drafts(workspace)
    draft = workspace / "tmp" / f"store-{os.getpid()}.duckdb"
    store = workspace / STORE
    try:
        with duckdb.connect(draft) as connection:
            connection.execute("BEGIN")
            fill(connection, workspace, catalog)
            connection.execute("COMMIT")
            # Closing does this too, but says nothing when the disk is full, and leaves it all in
            # the log, which does not move with the file.
            connection.execute("CHECKPOINT")
    except _DISK as error:
        _remove_drafts(workspace)
        raise EnvironmentMissing(
            f"{store} cannot be written: {error}", "make room on the disk, or rebuild"
        ) from error
    wait_for_writer(store)
    # The log of a client that opened the store for writing and died: it belongs to the old file.
    Path(f"{store}.wal").unlink(missing_ok=True)
    draft.replace(store)


def fill(connection: duckdb.DuckDBPyConnection, workspace: Path, catalog: Catalog) -> None:
    """Make the tables and views of ``catalog`` in an empty database."""
    for statement, values in _statements(workspace.absolute(), catalog):
        connection.execute(statement, values)


def _remove_drafts(workspace: Path) -> None:
    """Delete what a failed or killed publish left; the lock is held, so no draft is in use."""
    for stale in (workspace / "tmp").glob("store-*.duckdb*"):
        stale.unlink(missing_ok=True)


def _statements(workspace: Path, catalog: Catalog) -> Iterator[tuple[str, list[object]]]:
    yield _ARTIFACTS, []
    # Where the views' paths hold; a reader that finds the store elsewhere has it made anew.
    yield f"COMMENT ON TABLE artifacts IS {quoting.literal(str(workspace))}", []
    for entry in catalog.artifacts:
        yield (
            f"INSERT INTO artifacts VALUES (?, ?, ?, ?, ?, ?, {_TIME}, ?)",
            [
                *(entry.step, entry.kind, entry.name, entry.key, entry.digest),
                *(str(entry.path.absolute()), entry.created, entry.seconds),
            ],
        )
    sources = _absolute(catalog.folders("source"))
    datasets = _absolute(catalog.folders("dataset"))
    yield surface.records_view(sources.values()), []
    yield surface.of_datasets("ledger", "ledger.parquet", datasets, ledger.SCHEMA), []
    yield surface.of_datasets("changes", "changes.parquet", datasets, stage.CHANGES), []
    yield surface.DUPLICATES, []
    rendered = _absolute(catalog.folders("render"))
    verdicts = surface.of_datasets("renderings", "verdicts.parquet", rendered, surface.RENDERINGS)
    yield verdicts, []
    yield from _dataset_table(catalog)
    for statement in surface.run_views(workspace):
        yield statement, []
    titles = view_titles(tuple(datasets))
    for dataset, folder in datasets.items():
        for statement in surface.dataset_views(titles[dataset], folder, sources.values()):
            yield statement, []
        yield surface.duplicates_of(titles[dataset], dataset), []


def _absolute(folders: Mapping[str, Path]) -> dict[str, Path]:
    return {name: folder.absolute() for name, folder in folders.items()}


def view_titles(datasets: tuple[str, ...]) -> dict[str, str]:
    """Give each dataset the name of its views: its own, with ``dataset_`` before it if taken.

    SQL names do not differ by case; ``a`` and ``a_dropped`` would both want ``a_dropped``.
    """
    taken = set(surface.STABLE)
    titles = {}
    for name in datasets:
        title = name
        while taken & _names(title):
            title = f"dataset_{title}"
        taken |= _names(title)
        titles[name] = title
    return titles


def _names(title: str) -> set[str]:
    return {f"{title}{end}".lower() for end in surface.ENDINGS}


def _dataset_table(catalog: Catalog) -> Iterator[tuple[str, list[object]]]:
    yield _DATASETS, []
    for entry in catalog.artifacts:
        if entry.kind != "dataset":
            continue
        table = pq.read_table(entry.path / "kept.parquet", columns=["kind", "split"])
        kept = len(table)
        held = int(pc.sum(pc.equal(table.column("split"), "eval")).as_py() or 0)
        records = int(json.loads((entry.path / "funnel.json").read_text())[0]["in"])
        kind = table.column("kind")[0].as_py() if kept else ""
        yield (
            f"INSERT INTO datasets VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, {_TIME})",
            [
                *(entry.name, kind, records, kept, records - kept, kept - held, held),
                *(entry.key, entry.digest, str(entry.path.absolute()), entry.created),
            ],
        )
