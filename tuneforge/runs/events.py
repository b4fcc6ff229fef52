"""The event log: append-only JSON lines, one writer, many readers."""

import errno
import json
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

VERSION: Final = 1
DURABLE: Final = frozenset({"started", "checkpoint", "done", "stopped", "failed"})
"""Events that are on the disk before the worker goes on."""
TERMINAL: Final = frozenset({"done", "stopped", "failed"})

Event = dict[str, Any]


class EventWriter:
    """Append events to a log; each is one ``write``, so that readers see whole lines."""

    def __init__(self, path: Path) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._descriptor = os.open(path, flags, 0o644)
        self._torn = False

    def emit(self, event: str, **fields: Any) -> None:
        """Append one event; the durable ones are synced."""
        record = {"v": VERSION, "t": round(time.time(), 3), "event": event, **fields}
        line = json.dumps(_finite(record), ensure_ascii=False, allow_nan=False) + "\n"
        data = ("\n" * self._torn + line).encode()
        self._torn = True
        if os.write(self._descriptor, data) < len(data):
            raise OSError(errno.ENOSPC, "the event log could not be written whole")
        self._torn = False
        if event in DURABLE:
            os.fsync(self._descriptor)

    def close(self) -> None:
        """Close the log."""
        os.close(self._descriptor)


class EventReader:
    """Read a log from ``offset`` on; each call of ``read`` gives what is new."""

    def __init__(self, path: Path, offset: int = 0) -> None:
        self._path = path
        self._offset = offset

    def read(self) -> list[Event]:
        """Return the events completed since the last call; a torn last line waits."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        return list(_parsed(whole))


def read_events(path: Path, offset: int = 0) -> list[Event]:
    """Return the whole events of a log, from a byte offset on."""
    return EventReader(path, offset).read()


def repair(path: Path) -> int:
    """Cut off a line torn by a killed writer and return the size; no writer may be alive."""
    if not path.exists():
        return 0
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        start = max(0, size - (1 << 20))
        file.seek(start)
        tail = file.read()
        whole = start + tail.rfind(b"\n") + 1
        if whole < size:
            file.truncate(whole)
    return whole


def _parsed(data: bytes) -> Iterator[Event]:
    for line in data.splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue  # a machine that lost power can leave a block of zeros in mid-file
        if isinstance(value, dict) and "event" in value:
            yield value


def _finite(value: Any) -> Any:
    # JSON has no NaN; a loss that is not a number becomes null
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
