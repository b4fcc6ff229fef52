"""The layout of a run folder, and whether a worker has it."""

import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

PATIENCE: Final = 0.5
"""Seconds a launcher retries the lock: long enough to outlast any reader's probe of it."""


@dataclass(frozen=True)
class Worker:
    """The process of the newest attempt; ``pid`` is 0 until it has come up.

    ``events`` and ``log`` are the sizes of ``events.jsonl`` and ``worker.log`` when it was
    launched: what lies beyond them belongs to this attempt. ``born`` is the process's start time,
    which together with ``pid`` and ``host`` tells it from a later process with the same pid.
    """

    pid: int = 0
    born: float = 0.0
    host: str = ""
    events: int = 0
    log: int = 0

    def __bool__(self) -> bool:
        return self.pid > 0


class RunFolder:
    """The paths of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.job = path / "job.json"
        self.events = path / "events.jsonl"
        self.control = path / "control"
        self.worker = path / "worker.json"
        self.lock = path / "worker.lock"
        self.log = path / "worker.log"
        self.checkpoints = path / "checkpoints"
        self.output = path / "output"

    def read_job(self) -> dict[str, Any]:
        """Return the job, empty where none was written."""
        return read_json(self.job)

    def read_worker(self) -> Worker:
        """Return the newest attempt's process."""
        return Worker(**read_json(self.worker))

    def alive(self) -> bool:
        """Say whether a worker has this run.

        The worker holds ``worker.lock`` from its birth, inherited from its launcher, until the
        kernel drops it with the process. So a reused pid is never taken for ours, and there is no
        moment between the launch and the worker's first word in which the run looks dead.
        """
        try:
            descriptor = os.open(self.lock, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in ``path``, empty where there is no file."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return value if isinstance(value, dict) else {}


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Replace ``path`` in one move, so that no reader sees half of it."""
    beside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    beside.write_text(json.dumps(value, indent=1, sort_keys=True), encoding="utf-8")
    beside.replace(path)


@contextmanager
def worker_lock(folder: RunFolder) -> Iterator[int | None]:
    """Give the descriptor of the exclusive worker lock, or None where a worker holds it."""
    descriptor = os.open(folder.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        yield descriptor if _acquired(descriptor) else None
    finally:
        os.close(descriptor)  # a worker that inherited it keeps the lock


def _acquired(descriptor: int) -> bool:
    until = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                return False
            time.sleep(0.01)
        else:
            return True
