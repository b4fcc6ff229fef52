"""The training loss, and the loss on held-out rows, over the steps."""

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static

from tuneforge_tui.state import RunView
from tuneforge_tui.widgets.line_chart import LineChart

TRAIN = "cyan"
EVAL = "bold yellow"


def loss_line(run: RunView | None) -> Text:
    """Write the newest figures, each in the colour of its curve."""
    text = Text("loss ", style="bold")
    if run is None:
        return text
    if run.loss:
        text.append(f"{run.loss[-1][1]:.4f}", style=TRAIN)
    if run.eval_loss:
        text.append("  held-out ").append(f"{run.eval_loss[-1][1]:.4f}", style=EVAL)
    if run.learning_rate:
        text.append(f"  learning rate {run.learning_rate:.2e}", style="dim")
    return text


class LossPane(Vertical):
    """The figures above, the curves below."""

    DEFAULT_CSS = """
    LossPane { height: 1fr; min-height: 5; }
    LossPane Static { height: 1; }
    """

    def compose(self) -> ComposeResult:
        yield Static(id="loss-line")
        yield LineChart(id="loss-chart")

    def show(self, run: RunView | None) -> None:
        """Bring the pane up to date."""
        self.query_one("#loss-line", Static).update(loss_line(run))
        curves = {TRAIN: run.loss, EVAL: run.eval_loss} if run is not None else {}
        self.query_one(LineChart).series = dict(curves)
