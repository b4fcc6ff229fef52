"""Selection among the records that are left: each kind is one module that names what it drops."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
from tuneforge_specs.selection import Selection

from tuneforge_datastore.ledger import Ledger

if TYPE_CHECKING:
    from tuneforge_datastore.basemodel import BaseModel

SELECTIONS = {
    "balance": "balance:run",
    "cap": "cap:run",
    "cluster-cap": "clusters:run",
    "sample": "sample:run",
    "take": "take:run",
}


@dataclass(frozen=True)
class Desk:
    """What a selection works with; ``place`` is its key path, ``stage`` its name in the ledger.

    ``base`` is the base model where something in the dataset needs it.
    """

    connection: duckdb.DuckDBPyConnection
    ledger: Ledger
    ids: pa.ChunkedArray
    seed: int
    threads: int
    place: str
    stage: str
    base: "BaseModel | None" = None


def run_selections(
    connection: duckdb.DuckDBPyConnection,
    ledger: Ledger,
    ids: pa.ChunkedArray,
    selections: Sequence[Selection],
    place: str,
    *,
    seed: int,
    threads: int,
    base: "BaseModel | None" = None,
) -> None:
    """Apply the selections in order; ``ids`` are those of all rows, ``place`` the list's key path.

    Raises:
        UsageError: an expression that DuckDB does not understand, or a column that is not there.
        DataError: an expression that fails on a row.
    """
    for index, one in enumerate(selections):
        module, attribute = SELECTIONS[one.kind].split(":")
        run = getattr(import_module(f"{__name__}.{module}"), attribute)
        where = (f"{place}[{index}]", f"select[{index}]")
        run(one, Desk(connection, ledger, ids, seed, threads, *where, base))
