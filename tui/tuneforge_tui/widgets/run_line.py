"""One line that says what runs now."""

from rich.text import Text
from textual.widgets import Static

from tuneforge_tui.state import BuildView, RunView, human_seconds


def run_text(build: BuildView, run: RunView | None) -> Text:
    """Write the state of the build and, while a run is live, its figures."""
    style = {"running": "bold cyan", "done": "bold green", "failed": "bold red"}
    finished = sum(step.state in ("done", "cached") for step in build.steps.values())
    text = Text.assemble(
        (build.state, style.get(build.state, "bold")), f"  {finished}/{len(build.steps)} steps"
    )
    if build.current:
        text.append(f"  {build.current}")
    if run is not None and run.steps:
        text.append(f"  {run.step}/{run.steps}")
        if run.paused:
            text.append("  paused", style="bold yellow")
        if run.tokens_per_second:
            text.append(f"  {run.tokens_per_second:,.0f} tokens/s", style="dim")
        if run.eta_seconds:
            text.append(f"  {human_seconds(run.eta_seconds)} left", style="cyan")
    return text


class RunLine(Static):
    """The line above the panes."""

    DEFAULT_CSS = "RunLine { height: auto; max-height: 2; padding: 0 1; background: $boost; }"

    def show(self, build: BuildView, run: RunView | None) -> None:
        """Bring the line up to date."""
        self.update(run_text(build, run))
