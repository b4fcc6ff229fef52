"""What a run is doing, for anyone who asks."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tuneforge.runs.events import Event, read_events
from tuneforge.runs.folder import RunFolder, Worker

State = Literal["new", "starting", "running", "paused", "done", "stopped", "failed", "died"]


@dataclass(frozen=True)
class RunStatus:
    """A run at one moment; ``last`` holds the newest step event, ``summary`` that of a done run."""

    path: Path
    state: State
    kind: str
    worker: Worker
    step: int = 0
    steps: int = 0
    message: str = ""
    updated: float = 0.0
    last: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)

    @property
    def alive(self) -> bool:
        """Say whether a worker has the run."""
        return self.state in ("starting", "running", "paused")


def status(run_dir: Path) -> RunStatus:
    """Return what the newest attempt of a run is doing."""
    folder = RunFolder(run_dir.absolute())
    alive = folder.alive()  # asked before reading, so that a run that ends meanwhile is not "died"
    worker = folder.read_worker()
    events = read_events(folder.events, worker.events)
    last = next((e for e in reversed(events) if e["event"] == "step"), {})
    end = events[-1] if events else {}
    return RunStatus(
        path=folder.path,
        state=_state(folder, alive, events),
        kind=str(folder.read_job().get("kind", "")),
        worker=worker,
        step=int(last.get("step", 0)),
        steps=int(last.get("steps", 0)),
        message=str(end.get("message", "")),
        updated=float(end.get("t", 0.0)),
        last=last,
        summary=end.get("summary", {}) if end.get("event") == "done" else {},
    )


def _state(folder: RunFolder, alive: bool, events: list[Event]) -> State:
    ends: dict[str, State] = {"done": "done", "stopped": "stopped", "failed": "failed"}
    if events and events[-1]["event"] in ends:
        return ends[events[-1]["event"]]
    if alive:
        pauses = [e["event"] for e in events if e["event"] in ("paused", "resumed")]
        if pauses and pauses[-1] == "paused":
            return "paused"
        return "running" if events else "starting"
    return "died" if folder.worker.exists() else "new"
