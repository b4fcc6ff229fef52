"""Who holds the store: DuckDB marks an open file with a POSIX lock, which names its process."""

import fcntl
import os
import struct
import time
from pathlib import Path

from tuneforge_specs.errors import EnvironmentMissing

# struct flock of Linux on 64-bit machines: type, whence, start, length, process.
_FLOCK = "hhqqi4x"
WAIT_SECONDS = 10.0
_PAUSE = 0.05


def writer_of(store: Path) -> int:
    """Give the process that holds ``store`` open for writing, 0 if there is none.

    Asking closes a descriptor of the file, which drops any POSIX lock this process has on it: not
    for a process that has the store open itself.
    """
    try:
        with store.open("rb") as file:
            asked = struct.pack(_FLOCK, fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0)
            kind, _, _, _, process = struct.unpack(_FLOCK, fcntl.fcntl(file, fcntl.F_GETLK, asked))
    except FileNotFoundError:
        return 0
    return 0 if kind == fcntl.F_UNLCK else int(process)


def wait_for_writer(store: Path, seconds: float = WAIT_SECONDS) -> None:
    """Wait until nobody holds ``store`` open for writing.

    Raises:
        EnvironmentMissing: somebody still does after ``seconds``.
    """
    until = time.monotonic() + seconds
    while process := writer_of(store):
        if time.monotonic() >= until:
            raise locked(store, process)
        time.sleep(_PAUSE)


def locked(store: Path, process: int) -> EnvironmentMissing:
    """Say who has the store locked."""
    who = f"process {process}" if process else "another program"
    try:
        command = (
            Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
        )
        who += f" ({command[:80]})"
    except OSError:
        pass  # the process is gone, or this system has no /proc: its number is what there is
    return EnvironmentMissing(
        f"{store} is open for writing in {who}",
        "close it there; open the store read-only (duckdb -readonly, access_mode READ_ONLY)",
    )
