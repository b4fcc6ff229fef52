"""What a job sees of its run: where to write, whom to tell, and what is asked of it."""

import signal
import time
from pathlib import Path
from typing import Any, NoReturn

from tuneforge.runs import control
from tuneforge.runs.events import EventWriter
from tuneforge.runs.folder import RunFolder


class Stopped(Exception):
    """The job stopped because it was asked to; ``checkpoint`` is where it goes on."""

    def __init__(self, step: int, checkpoint: str) -> None:
        super().__init__(step, checkpoint)
        self.step = step
        self.checkpoint = checkpoint


class WorkerRun:
    """The worker's side of a run folder.

    ``output`` is empty when the job starts and complete when it returns; ``checkpoints`` outlives
    the process. ``summary`` is what the ``done`` event will say.
    """

    def __init__(self, path: Path) -> None:
        self._folder = RunFolder(path)
        self._writer = EventWriter(self._folder.events)
        self._terminated = False
        self.path = path
        self.output = self._folder.output
        self.checkpoints = self._folder.checkpoints
        self.summary: dict[str, Any] = {}

    def emit(self, event: str, **fields: Any) -> None:
        """Append one event to the run's log."""
        self._writer.emit(event, **fields)

    def phase(self, name: str) -> None:
        """Say what the job does now."""
        self.emit("phase", name=name)

    def log(self, message: str) -> None:
        """Say one line for the log."""
        self.emit("log", message=message)

    def warn(self, message: str) -> None:
        """Say one line that a user should read."""
        self.emit("warning", message=message)

    def stop_requested(self) -> bool:
        """Say whether the job should stop after this step, by request or by SIGTERM."""
        return self._terminated or control.pending(self._folder, "stop")

    def checkpoint_requested(self) -> bool:
        """Say whether a checkpoint was asked for since the last call."""
        return control.consume(self._folder, "checkpoint")

    def wait_while_paused(self) -> None:
        """Return at once, or when a pause ends by `resume` or by a request to stop."""
        if not control.pending(self._folder, "pause"):
            return
        self.emit("paused")
        while control.pending(self._folder, "pause") and not self.stop_requested():
            time.sleep(0.1)
        self.emit("resumed")

    def stop(self, step: int, checkpoint: Path | None) -> NoReturn:
        """End the job because it was asked to stop."""
        control.consume(self._folder, "stop")
        raise Stopped(step, str(checkpoint or ""))

    def stop_on_signals(self) -> None:
        """Take SIGTERM as a request to stop, and outlive the terminal."""
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, self._terminate)

    def _terminate(self, *_: object) -> None:
        self._terminated = True
