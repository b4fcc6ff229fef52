"""Job functions for workers under test; no torch."""

import os
import signal
import time
from pathlib import Path
from typing import Any

from tuneforge_specs import errors

from tuneforge.worker import WorkerRun


def count(job: dict[str, Any], run: WorkerRun) -> None:
    """Count to ``steps``, from the number in the checkpoint on."""
    path = run.checkpoints / "n"
    first = int(path.read_text()) if path.exists() else 0
    run.log(f"from {first}")
    for n in range(first + 1, job["steps"] + 1):
        time.sleep(job.get("pace", 0.0))
        path.write_text(str(n))
        run.emit("step", step=n, steps=job["steps"], loss=1.0 / n)
        run.wait_while_paused()
        if run.checkpoint_requested():
            run.emit("checkpoint", step=n, path=str(path))
        if run.stop_requested():
            run.stop(n, path)
        if n == job.get("die_at"):
            os.kill(os.getpid(), signal.SIGKILL)
    (run.output / "n").write_text(str(job["steps"]))
    run.summary["counted"] = job["steps"]


def fail(job: dict[str, Any], run: WorkerRun) -> None:
    raise getattr(errors, job["error"])("it went wrong", "do it right")


def bug(job: dict[str, Any], run: WorkerRun) -> None:
    raise KeyError("oops")


def full_disk(job: dict[str, Any], run: WorkerRun) -> None:
    raise OSError(28, "No space left on device")


def missing_package(job: dict[str, Any], run: WorkerRun) -> None:
    import no_such_package  # noqa: F401


def slow_start(job: dict[str, Any], run: WorkerRun) -> None:
    """Tell each start in a shared file, then linger."""
    with Path(job["starts"]).open("a") as file:
        file.write(f"{os.getpid()}\n")
    time.sleep(0.5)
