"""The funnel of a dataset: what each stage took away, as bars."""

from typing import Final

from rich.text import Text
from textual.widgets import Static
from tuneforge_datastore.sql import Answer

BAR: Final = 24


def funnel_text(answer: Answer, width: int) -> Text:
    """Write a line for each stage; a bar shows what is left of the first stage's rows."""
    text = Text()
    first = max((int(row[2]) for row in answer.rows), default=0)
    room = max(12, min(40, width - BAR - 24))
    for stage, rule, _, dropped, left in answer.rows:
        name = rule if rule == stage else f"{stage} {rule}"
        filled = round(BAR * int(left) / first) if first else 0
        text.append(f"{name[:room]:<{room}} ")
        text.append("█" * filled, style="green")
        text.append("░" * (BAR - filled), style="dim")
        text.append(f" {int(left):>9,}")
        if dropped:
            text.append(f" -{int(dropped):,}", style="red")
        text.append("\n")
    return text


class FunnelView(Static):
    """One dataset's funnel."""

    def show(self, answer: Answer) -> None:
        """Replace what is shown."""
        self.update(funnel_text(answer, self.size.width or 80))
