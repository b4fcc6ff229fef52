"""One turn of a talk, which grows while it is said."""

from rich.text import Text
from textual.widgets import Static


class Turn(Static):
    """Who speaks, what is said, and a closing note on it."""

    DEFAULT_CSS = "Turn { height: auto; margin-bottom: 1; }"

    def __init__(self, who: str, text: str = "") -> None:
        self.who, self.said, self.note = who, text, ""
        super().__init__(self._written())

    def add(self, piece: str) -> None:
        """Let it grow."""
        self.said += piece
        self.update(self._written())

    def end(self, note: str) -> None:
        """Say how it ended."""
        self.note = note
        self.update(self._written())

    def _written(self) -> Text:
        style = "bold green" if self.who == "you" else "bold cyan"
        text = Text.assemble((f"{self.who}  ", style), self.said)
        if self.note:
            text.append(f"\n{self.note}", style="dim")
        return text
