"""A terminal: one line for each finished step, a live line with bar, ETA and loss below."""

import time
from typing import Any

from rich.console import Console as RichConsole
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from tuneforge.console.base import Event
from tuneforge.console.eta import Eta
from tuneforge.console.text import live, number, seconds


class Terminal:
    """Shows build events on a terminal that can move its cursor."""

    def __init__(self, console: RichConsole) -> None:
        self._console = console
        self._live: Live | None = None
        self._index = 0
        self._total = 0
        self._step = ""
        self._started = 0.0
        self._expected = 0.0
        self._eta = Eta()
        self._progressed: Event = {}
        self._values: dict[str, Any] = {}
        self._spinner = Spinner("dots")

    def show(self, event: Event) -> None:
        """Show one event; kinds that say nothing to a reader are left out."""
        shown = getattr(self, f"_{event['event']}", None)
        if shown is not None:
            shown(event)

    def close(self) -> None:
        """Take the live line away."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _print(self, markup: str) -> None:
        self._console.print(markup, highlight=False, soft_wrap=True)

    def _build_started(self, event: Event) -> None:
        self._total = len(event["steps"])
        self._print(f"[bold]{escape(event['name'])}[/]  [dim]{self._total} steps[/]")

    def _step_started(self, event: Event) -> None:
        self._index += 1
        self._step = event["step"]
        self._started = time.monotonic()
        self._expected = event["expected_seconds"]
        self._progressed, self._values = {}, {}
        self._eta = Eta()
        self._why = "; ".join(event["why"][:2])
        self.close()
        self._live = Live(
            get_renderable=self._line,
            console=self._console,
            refresh_per_second=8,
            transient=True,
        )
        self._live.start()

    def _line(self) -> Table:
        grid = Table.grid(padding=(0, 1))
        elapsed = time.monotonic() - self._started
        done, total = self._progressed.get("done", 0), self._progressed.get("total", 0)
        cells: list[Any] = [
            self._spinner,
            Text(f"{self._index}/{self._total}", "dim"),
            Text(self._step, "bold"),
        ]
        if total:
            left = self._eta.left()
            cells += [
                ProgressBar(total=total, completed=done, width=24),
                Text(f"{number(done)}/{number(total)} {self._progressed['unit']}"),
                Text(f"{seconds(left)} left" if left else seconds(elapsed), "cyan"),
            ]
        elif self._expected:
            left = max(self._expected - elapsed, 0.0)
            cells.append(Text(f"{seconds(elapsed)}, about {seconds(left)} left", "cyan"))
        else:
            cells.append(Text(seconds(elapsed), "cyan"))
        cells.append(Text(live(self._values) or self._why, "dim", overflow="ellipsis"))
        for _ in cells:
            grid.add_column(no_wrap=True)
        grid.add_row(*cells)
        return grid

    def _step_done(self, event: Event) -> None:
        if event["cached"]:
            self._index += 1
            return
        self.close()
        took = seconds(event["seconds"])
        last = f"  [dim]{escape(live(self._values))}[/]" if self._values else ""
        self._print(f"[green]✓[/] {escape(event['step'])}  [cyan]{took}[/]{last}")

    def _step_skipped(self, event: Event) -> None:
        self._index += 1
        self._print(f"[yellow]–[/] {escape(event['step'])}  [dim]{escape(event['why'])}[/]")

    def _step_failed(self, event: Event) -> None:
        self.close()
        self._print(f"[red]✗[/] {escape(event['step'])}")

    def _metrics(self, event: Event) -> None:
        self._values |= event["values"]

    def _progress(self, event: Event) -> None:
        self._progressed = event
        self._eta.observe(event["done"], event["total"], time.monotonic())

    def _log(self, event: Event) -> None:
        self._print(f"  [dim]{escape(event['message'])}[/]")

    def _warning(self, event: Event) -> None:
        self._print(f"  [yellow]warning:[/] {escape(event['message'])}")

    def _gate(self, event: Event) -> None:
        mark = "[green]✓[/]" if event["passed"] else "[red]✗[/]"
        self._print(
            f"  {mark} gate {escape(event['expression'])}  "
            f"[dim]{event['value']:.4g} against {event['bound']:.4g}[/]"
        )

    def _interrupted(self, _event: Event) -> None:
        self.close()
        self._print("[yellow]stopped[/]; the next build goes on from here")

    def _build_failed(self, _event: Event) -> None:
        self.close()
