"""Which checkpoints of a run are whole, which is the newest, and whether a job may go on from it.

A checkpoint counts from the moment its marker is there. The marker is written last, after every
file has reached the disk, so a kill at any moment leaves the checkpoint before it in charge.
"""

import os
import shutil
from pathlib import Path
from typing import Any, Final

from tuneforge_specs.errors import UsageError

from tuneforge.runs.folder import read_json, write_json

MARKER: Final = "complete.json"
FREE: Final = (
    *("threads", "why", "predicted_bytes"),
    *("args.checkpoint_every", "args.keep_checkpoints"),
)
"""What may change between a checkpoint and the job that goes on from it."""


def complete(folder: Path, job: dict[str, Any], facts: dict[str, Any]) -> None:
    """Mark a checkpoint as whole, durably."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            _sync(path)
    write_json(folder / MARKER, {"job": job, **facts})
    _sync(folder / MARKER)
    _sync(folder)


def newest(checkpoints: Path) -> Path | None:
    """Return the newest whole checkpoint; those that are not whole are deleted."""
    whole = []
    for path in checkpoints.glob("checkpoint-*"):
        if (path / MARKER).is_file():
            whole.append(path)
        else:
            shutil.rmtree(path)
    return max(whole, key=step_of, default=None)


def keep(checkpoints: Path, count: int) -> None:
    """Delete all but the newest ``count`` checkpoints."""
    for path in sorted(checkpoints.glob("checkpoint-*"), key=step_of)[:-count]:
        shutil.rmtree(path)


def step_of(checkpoint: Path) -> int:
    """Return the step a checkpoint was made at."""
    return int(checkpoint.name.rpartition("-")[2])


def facts_of(checkpoint: Path, job: dict[str, Any]) -> dict[str, Any]:
    """Return a checkpoint's facts; raise UsageError where it was made by a different job."""
    facts = read_json(checkpoint / MARKER)
    made, wanted = _flat(facts.pop("job")), _flat(job)
    differing = [
        f"{key}: {made.get(key)!r} then, {wanted.get(key)!r} now"
        for key in sorted(made.keys() | wanted.keys())
        if key not in FREE and made.get(key) != wanted.get(key)
    ]
    if differing:
        raise UsageError(
            f"{checkpoint}: this checkpoint was made by another job ({'; '.join(differing)})",
            f"restore the value, or delete {checkpoint.parent} to train from the start",
        )
    return facts


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {path: list(value) if isinstance(value, tuple) else value}
    flat: dict[str, Any] = {}
    for key, item in value.items():
        flat |= _flat(item, f"{path}.{key}" if path else str(key))
    return flat


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
