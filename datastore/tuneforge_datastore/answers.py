"""Rows of a query as a table, CSV, JSON or Parquet."""

import csv
import datetime as dt
import decimal
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO

from tuneforge_specs.printing import printable

from tuneforge_datastore.sql import Answer

CELL = 60
# A spreadsheet runs a cell that begins so (OWASP, "CSV injection").
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write_table(answer: Answer, out: TextIO) -> None:
    """Write aligned columns; long cells are cut, line breaks shown as an arrow."""
    cells = [[_cell(value) for value in row] for row in answer.rows]
    widths = [
        max([len(column), *(len(row[place]) for row in cells)])
        for place, column in enumerate(answer.columns)
    ]
    right = [
        all(isinstance(row[n], int | float) for row in answer.rows) for n in range(len(widths))
    ]

    def line(values: Sequence[str]) -> str:
        aligned = [
            value.rjust(width) if is_number else value.ljust(width)
            for value, width, is_number in zip(values, widths, right, strict=True)
        ]
        return "  ".join(aligned).rstrip() + "\n"

    out.write(line(answer.columns))
    out.write(line(["-" * width for width in widths]))
    out.writelines(line(row) for row in cells)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = text.strip('"') if isinstance(value, dt.date) else text
    shown = printable(text.replace("\n", "↵"))
    return shown if len(shown) <= CELL else shown[: CELL - 1] + "…"


def write_csv(answer: Answer, out: TextIO) -> None:
    """Write CSV with a header; lists and structures as JSON, null as nothing.

    It is RFC 4180's but for rows, which end with a line feed. A text that a spreadsheet would run
    as a formula gets an apostrophe before it.
    """
    writer = csv.writer(_LineFeeds(out), lineterminator="\r\n")
    writer.writerow([unformulated(column) for column in answer.columns])
    for row in answer.rows:
        writer.writerow([unformulated(_plain(value)) for value in row])


class _LineFeeds:
    """Ends rows as other programs of a pipe want them.

    Told to end rows with a bare line feed, the writer would leave carriage returns unquoted.
    """

    def __init__(self, out: TextIO) -> None:
        self.out = out

    def write(self, row: str) -> None:
        self.out.write(row.removesuffix("\r\n") + "\n")


def unformulated(cell: Any) -> Any:
    """Give a cell of a CSV file so that no spreadsheet runs it; numbers stay what they are."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell


def _plain(value: Any) -> Any:
    if isinstance(value, list | dict | tuple):
        return json.dumps(value, ensure_ascii=False, default=_json)
    return value


def write_json(answer: Answer, out: TextIO) -> None:
    """Write one array of objects, one object a line."""
    rows = (dict(zip(answer.columns, row, strict=True)) for row in answer.rows)
    lines = ",\n".join(json.dumps(row, ensure_ascii=False, default=_json) for row in rows)
    out.write(f"[\n{lines}\n]\n" if lines else "[]\n")


def write_jsonl(answer: Answer, out: TextIO) -> None:
    """Write one object a line."""
    for row in answer.rows:
        record = dict(zip(answer.columns, row, strict=True))
        out.write(json.dumps(record, ensure_ascii=False, default=_json) + "\n")


def _json(value: Any) -> Any:
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return float(value)
    return str(value)


WRITERS: dict[str, Callable[[Answer, TextIO], None]] = {
    "table": write_table,
    "csv": write_csv,
    "json": write_json,
    "jsonl": write_jsonl,
}


def write_parquet(answer: Answer, file: Path) -> None:
    """Write a Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = list(zip(*answer.rows, strict=True)) or [() for _ in answer.columns]
    pq.write_table(pa.table([list(column) for column in columns], names=answer.columns), file)
