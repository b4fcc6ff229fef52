"""A line chart in braille dots: two columns and four rows of dots for each character cell."""

from collections.abc import Mapping, Sequence
from typing import Final

from rich.style import Style
from rich.text import Text
from textual.reactive import reactive
from textual.widget import Widget

Points = Sequence[tuple[float, float]]

DOTS: Final = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
BLANK: Final = 0x2800
MARGIN: Final = 8


class Canvas:
    """Braille dots; each cell takes the style of the last series drawn in it."""

    def __init__(self, columns: int, rows: int) -> None:
        self.width, self.height = columns * 2, rows * 4
        self.cells = [[0] * columns for _ in range(rows)]
        self.styles: list[list[str]] = [[""] * columns for _ in range(rows)]

    def dot(self, x: int, y: int, style: str) -> None:
        """Set the dot at column ``x`` from the left, ``y`` from the top."""
        row, column = y // 4, x // 2
        self.cells[row][column] |= DOTS[x % 2][y % 4]
        self.styles[row][column] = style

    def column(self, x: int, first: int, last: int, style: str) -> None:
        """Set the dots of column ``x`` between two heights, both included."""
        for y in range(min(first, last), max(first, last) + 1):
            self.dot(x, y, style)


def plot(series: Mapping[str, Points], columns: int, rows: int) -> tuple[Canvas, float, float]:
    """Draw each series (style -> points) on one scale; return the canvas and the y range.

    Where several points fall on one column of dots, the column spans their range, so that a spike
    of one step stays visible among a thousand.
    """
    canvas = Canvas(columns, rows)
    points = [point for values in series.values() for point in values]
    if not points:
        return canvas, 0.0, 0.0
    left, right = min(x for x, _ in points), max(x for x, _ in points)
    low, high = min(y for _, y in points), max(y for _, y in points)

    def place(x: float, y: float) -> tuple[int, int]:
        across = (x - left) / (right - left) if right > left else 0.0
        up = (y - low) / (high - low) if high > low else 0.5
        return round(across * (canvas.width - 1)), round((1 - up) * (canvas.height - 1))

    for style, values in series.items():
        before: tuple[int, int] | None = None
        for x, y in (place(*point) for point in values):
            start_x, start_y = before or (x, y)
            drawn = start_y
            for column in range(start_x, x + 1):
                share = (column - start_x) / (x - start_x) if x > start_x else 1.0
                reached = round(start_y + share * (y - start_y))
                canvas.column(column, drawn, reached, style)
                drawn = reached
            before = (x, y)
    return canvas, low, high


class LineChart(Widget):
    """Series on one scale, with the range on the left and the last x below."""

    DEFAULT_CSS = """
    LineChart { height: 1fr; min-height: 4; }
    """

    series: reactive[dict[str, Points]] = reactive(dict, always_update=True)
    """Series by Rich style, drawn in order."""
    empty: reactive[str] = reactive("no points yet")

    def render(self) -> Text:
        columns, rows = self.size.width - MARGIN - 1, self.size.height
        if columns < 4 or rows < 2:
            return Text("")
        if not any(self.series.values()):
            return Text(self.empty, style="dim")
        canvas, low, high = plot(self.series, columns, rows)
        labels = {0: high, rows - 1: low} if high > low else {rows // 2: high}
        text = Text()
        for row, cells in enumerate(canvas.cells):
            label = f"{labels[row]:.4g}" if row in labels else ""
            text.append(f"{label:>{MARGIN}} ", style="dim")
            for column, cell in enumerate(cells):
                text.append(chr(BLANK + cell), style=Style.parse(canvas.styles[row][column]))
            if row < rows - 1:
                text.append("\n")
        return text
