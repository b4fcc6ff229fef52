"""Everything known of one record."""

from typing import Any, Final

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static
from tuneforge_specs.printing import printable

VERDICT: Final = ("verdict", "stage", "rule", "reason", "score", "witness", "evidence")


def detail(record: dict[str, Any]) -> Text:
    """Write the verdict first, then the columns as they are."""
    text = Text()
    for name, value in record.items():
        style = "bold yellow" if name in VERDICT else "bold cyan"
        text.append(f"{name}: ", style=style)
        text.append_text(_value(value))
        text.append("\n")
    return text


def _value(value: Any) -> Text:
    if not isinstance(value, list):
        return Text(printable(str(value)))
    text = Text()
    for turn in value:
        said = turn if isinstance(turn, dict) else {"content": turn}
        text.append(f"\n  {said.get('role', '')}: ", style="dim")
        text.append(printable(str(said.get("content") or said.get("tool_calls") or "")))
    return text


class RecordDetail(VerticalScroll):
    """A scrolling view of one record."""

    DEFAULT_CSS = "RecordDetail { height: 40%; border-top: solid $surface-lighten-2; }"

    def compose(self) -> ComposeResult:
        yield Static(id="record-detail")

    def show(self, record: dict[str, Any]) -> None:
        """Replace what is shown."""
        self.query_one("#record-detail", Static).update(detail(record))
        self.scroll_home(animate=False)
