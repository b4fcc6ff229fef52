"""What is running in a workspace now."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneforge.runs import RunStatus
from tuneforge.runs import status as run_status
from tuneforge.workspace import Workspace

ENDS = frozenset({"build_done", "build_failed", "interrupted"})


@dataclass(frozen=True)
class RunningBuild:
    """A build whose process lives, and the step it is at."""

    id: str
    pid: int
    step: str


def running_builds(workspace: Workspace) -> list[RunningBuild]:
    """List the builds that have not ended."""
    found = []
    for path in sorted((workspace.root / "builds").glob("*/events.jsonl")):
        events = list(read(path))
        if not events or events[-1]["event"] in ENDS or events[0]["event"] != "build_started":
            continue
        pid = int(events[0]["pid"])
        if not _lives(pid):
            continue
        steps = [event for event in events if event["event"].startswith("step_")]
        step = str(steps[-1]["step"]) if steps and steps[-1]["event"] == "step_started" else ""
        found.append(RunningBuild(path.parent.name, pid, step))
    return found


def running_workers(workspace: Workspace) -> list[RunStatus]:
    """List the runs that a worker has."""
    jobs = sorted((workspace.root / "runs").glob("*/*/job.json"))
    return [status for job in jobs if (status := run_status(job.parent)).alive]


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Read the events of a log; a last line cut off by a kill is left out."""
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            return


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
