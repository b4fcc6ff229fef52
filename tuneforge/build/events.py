"""The event log of a build: written once, read by consoles, the cockpit and scripts."""

import json
import os
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tuneforge.console.base import Console, Silent

FORMAT = 1


def build_id() -> str:
    """Name a build so that names sort by start."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{os.getpid()}"


class EventLog:
    """Appends events to ``events.jsonl`` and shows them.

    A console that breaks (its terminal or pipe is gone) is dropped: the build goes on, and
    everything is in the log.
    """

    def __init__(self, folder: Path, console: Console) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "events.jsonl"
        self._file = self.path.open("a", encoding="utf-8")
        self.console = console

    def emit(self, event: str, **fields: Any) -> None:
        """Write one event and show it."""
        entry: dict[str, Any] = {"v": FORMAT, "t": time.time(), "event": event, **fields}
        # On a full disk the step that fills it says so; its message must still get out.
        with suppress(OSError):
            self._file.write(json.dumps(entry, ensure_ascii=False, default=str) + "\n")
            self._file.flush()
        try:
            self.console.show(entry)
        except OSError:
            self.drop_console()

    def drop_console(self) -> None:
        """Show nothing from now on: there is nobody to see it."""
        console, self.console = self.console, Silent()
        with suppress(OSError):
            console.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with suppress(OSError):
            self._file.close()
