"""The reporter a step gets: its words become build events, at a rate that people can read."""

import time
from collections.abc import Mapping

from tuneforge_specs.printing import printable

from tuneforge.build.events import EventLog

INTERVAL = 0.2


class StepReporter:
    """Turns what one step says into events; bursts of progress and metrics collapse."""

    def __init__(self, step: str, log: EventLog) -> None:
        self._step = step
        self._log = log
        self._progressed = 0.0
        self._measured = 0.0
        self.warnings: list[str] = []

    def progress(self, done: float, total: float, unit: str = "") -> None:
        """Say how far the step is; the last unit is never held back."""
        now = time.monotonic()
        if now - self._progressed >= INTERVAL or (total and done >= total):
            self._progressed = now
            self._log.emit("progress", step=self._step, done=done, total=total, unit=unit)

    def log(self, message: str) -> None:
        """Say one line for the log."""
        self._log.emit("log", step=self._step, message=printable(message))

    def warn(self, message: str) -> None:
        """Say one line that is repeated in the summary."""
        shown = printable(message)
        self.warnings.append(shown)
        self._log.emit("warning", step=self._step, message=shown)

    def metrics(self, values: Mapping[str, float | int | str]) -> None:
        """Give live values."""
        now = time.monotonic()
        if now - self._measured >= INTERVAL:
            self._measured = now
            self._log.emit("metrics", **{**values, "step": self._step, "values": dict(values)})
