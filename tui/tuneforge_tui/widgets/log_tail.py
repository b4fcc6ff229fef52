"""The newest lines of the build's and the run's logs."""

from rich.text import Text
from textual.widgets import RichLog


class LogTail(RichLog):
    """Follows the end unless the reader has scrolled up."""

    DEFAULT_CSS = "LogTail { height: 30%; min-height: 4; border-top: solid $surface-lighten-2; }"

    def __init__(self) -> None:
        super().__init__(id="log", max_lines=2000, wrap=True, markup=False)

    def add(self, line: str) -> None:
        """Append one line, in the colour of what it says."""
        style = "red" if "failed" in line else "yellow" if "out of memory" in line else ""
        self.write(Text(line, style=style))
