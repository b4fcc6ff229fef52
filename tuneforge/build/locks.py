"""One lock for each step and key, so that two builds never make the same thing twice."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from filelock import FileLock, Timeout

from tuneforge.build.commit import ASIDE, discard
from tuneforge.workspace import KEY_LENGTH, Workspace

SLICE = 0.5


@contextmanager
def step_lock(
    workspace: Workspace, step: str, key: str, waiting: Callable[[str], None]
) -> Iterator[None]:
    """Hold the lock of one step; ``waiting`` is told once who has it when it is taken.

    The kernel drops the lock with its holder, so a killed build blocks nobody.
    """
    path = workspace.root / "locks" / f"{step}.{key[:KEY_LENGTH]}.lock"
    lock = FileLock(path)
    told = False
    while True:
        try:
            # Short waits, so that Ctrl-C is heard between them.
            lock.acquire(timeout=SLICE if told else 0, poll_interval=0.05)
            break
        except Timeout:
            if not told:
                waiting(_holder(path.with_suffix(".pid")))
                told = True
    holder = path.with_suffix(".pid")
    try:
        with suppress(OSError):  # it only tells who is waited for; on a full disk the step says so
            holder.write_text(str(os.getpid()))
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def clean(workspace: Workspace) -> None:
    """Delete output that killed builds left unfinished: temporary folders whose lock is free."""
    for folder in (workspace.root / "tmp").iterdir():
        if not folder.is_dir():
            continue
        lock = FileLock(workspace.root / "locks" / f"{folder.name.removesuffix(ASIDE)}.lock")
        with suppress(Timeout), lock.acquire(timeout=0):
            discard(folder)


def _holder(path: os.PathLike[str]) -> str:
    try:
        with open(path) as file:  # noqa: PTH123 (any path-like)
            return file.read().strip()
    except OSError:
        return ""
