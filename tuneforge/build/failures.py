"""What may go wrong inside any step, as errors a user can act on."""

import errno
import shutil
from collections.abc import Iterator
from pathlib import Path

from tuneforge_specs.errors import EnvironmentMissing, Interrupted, TuneforgeError

_FULL = {errno.ENOSPC, errno.EDQUOT}
_READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}


def as_user_error(step: str, error: BaseException, workspace: Path) -> TuneforgeError | None:
    """Translate what a step raised; None where it is a bug of ours."""
    if isinstance(error, TuneforgeError):
        return error
    if isinstance(error, KeyboardInterrupt):
        return Interrupted(f"{step}: interrupted", "run the same command again to go on")
    if isinstance(error, MemoryError):
        return EnvironmentMissing(f"{step}: out of memory", "free memory, or lower the row limit")
    if isinstance(error, ModuleNotFoundError) and error.name:
        return _missing(step, error.name)
    found = (_storage(step, cause, workspace) for cause in _causes(error))
    return next((translated for translated in found if translated is not None), None)


def _storage(step: str, cause: BaseException, workspace: Path) -> TuneforgeError | None:
    number = cause.errno if isinstance(cause, OSError) else None
    if number in _FULL or "no space left on device" in str(cause).lower():
        free = shutil.disk_usage(workspace).free / 1e6
        return EnvironmentMissing(
            f"{step}: the disk is full ({free:.0f} MB free in {workspace})",
            "make room (tuneforge gc removes what the current spec no longer needs) "
            "and build again; nothing half-written is left",
        )
    if number in _READ_ONLY and str(workspace) in str(cause):
        return EnvironmentMissing(
            f"{step}: the workspace cannot be written: {cause}",
            "make it writable, or name another one with --workspace DIR",
        )
    return None


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
