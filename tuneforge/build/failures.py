"""What may go wrong inside any step, as errors a user can act on."""

import errno
import shutil
from collections.abc import Iterator
from pathlib import Path

from tuneforge_specs.errors import EnvironmentMissing, Interrupted, TuneforgeError

_FULL = {errno.ENOSPC, errno.EDQUOT}
# DuckDB takes Ctrl-C for itself while a query runs and raises a RuntimeError with these words.
_INTERRUPTED_QUERY = "Query interrupted"
_READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}


def as_user_error(step: str, error: BaseException, workspace: Path | None) -> TuneforgeError | None:
    """Translate what a step raised; None where it is a bug of ours.

    Without a workspace ``step`` is a command, which writes where the user said.
    """
    if isinstance(error, TuneforgeError):
        return error
    if isinstance(error, KeyboardInterrupt) or str(error) == _INTERRUPTED_QUERY:
        return Interrupted(f"{step}: interrupted", "run the same command again to go on")
    if isinstance(error, MemoryError):
        return EnvironmentMissing(f"{step}: out of memory", "free memory, or lower the row limit")
    if isinstance(error, ModuleNotFoundError) and error.name:
        return _missing(step, error.name)
    found = (_storage(step, cause, workspace) for cause in _causes(error))
    return next((translated for translated in found if translated is not None), None)


def _storage(step: str, cause: BaseException, workspace: Path | None) -> TuneforgeError | None:
    number = cause.errno if isinstance(cause, OSError) else None
    if number in _FULL or "no space left on device" in str(cause).lower():
        disk = workspace or _disk_of(cause)
        free = shutil.disk_usage(disk).free / 1e6
        return EnvironmentMissing(
            f"{step}: the disk is full ({free:.0f} MB free in {disk})",
            "make room (tuneforge gc removes what the current spec no longer needs) "
            "and build again; nothing half-written is left",
        )
    if number == errno.EFBIG or "file too large" in str(cause).lower():
        return EnvironmentMissing(
            f"{step}: a file would be larger than this system lets us write ({cause})",
            "raise the limit (ulimit -f), or write smaller files: shard_size of a merge",
        )
    if number in _READ_ONLY and workspace is None:
        return EnvironmentMissing(f"{step}: {cause}", "see that the place may be read and written")
    if number in _READ_ONLY and str(workspace) in str(cause):
        return EnvironmentMissing(
            f"{step}: the workspace cannot be written: {cause}",
            "make it writable, or name another one with --workspace DIR",
        )
    return None


def _disk_of(cause: BaseException) -> Path:
    """Give a folder that is there, on the disk that an error is about."""
    name = getattr(cause, "filename2", None) or getattr(cause, "filename", None)
    place = Path(name).absolute() if isinstance(name, str) else Path.cwd()
    return next(folder for folder in (place, *place.parents) if folder.is_dir())


def _missing(step: str, module: str) -> TuneforgeError | None:
    root = module.partition(".")[0]
    if root.startswith("tuneforge"):
        return None
    return EnvironmentMissing(
        f"{step}: the package {root} is not installed",
        'pip install "tuneforge[train]"',
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__
