"""The Runs screen: what has been trained here, its curves, and two runs beside each other."""

from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.screen import Screen
from textual.widgets import DataTable, Footer, Header, Static
from tuneforge_specs.printing import printable

from tuneforge.workspace import Workspace
from tuneforge_tui.history import COLUMNS, PastRun, past_runs, row
from tuneforge_tui.widgets.answer_table import AnswerTable
from tuneforge_tui.widgets.loss_pane import LossPane


class RunsScreen(Screen[None]):
    """Reads the run folders as they are; `r` reads them again."""

    DEFAULT_CSS = """
    RunsScreen AnswerTable { height: 40%; border-bottom: solid $surface-lighten-2; }
    RunsScreen #run-said { height: auto; max-height: 4; padding: 0 1; color: $warning; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("m", "mark", "Compare with"),
        Binding("r", "reload", "Reload"),
    ]

    class Read(Message):
        """The run folders have been read."""

        def __init__(self, runs: list[PastRun]) -> None:
            super().__init__()
            self.runs = runs

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self._workspace = workspace
        self._runs: list[PastRun] = []
        self._marked: PastRun | None = None

    def compose(self) -> ComposeResult:
        yield Header()
        yield AnswerTable(id="runs")
        yield LossPane()
        yield Static(id="run-said", markup=False)
        yield Footer()

    def on_screen_resume(self) -> None:
        self.action_reload()

    @work(thread=True, exclusive=True)
    def action_reload(self) -> None:
        """Read the run folders again."""
        self.post_message(self.Read(past_runs(self._workspace)))

    def action_mark(self) -> None:
        """Keep the curve of the run at the cursor beside those looked at next; again: no more."""
        run = self._chosen()
        self._marked = None if run is None or self._is_marked(run) else run
        self._show()

    @on(Read)
    def _list(self, message: Read) -> None:
        chosen, shown = self._chosen(), self.query_one("#runs", AnswerTable)
        self._runs = message.runs
        shown.show(COLUMNS, map(row, self._runs))
        names = [run.name for run in self._runs]
        if chosen is not None and chosen.name in names:
            shown.move_cursor(row=names.index(chosen.name))
        shown.focus()
        self._show()

    @on(DataTable.RowHighlighted, "#runs")
    def _show(self) -> None:
        run = self._chosen()
        beside = self._marked if run is not None and not self._is_marked(run) else None
        self.query_one(LossPane).show(
            run.view if run is not None else None,
            beside.view if beside is not None else None,
            beside.name if beside is not None else "",
        )
        text = run.message if run is not None else "nothing has run here yet: F1, then `b`, builds"
        self.query_one("#run-said", Static).update(printable(text))

    def _chosen(self) -> PastRun | None:
        at = self.query_one("#runs", AnswerTable).cursor_row
        return self._runs[at] if 0 <= at < len(self._runs) else None

    def _is_marked(self, run: PastRun) -> bool:
        return self._marked is not None and self._marked.path == run.path
