"""Runs: worker processes that outlive the terminal, their event logs, and how they are controlled.

A run is a folder. The launcher writes ``job.json`` and starts a detached worker; the worker is the
only writer of ``events.jsonl``; the command line and the cockpit are equal readers, and steer it by
creating files in ``control/``. Nothing here imports torch.
"""

from tuneforge.runs.control import Request, request
from tuneforge.runs.events import read_events
from tuneforge.runs.find import find_run
from tuneforge.runs.folder import RunFolder
from tuneforge.runs.follow import Outcome, Watch, failure, follow, run_job
from tuneforge.runs.launcher import launch
from tuneforge.runs.status import RunStatus, status

__all__ = [
    "Outcome",
    "Request",
    "RunFolder",
    "RunStatus",
    "Watch",
    "failure",
    "find_run",
    "follow",
    "launch",
    "read_events",
    "request",
    "run_job",
    "status",
]
