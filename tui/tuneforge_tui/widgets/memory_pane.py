"""Memory over time, against what was predicted and what the device has."""

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static

from tuneforge_tui.state import human_bytes
from tuneforge_tui.widgets.line_chart import LineChart, Points


def memory_line(name: str, used: float, total: float, predicted: float) -> Text:
    """Write the figures above the curve."""
    text = Text.assemble((f"{name} ", "bold"))
    if used > 0:
        text.append(human_bytes(used))
    if total > 0:
        text.append(f"{' of ' if used > 0 else ''}{human_bytes(total)}")
    if used > 0 and total > 0:
        share = used / total
        style = "red" if share > 0.95 else "yellow" if share > 0.85 else "green"
        text.append(f" ({share:.0%})", style=style)
    if predicted > 0:
        text.append(f", predicted {human_bytes(predicted)}", style="dim")
    return text


class MemoryPane(Vertical):
    """Device memory where there is a GPU, the worker's memory where there is none."""

    DEFAULT_CSS = """
    MemoryPane { height: 22%; min-height: 3; }
    MemoryPane Static { height: 1; }
    MemoryPane LineChart { min-height: 2; }
    """

    def compose(self) -> ComposeResult:
        yield Static(id="memory-line")
        chart = LineChart(id="memory-chart")
        chart.empty = ""
        yield chart

    def show(self, name: str, points: Points, total: float, predicted: float) -> None:
        """Bring the pane up to date; ``points`` are (seconds, bytes)."""
        used = points[-1][1] if points else 0.0
        line = memory_line(name, used, total, predicted)
        self.query_one("#memory-line", Static).update(line)
        gib = [(at, count / 2**30) for at, count in points]
        self.query_one(LineChart).series = {"magenta": gib}
