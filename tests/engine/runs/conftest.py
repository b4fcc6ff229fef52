"""Run folders with workers that do no training."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tuneforge.runs.folder import RunFolder

JOBS = Path(__file__).parent


class Recorder:
    """A reporter that remembers what it was told."""

    def __init__(self, on_progress: Callable[[float], None] = lambda done: None) -> None:
        self.told: list[tuple[str, Any]] = []
        self._on_progress = on_progress

    def progress(self, done: float, total: float, unit: str = "") -> None:
        self.told.append(("progress", (done, total, unit)))
        self._on_progress(done)

    def log(self, message: str) -> None:
        self.told.append(("log", message))

    def warn(self, message: str) -> None:
        self.told.append(("warn", message))

    def metrics(self, values: Any) -> None:
        self.told.append(("metrics", dict(values)))

    def of(self, kind: str) -> list[Any]:
        return [what for name, what in self.told if name == kind]


@pytest.fixture
def recorder() -> type[Recorder]:
    return Recorder


@pytest.fixture
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A run folder whose workers can import ``fake_jobs``; none of them outlives the test."""
    monkeypatch.setenv("PYTHONPATH", str(JOBS))
    folder = tmp_path / "run"
    yield folder
    pid = RunFolder(folder).read_worker().pid
    if pid and RunFolder(folder).alive():
        os.kill(pid, signal.SIGKILL)
