"""A query, its answer, and what went wrong with it."""

from pathlib import Path
from typing import ClassVar, Final

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Static, TextArea
from tuneforge_datastore.sql import Answer, query
from tuneforge_specs.errors import TuneforgeError

from tuneforge_tui.widgets.answer_table import AnswerTable

FIRST: Final = "SELECT rule, count(*) AS records\nFROM ledger GROUP BY rule ORDER BY records DESC"
MOST_ROWS: Final = 1000


class SqlConsole(Vertical):
    """Runs queries beside the event loop, read-only."""

    DEFAULT_CSS = """
    SqlConsole TextArea { height: 6; }
    SqlConsole #sql-said { height: auto; max-height: 3; padding: 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("f5,ctrl+r", "run", "Run query")]

    class Answered(Message):
        """The query ran, or could not."""

        def __init__(self, answer: Answer | None, said: str) -> None:
            super().__init__()
            self.answer = answer
            self.said = said

    def __init__(self, workspace: Path) -> None:
        super().__init__()
        self._workspace = workspace

    def compose(self) -> ComposeResult:
        yield TextArea(FIRST, language=None, id="sql", tab_behavior="focus")
        yield Static("F5 runs the query", id="sql-said", markup=False)
        yield AnswerTable(id="sql-answer")

    def action_run(self) -> None:
        """Run what is written."""
        self._ask(self.query_one("#sql", TextArea).text)

    @work(thread=True, exclusive=True)
    def _ask(self, text: str) -> None:
        try:
            answer = query(self._workspace, text, limit=MOST_ROWS)
        except TuneforgeError as error:
            self.post_message(self.Answered(None, str(error)))
            return
        rows = len(answer.rows)
        said = f"{rows:,} rows" if rows < MOST_ROWS else f"the first {MOST_ROWS:,} rows"
        self.post_message(self.Answered(answer, said))

    @on(Answered)
    def _show(self, message: Answered) -> None:
        self.query_one("#sql-said", Static).update(message.said, layout=True)
        if message.answer is not None:
            self.query_one(AnswerTable).show(message.answer.columns, message.answer.rows)
