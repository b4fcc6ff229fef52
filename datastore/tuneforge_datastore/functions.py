"""Python functions over Arrow columns that a scratch database may call."""

from collections.abc import Callable
from typing import Any

import duckdb
import pyarrow as pa
from duckdb.func import ARROW, SPECIAL


def add(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    function: Callable[..., pa.Array],
    takes: list[Any],
    gives: Any,
) -> None:
    """Make a function known to a connection that does not know it yet; null is a value to it."""
    known = connection.execute(
        "SELECT count(*) FROM duckdb_functions() WHERE function_name = ?", [name]
    ).fetchall()
    if not known[0][0]:
        connection.create_function(name, function, takes, gives, type=ARROW, null_handling=SPECIAL)
