"""The rows of a query as a table."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from rich.text import Text
from textual.widgets import DataTable
from tuneforge_specs.printing import printable

WIDEST: Final = 60


def cell(value: Any) -> Text:
    """Write one value on one line; numbers go to the right."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        text = "" if value is None else printable(" ".join(str(value).split()))
        return Text(text if len(text) <= WIDEST else f"{text[: WIDEST - 1]}…")
    shown = f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
    return Text(shown, justify="right")


class AnswerTable(DataTable[Text]):
    """Shows the rows of one answer."""

    DEFAULT_CSS = "AnswerTable { height: 1fr; }"

    def __init__(self, *, id: str) -> None:  # noqa: A002 (Textual's name)
        super().__init__(id=id, cursor_type="row", zebra_stripes=True)

    def show(self, columns: Iterable[str], rows: Iterable[Sequence[Any]]) -> None:
        """Replace what is shown."""
        self.clear(columns=True)
        cells = [[cell(value) for value in row] for row in rows]
        for place, name in enumerate(columns):
            # Measured here: a table that is filled as it is first shown keeps the labels' widths.
            widths = [row[place].cell_len for row in cells]
            self.add_column(name, width=max([len(name), *widths]))
        for row in cells:
            self.add_row(*row)
