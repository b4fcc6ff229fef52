"""A record's tokens: which are trained, which are only read, and which were cut."""

from typing import Final

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static
from tuneforge_datastore.preview import Preview
from tuneforge_specs.printing import printable

STYLES: Final = {"trained": "bold green", "masked": "dim", "cut": "red strike"}


def mask_text(preview: Preview) -> Text:
    """Write the verdict, then each sequence with every token in the colour of its fate."""
    text = Text(f"{preview.record_id}  {preview.split}, {preview.verdict}", style="bold")
    if preview.reason:
        text.append(f": {preview.reason}", style="yellow")
    for name, runs in preview.sequences.items():
        text.append(f"\n\n{name}", style="bold cyan")
        for state, style in STYLES.items():
            if count := sum(run.tokens for run in runs if run.state == state):
                text.append(f"  {count} {state}", style=style)
        text.append("\n")
        for run in runs:
            text.append(printable(run.text), style=STYLES[run.state])
    return text


class TokenMask(VerticalScroll):
    """The rendering of one record, or why there is none."""

    def compose(self) -> ComposeResult:
        yield Static("choose a record under Records", id="token-mask")

    def show(self, text: Text) -> None:
        """Replace what is shown."""
        self.query_one("#token-mask", Static).update(text)
        self.scroll_home(animate=False)
