"""``tuneforge sql``: the datastore, read-only."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tuneforge_datastore.sql import Answer

ROWS_SHOWN = 100


class Format(StrEnum):
    """How rows are written."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    JSONL = "jsonl"
    PARQUET = "parquet"


StorePath = Annotated[
    Path, typer.Option("--workspace", metavar="DIR", help="The workspace; default: ./.tuneforge.")
]
WORKSPACE = Path(".tuneforge")


def sql(
    query: Annotated[str, typer.Argument(help="One query; '-' reads it from standard input.")] = "",
    workspace: StorePath = WORKSPACE,
    form: Annotated[Format, typer.Option("--format", help="How rows are written.")] = Format.TABLE,
    out: Annotated[Path | None, typer.Option("--out", help="Write to this file.")] = None,
    limit: Annotated[
        int, typer.Option("--limit", min=0, help="Rows shown in a table; 0: all.")
    ] = ROWS_SHOWN,
) -> None:
    """Query records, ledger, datasets, renderings, runs, metrics, artifacts and every dataset."""
    from tuneforge_datastore import sql as store
    from tuneforge_specs.errors import UsageError

    text = sys.stdin.read() if query == "-" else query
    if not text.strip():
        if not sys.stdin.isatty():
            raise UsageError("no query", 'tuneforge sql "SELECT ..."')
        _converse(workspace)
        return
    shown = limit if form == Format.TABLE and out is None else 0
    answer = store.query(workspace, text, limit=shown + 1 if shown else 0)
    _write(answer, form, out, shown)


def _write(answer: "Answer", form: Format, out: Path | None, shown: int) -> None:
    from dataclasses import replace

    from tuneforge_datastore.answers import WRITERS, write_parquet
    from tuneforge_specs.errors import UsageError

    more = bool(shown) and len(answer.rows) > shown
    if more:
        answer = replace(answer, rows=answer.rows[:shown])
    if form == Format.PARQUET:
        if out is None:
            raise UsageError("--format parquet needs a file", "add --out rows.parquet")
        write_parquet(answer, out)
    elif out is not None:
        with out.open("w", encoding="utf-8", newline="") as file:
            WRITERS[form](answer, file)
    else:
        WRITERS[form](answer, sys.stdout)
    if more:
        sys.stderr.write(f"({shown} rows shown; --limit 0 or --format csv gives all)\n")


def _converse(workspace: Path) -> None:
    """Read queries from the terminal, each ending with a semicolon, until the input ends."""
    import readline  # noqa: F401 - gives input() history and editing

    from tuneforge_datastore import sql as store
    from tuneforge_specs.errors import TuneforgeError

    sys.stdout.write("SQL, each query ending with ; - SHOW TABLES; lists them - ctrl-D leaves\n")
    held = ""
    while True:
        try:
            held += input("sql> " if not held else "...> ") + "\n"
        except EOFError:
            sys.stdout.write("\n")
            return
        except KeyboardInterrupt:
            sys.stdout.write("\n")
            held = ""
            continue
        if held.strip().lower() in {"exit", "quit", ".exit", ".quit", "\\q"}:
            return
        if not held.rstrip().endswith(";"):
            held = held if held.strip() else ""
            continue
        try:
            answer = store.query(workspace, held, limit=ROWS_SHOWN + 1)
            _write(answer, Format.TABLE, None, ROWS_SHOWN)
        except TuneforgeError as error:
            sys.stdout.write(f"{error}\n")
        held = ""
