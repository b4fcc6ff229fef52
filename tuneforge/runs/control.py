"""Steering a worker from outside: files in the run folder's ``control/``."""

from pathlib import Path
from typing import Literal

from tuneforge_specs.errors import UsageError

from tuneforge.runs.folder import RunFolder

Request = Literal["stop", "checkpoint", "pause", "resume"]


def request(run_dir: Path, what: Request) -> None:
    """Ask the worker of a run to stop after this step, checkpoint now, pause, or resume.

    Raises UsageError where no worker has the run: nobody would answer.
    """
    folder = RunFolder(run_dir)
    if not folder.alive():
        raise UsageError(
            f"{run_dir}: no worker is running here, so it cannot be asked to {what}",
            "`tuneforge status` shows what runs; `tuneforge build` continues a stopped run",
        )
    folder.control.mkdir(exist_ok=True)
    if what == "resume":
        (folder.control / "pause").unlink(missing_ok=True)
    else:
        (folder.control / what).touch()


def pending(folder: RunFolder, what: Request) -> bool:
    """Say whether ``what`` is asked for."""
    return (folder.control / what).exists()


def consume(folder: RunFolder, what: Request) -> bool:
    """Say whether ``what`` was asked for, and take the request away."""
    try:
        (folder.control / what).unlink()
    except FileNotFoundError:
        return False
    return True


def clear(folder: RunFolder) -> None:
    """Forget what was asked of an earlier worker."""
    for what in ("stop", "checkpoint", "pause"):
        (folder.control / what).unlink(missing_ok=True)
