"""The training loss, and the loss on held-out rows, over the steps."""

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static

from tuneforge_tui.state import RunView
from tuneforge_tui.widgets.line_chart import LineChart, Points

TRAIN = "cyan"
EVAL = "bold yellow"
BESIDE, BESIDE_EVAL = "magenta", "bold red"


def loss_line(run: RunView | None, beside: RunView | None = None, name: str = "") -> Text:
    """Write the newest figures, each in the colour of its curve."""
    text = Text.assemble(("loss ", "bold"))
    if run is not None:
        _figures(text, run, TRAIN, EVAL)
        if run.learning_rate:
            text.append(f"  learning rate {run.learning_rate:.2e}", style="dim")
    if beside is not None:
        text.append(f"  {name} ", style="bold")
        _figures(text, beside, BESIDE, BESIDE_EVAL)
    return text


def _figures(text: Text, run: RunView, train: str, held_out: str) -> None:
    if run.loss:
        text.append(f"{run.loss[-1][1]:.4f}", style=train)
    if run.eval_loss:
        text.append("  held-out ").append(f"{run.eval_loss[-1][1]:.4f}", style=held_out)


class LossPane(Vertical):
    """The figures above, the curves below."""

    DEFAULT_CSS = """
    LossPane { height: 1fr; min-height: 5; }
    LossPane Static { height: 1; }
    """

    def compose(self) -> ComposeResult:
        yield Static(id="loss-line")
        yield LineChart(id="loss-chart")

    def show(self, run: RunView | None, beside: RunView | None = None, name: str = "") -> None:
        """Bring the pane up to date; another run's curves, ``name`` its name, go behind."""
        self.query_one("#loss-line", Static).update(loss_line(run, beside, name))
        curves: dict[str, Points] = {}
        if beside is not None:
            curves = {BESIDE: beside.loss, BESIDE_EVAL: beside.eval_loss}
        if run is not None:
            curves |= {TRAIN: run.loss, EVAL: run.eval_loss}
        self.query_one(LineChart).series = curves
