"""The runs of a workspace as a table, and the curves of each."""

import time
from dataclasses import dataclass
from pathlib import Path

from tuneforge.runs import RunFolder, read_events, status
from tuneforge.workspace import Workspace
from tuneforge_tui.state import RunView, human_seconds

COLUMNS = ("run", "state", "progress", "loss", "held-out", "took", "ended")


@dataclass(frozen=True)
class PastRun:
    """A run, what became of it, and its curves."""

    path: Path
    state: str
    started: float
    updated: float
    message: str
    view: RunView

    @property
    def name(self) -> str:
        """What `tuneforge attach` calls it."""
        return f"{self.path.parent.name}/{self.path.name}"


def past_runs(workspace: Workspace) -> list[PastRun]:
    """Read every run of a workspace, the newest first."""
    found = [_read(job.parent) for job in (workspace.root / "runs").glob("*/*/job.json")]
    return sorted(found, key=lambda run: run.updated, reverse=True)


def _read(path: Path) -> PastRun:
    now, events, view = status(path), read_events(RunFolder(path).events), RunView()
    for event in events:
        view.apply(event)
    started = next((event["t"] for event in reversed(events) if event["event"] == "started"), 0.0)
    return PastRun(path, now.state, float(started), now.updated, now.message, view)


def row(run: PastRun) -> tuple[object, ...]:
    """Give a run's values for ``COLUMNS``."""
    view = run.view
    took = human_seconds(run.updated - run.started) if run.started else ""
    ended = time.strftime("%Y-%m-%d %H:%M", time.localtime(run.updated)) if run.updated else ""
    return (
        run.name, run.state, f"{view.step}/{view.steps}" if view.steps else "",
        view.loss[-1][1] if view.loss else None,
        view.eval_loss[-1][1] if view.eval_loss else None, took, ended,
    )  # fmt: skip
