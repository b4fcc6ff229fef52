"""Digests of values and files, and a cache that spares hashing unchanged files again."""

import hashlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# A file changed within this time of being hashed may change again without its mtime moving.
RACY_NANOSECONDS = 50_000_000


def canonical(value: Any) -> str:
    """Write a value as JSON so that equal values give equal text: sorted keys, no spaces."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def value_digest(value: Any) -> str:
    """Hash a JSON value (SHA-256, hex)."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """Hash a file's bytes (SHA-256, hex)."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def walk_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield every file below ``folder`` as (path relative to it, path), sorted, links followed."""
    found: list[tuple[str, Path]] = []
    for directory, _, names in os.walk(folder, followlinks=True):
        for name in names:
            path = Path(directory, name)
            found.append((path.relative_to(folder).as_posix(), path))
    yield from sorted(found)


class FileDigests:
    """Digests by (path, size, mtime, inode), kept in one JSON file between commands.

    Two processes may write it at once; the last one wins and the other's entries are only hashed
    again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._changed = False
        self._entries: dict[str, list[Any]] = {}
        try:
            loaded = json.loads(path.read_text())
        except (OSError, ValueError):
            loaded = {}  # a missing or broken cache costs time, nothing else
        if isinstance(loaded, dict):
            self._entries = loaded

    def digest(self, path: Path) -> str:
        """Hash a file, or give what it hashed to when its stat is unchanged."""
        stat = path.stat()
        signature = [stat.st_size, stat.st_mtime_ns, stat.st_ino]
        entry = self._entries.get(str(path))
        if entry is not None and entry[:3] == signature:
            return str(entry[3])
        started = time.time_ns()
        digest = file_digest(path)
        if stat.st_mtime_ns < started - RACY_NANOSECONDS:
            self._remember(path, signature, digest)
        return digest

    def settle(self, path: Path, digest: str) -> None:
        """Record the digest of a file that is read-only from now on."""
        stat = path.stat()
        self._remember(path, [stat.st_size, stat.st_mtime_ns, stat.st_ino], digest)

    def _remember(self, path: Path, signature: list[int], digest: str) -> None:
        self._entries[str(path)] = [*signature, digest]
        self._changed = True

    def save(self) -> None:
        """Write the cache; a read-only workspace only loses the time it would save."""
        if not self._changed:
            return
        temporary = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        try:
            temporary.write_text(json.dumps(self._entries))
            temporary.replace(self._path)
        except OSError:
            return
        self._changed = False
