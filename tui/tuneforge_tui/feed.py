"""Follows the newest build of a workspace and the run of its current step, through their logs."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tuneforge.runs import RunFolder
from tuneforge.runs.events import Event, EventReader
from tuneforge.workspace import Workspace


@dataclass(frozen=True)
class Update:
    """What is new since the last poll. ``build`` names a build that has just been taken up."""

    build: Path | None = None
    events: list[Event] = field(default_factory=list)
    run: Path | None = None
    run_events: list[Event] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.build or self.events or self.run or self.run_events)


class Feed:
    """Reads what others write; it owns nothing, so closing it stops nothing."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._build: Path | None = None
        self._build_reader: EventReader | None = None
        self._running = ""
        self.run: Path | None = None
        self._run_reader: EventReader | None = None

    def poll(self) -> Update:
        """Return the events completed since the last call, of a newer build if there is one."""
        taken_up = self._newest_build()
        events = self._build_reader.read() if self._build_reader else []
        run = None
        for event in events:
            if event["event"] == "step_started":
                run = self._workspace.run_path(event["step"], event["key"])
        if self.run is None and run is None:
            run = self._live_run()
        if run is not None and run != self.run:
            self.run, self._run_reader = run, EventReader(RunFolder(run).events)
        else:
            run = None
        run_events = self._run_reader.read() if self._run_reader else []
        return Update(taken_up, events, run, run_events)

    def _newest_build(self) -> Path | None:
        logs = (self._workspace.root / "builds").glob("*/events.jsonl")
        newest = max(logs, default=None, key=lambda log: log.parent.name)
        if newest is None or newest == self._build:
            return None
        self._build, self._build_reader = newest, EventReader(newest)
        return newest.parent

    def _live_run(self) -> Path | None:
        """Find a worker that outlived its build."""
        folders = sorted((self._workspace.root / "runs").glob("*/*/"))
        return next((folder for folder in folders if RunFolder(folder).alive()), None)


def predicted_bytes(run: Path) -> float:
    """Return the peak memory that the plan expected of a run, 0 where it said nothing."""
    job: dict[str, Any] = RunFolder(run).read_job()
    return float(job.get("predicted_bytes") or 0.0)
