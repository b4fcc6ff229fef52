"""The plan in full: each step and why it would run, whether it fits, and the resolved spec."""

from pathlib import Path
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widgets import Footer, Header, Static, TabbedContent, TabPane
from tuneforge_specs.errors import TuneforgeError
from tuneforge_specs.printing import printable

from tuneforge.workspace import Workspace
from tuneforge_tui import planning


class PlanScreen(Screen[None]):
    """What `tuneforge plan` says, and `tuneforge plan --resolved`."""

    DEFAULT_CSS = """
    PlanScreen TabbedContent { height: 1fr; }
    PlanScreen VerticalScroll { padding: 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("1", "tab('steps')", "Steps"),
        Binding("2", "tab('resolved')", "Resolved spec"),
        Binding("escape", "app.pop_screen", "Back"),
    ]

    def __init__(self, spec: Path, workspace: Workspace) -> None:
        super().__init__()
        self._spec, self._workspace = spec, workspace

    def compose(self) -> ComposeResult:
        yield Header()
        with TabbedContent():
            with TabPane("Steps", id="steps-tab"), VerticalScroll(id="plan-steps"):
                yield Static("planning", id="plan-text", markup=False)
            with TabPane("Resolved spec", id="resolved-tab"), VerticalScroll(id="plan-resolved"):
                yield Static(id="resolved-text", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        self._read()

    def action_tab(self, tab: str) -> None:
        """Show a tab, and give the keys to it."""
        self.query_one(TabbedContent).active = f"{tab}-tab"
        self.query_one(f"#plan-{tab}").focus()

    @work(thread=True, exclusive=True)
    def _read(self) -> None:
        try:
            steps, resolved = planning.in_full(self._spec, self._workspace)
        except TuneforgeError as error:
            steps, resolved = str(error), ""
        self.app.call_from_thread(self._show, steps, resolved)

    def _show(self, steps: str, resolved: str) -> None:
        self.query_one("#plan-text", Static).update(printable(steps))
        self.query_one("#resolved-text", Static).update(printable(resolved))
        self.query_one("#plan-steps").focus()
