"""Signals of a build: Ctrl-C and SIGTERM stop it cleanly, a lost terminal does not stop it."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from tuneforge.build.events import EventLog


@contextmanager
def handled(log: EventLog) -> Iterator[None]:
    """Install the handlers for the time of a build, in the main thread."""
    output = log.folder / "output.log"

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    def detach(_signal: int, _frame: FrameType | None) -> None:
        redirect(output)
        log.drop_console()

    previous = {signal.SIGTERM: signal.signal(signal.SIGTERM, stop)}
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # nohup has it ignored already
        previous[signal.SIGHUP] = signal.signal(signal.SIGHUP, detach)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def redirect(output: Path) -> None:
    """Send stdout and stderr to a file from now on: writing to a lost terminal is an error."""
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    os.close(descriptor)
