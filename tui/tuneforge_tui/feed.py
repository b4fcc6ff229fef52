"""Follows the newest build of a workspace and one of its training runs, through their logs."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tuneforge.runs import RunFolder
from tuneforge.runs.events import Event, EventReader
from tuneforge.workspace import Workspace

# The kinds of steps whose runs have curves.
TRAINING: Final = ("train", "base")


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
        self._chosen: Path | None = None
        self.run: Path | None = None
        self._run_reader: EventReader | None = None

    def choose(self, run: Path) -> None:
        """Follow another run from the next poll on, until a step starts to train."""
        self._chosen = run

    def poll(self) -> Update:
        """Return the events completed since the last call, of a newer build if there is one."""
        taken_up = self._newest_build()
        events = self._build_reader.read() if self._build_reader else []
        run, self._chosen = self._chosen, None
        for event in events:
            if event["event"] == "step_started" and event["step"].split(".")[0] in TRAINING:
                run = self._workspace.run_path(event["step"], event["key"])
        if self.run is None and run is None:
            run = self._last_run()
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

    def _last_run(self) -> Path | None:
        """Find the worker that outlived its build, or else the run that was written to last."""
        runs = self._workspace.root / "runs"
        logs = [log for kind in TRAINING for log in runs.glob(f"{kind}*/*/events.jsonl")]
        logs.sort(key=lambda log: log.stat().st_mtime)
        live = [log for log in logs if RunFolder(log.parent).alive()]
        return next((log.parent for log in reversed(live or logs)), None)


def predicted_bytes(run: Path) -> float:
    """Return the peak memory that the plan expected of a run, 0 where it said nothing."""
    job: dict[str, Any] = RunFolder(run).read_job()
    return float(job.get("predicted_bytes") or 0.0)
