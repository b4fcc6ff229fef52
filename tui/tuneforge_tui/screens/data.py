"""The Data screen: funnel, records with their verdicts, token masks, SQL."""

from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import Screen
from textual.widgets import DataTable, Footer, Header, Select, Static, TabbedContent, TabPane
from tuneforge_specs.errors import TuneforgeError

from tuneforge.cli.artifacts import rendered
from tuneforge.workspace import Workspace
from tuneforge_tui import questions
from tuneforge_tui.questions import Dataset
from tuneforge_tui.widgets.answer_table import AnswerTable
from tuneforge_tui.widgets.funnel_view import FunnelView
from tuneforge_tui.widgets.record_detail import RecordDetail
from tuneforge_tui.widgets.sql_console import SqlConsole
from tuneforge_tui.widgets.token_mask import TokenMask, mask_text


@dataclass(frozen=True)
class Choice:
    """Which records are listed; no rule means those of every rule."""

    side: questions.Side
    rule: str
    count: int

    @property
    def label(self) -> str:
        """What the chooser shows."""
        return f"{self.side}{': ' if self.rule else ''}{self.rule} ({self.count:,})"


class DataScreen(Screen[None]):
    """Reads the store as it is; `r` reads it again."""

    DEFAULT_CSS = """
    DataScreen #choices { height: 1; }
    DataScreen Select { width: 1fr; }
    DataScreen TabbedContent { height: 1fr; }
    DataScreen TabPane { padding: 0; }
    DataScreen #said { height: auto; padding: 0 1; color: $warning; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("1", "tab('funnel')", "Funnel"),
        Binding("2", "tab('records')", "Records"),
        Binding("3", "tab('tokens')", "Tokens"),
        Binding("4", "tab('sql')", "SQL"),
        Binding("r", "reload", "Reload"),
    ]

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self._workspace = workspace.root
        self._datasets: dict[str, Dataset] = {}

    def compose(self) -> ComposeResult:
        yield Header()
        with Horizontal(id="choices"):
            yield Select[str]([], prompt="dataset", id="dataset", compact=True)
            yield Select[Choice]([], prompt="records", id="side", compact=True)
        yield Static(id="said", markup=False)
        with TabbedContent():
            with TabPane("Funnel", id="funnel-tab"):
                yield FunnelView(id="funnel")
            with TabPane("Records", id="records-tab"), Vertical():
                yield AnswerTable(id="records")
                yield RecordDetail()
            with TabPane("Tokens", id="tokens-tab"):
                yield TokenMask()
            with TabPane("SQL", id="sql-tab"):
                yield SqlConsole(self._workspace)
        yield Footer()

    def on_screen_resume(self) -> None:
        self.action_reload()

    def action_reload(self) -> None:
        """Read the store again; what is chosen stays chosen."""
        try:
            found = questions.datasets(self._workspace)
        except TuneforgeError as error:
            self._say(str(error))
            return
        self._say("" if found else "no dataset has been curated yet: F1, then `b`, builds")
        chooser = self.query_one("#dataset", Select)
        chosen = chooser.value
        self._datasets = {dataset.name: dataset for dataset in found}
        chooser.set_options([(dataset.name, dataset.name) for dataset in found])
        if found:
            chooser.value = chosen if chosen in self._datasets else found[0].name

    def action_tab(self, tab: str) -> None:
        """Show a tab, and give the keys to what is in it."""
        self.query_one(TabbedContent).active = f"{tab}-tab"
        focus = {"records": "#records", "tokens": "TokenMask", "sql": "#sql"}.get(tab, "#dataset")
        self.query_one(focus).focus()

    def _say(self, text: str) -> None:
        self.query_one("#said", Static).update(text)

    def _dataset(self) -> Dataset | None:
        return self._datasets.get(str(self.query_one("#dataset", Select).value))

    @on(Select.Changed, "#dataset")
    def _choose(self) -> None:
        dataset = self._dataset()
        if dataset is None:
            return
        try:
            self.query_one(FunnelView).show(questions.funnel(self._workspace, dataset))
            dropped = questions.rules(self._workspace, dataset)
        except TuneforgeError as error:
            self._say(str(error))
            return
        choices = [Choice("kept", "", dataset.kept)]
        if dropped:
            choices.append(Choice("dropped", "", dataset.dropped))
        choices += [Choice("dropped", rule, count) for rule, count in dropped]
        chooser = self.query_one("#side", Select)
        chooser.set_options([(choice.label, choice) for choice in choices])
        chooser.value = choices[0]

    @on(Select.Changed, "#side")
    def _list(self) -> None:
        dataset, choice = self._dataset(), self.query_one("#side", Select).value
        if dataset is None or not isinstance(choice, Choice):
            return
        try:
            answer = questions.records(self._workspace, dataset, choice.side, choice.rule)
        except TuneforgeError as error:
            self._say(str(error))
            return
        self.query_one("#records", AnswerTable).show(answer.columns, answer.rows)

    @on(DataTable.RowHighlighted, "#records")
    def _show_record(self, event: DataTable.RowHighlighted) -> None:
        dataset, table = self._dataset(), self.query_one("#records", AnswerTable)
        if dataset is None or not table.row_count:
            return
        identifier = str(table.get_row_at(event.cursor_row)[0])
        try:
            known = questions.record(self._workspace, dataset, identifier)
        except TuneforgeError as error:
            self._say(str(error))
            return
        self.query_one(RecordDetail).show(known)
        self._show_tokens(dataset.name, identifier)

    @work(thread=True, exclusive=True)
    def _show_tokens(self, dataset: str, identifier: str) -> None:
        # the tokenizer of a real model takes a second to read
        try:
            text = mask_text(rendered(self._workspace, dataset).preview(identifier))
        except TuneforgeError as error:
            text = Text(f"{identifier}: {error.message}")
        self.app.call_from_thread(self.query_one(TokenMask).show, text)
